//! Waking a core that sleeps: an eventfd that is written only when someone is asleep on it.
//!
//! The sleeper says so (`lie_down`), looks at its rings once more, and only then waits on the
//! descriptor. The ringer writes its ring first and looks at the flag second. One of the two always
//! sees the other, so no wake-up is lost and a busy core costs its neighbours no system call.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// One core's doorbell. Clones are the same bell.
#[derive(Debug, Clone)]
pub struct Doorbell {
    bell: Arc<Bell>,
}

#[derive(Debug)]
struct Bell {
    event: EventFd,
    asleep: AtomicBool,
}

impl Doorbell {
    /// A new bell; fails only when the process is out of descriptors.
    pub fn new() -> nix::Result<Doorbell> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let event = EventFd::from_value_and_flags(0, flags)?;
        Ok(Doorbell {
            bell: Arc::new(Bell {
                event,
                asleep: AtomicBool::new(false),
            }),
        })
    }

    /// Wakes the owner if it sleeps. Call after writing its ring.
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.bell.asleep.load(Ordering::Relaxed) {
            // Fails only when the counter is full, and then the owner is being woken already.
            let _ = self.bell.event.write(1);
        }
    }

    /// The owner is about to sleep; it must look at its rings once more before it does.
    pub fn lie_down(&self) {
        self.bell.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The owner is awake again.
    pub fn get_up(&self) {
        self.bell.asleep.store(false, Ordering::Relaxed);
        // Non-blocking: an error means that nobody rang.
        let _ = self.bell.event.read();
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.event.as_fd()
    }
}

impl AsRawFd for Doorbell {
    fn as_raw_fd(&self) -> RawFd {
        self.bell.event.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    fn rings(bell: &Doorbell) -> bool {
        let mut fds = [PollFd::new(bell.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
    }

    #[test]
    fn only_a_sleeper_is_rung() {
        let bell = Doorbell::new().unwrap();
        bell.ring();
        assert!(!rings(&bell));
        bell.lie_down();
        bell.ring();
        assert!(rings(&bell));
        bell.get_up();
        assert!(!rings(&bell));
    }
}
