//! Capabilities: what the start needs, nobody has afterwards.
//!
//! Opening sockets on queues, loading the program and pinning UMEM needs them; serving does not: the
//! sockets, the program's link and its maps are held by descriptors. Capabilities belong to threads and
//! are handed down when one is made, so the database, which makes threads of its own, is opened by one
//! that has none, and the rest drops them before the cores' threads are made.
//!
//! Root keeps its capabilities: it could take back what it dropped, and without them it could not open
//! files of other users, which whoever starts the appliance by hand would not expect. The service does
//! not run as root.

use anyhow::{Context, Result, anyhow};
use caps::CapSet;
use nix::unistd::geteuid;

/// Drops all capabilities of the calling thread and those it makes from now on; root keeps its.
pub fn drop_all() -> Result<()> {
    if geteuid().is_root() {
        return Ok(());
    }
    clear()
}

/// Does `work` on a thread without capabilities, and so are the threads that `work` makes.
pub fn without<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| drop_all().map(|()| work()));
        thread.join().map_err(|_| anyhow!("the start panicked"))?
    })
}

fn clear() -> Result<()> {
    // Ambient ones go with the permitted ones. The bounding set stays: nothing is ever executed.
    for set in [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable] {
        caps::clear(None, set).context("cannot drop capabilities")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use caps::Capability;

    use super::*;

    fn has() -> bool {
        caps::has_cap(None, CapSet::Permitted, Capability::CAP_NET_RAW).unwrap()
    }

    /// Needs root, who has them.
    #[test]
    fn a_thread_that_dropped_them_makes_threads_without_and_others_keep_theirs() {
        assert!(has());
        thread::spawn(|| {
            clear().unwrap();
            assert!(!has());
            assert!(!thread::spawn(has).join().unwrap());
        })
        .join()
        .unwrap();
        assert!(has());
        assert!(without(has).unwrap(), "root keeps them");
    }
}
