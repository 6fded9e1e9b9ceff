//! The order of stopping, so that nothing acknowledged is lost and every player is told.
//!
//! 1. SIGTERM or SIGINT (seen by the control core): data cores tell their players to reconnect
//!    elsewhere and end when the last is gone, after three seconds at the latest; publishes are still
//!    taken;
//! 2. the program is detached: the kernel refuses late segments with RST;
//! 3. the journal answers what it was asked, control finishes its requests, both end.

use anyhow::{Result, anyhow};

use crate::cores::Stage;
use crate::start::Appliance;

/// Waits for the end of `appliance`, and ends it in order.
pub fn wait(appliance: Appliance) -> Result<()> {
    let Appliance {
        steering,
        life,
        bells,
        data,
        journal,
        control,
    } = appliance;
    for thread in data {
        thread.join().map_err(|_| anyhow!("a data core panicked"))?;
    }
    drop(steering);
    life.advance(Stage::Stop);
    for bell in bells {
        bell.ring();
    }
    journal
        .join()
        .map_err(|_| anyhow!("the journal core panicked"))?;
    control
        .join()
        .map_err(|_| anyhow!("the control core panicked"))?
}
