//! A bell, by which the pump can sleep while all workers rest.
//!
//! A worker at work makes no system call, so the pump must look at the rings regularly. A worker
//! that rests has just slept in the kernel, so one more system call costs it little when it finds
//! work again. So while all workers rest, the pump waits until one of them rings the bell.
//!
//! **Invariant.** No frame lies in a ring unseen for longer than the pump would sleep anyway. One
//! of three things happens: the pump wants to listen and sees that a worker is awake; or that
//! worker has woken up and sees that the pump listens; or the pump sees the frame when it looks
//! once more before it sleeps. All accesses are sequentially consistent, which this needs.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// The bell between all workers and the pump.
#[derive(Debug)]
pub struct Bell {
    event: EventFd,
    /// Workers that do not rest.
    awake: AtomicUsize,
    /// Whether the pump sleeps until somebody rings, or is about to.
    listening: AtomicBool,
}

impl Bell {
    /// A bell for this number of workers, which are all awake.
    pub fn new(workers: usize) -> io::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Self { event, awake: AtomicUsize::new(workers), listening: AtomicBool::new(false) })
    }

    /// A worker that was awake goes to rest.
    pub fn rest(&self) {
        self.awake.fetch_sub(1, Ordering::SeqCst);
    }

    /// A worker that rested has found work. Call it after the poll that found it.
    pub fn wake(&self) {
        self.awake.fetch_add(1, Ordering::SeqCst);
        if self.listening.swap(false, Ordering::SeqCst) {
            // Writing fails only when the bell was rung more often than the counter can count.
            let _ = self.event.write(1);
        }
    }

    /// Whether the pump may sleep until somebody rings. It must look at all rings once more before
    /// it sleeps.
    pub(super) fn listen(&self) -> bool {
        self.listening.store(true, Ordering::SeqCst);
        let may = self.awake.load(Ordering::SeqCst) == 0;
        if !may {
            self.listening.store(false, Ordering::SeqCst);
        }
        may
    }

    /// The pump is awake again, for whatever reason.
    pub(super) fn heard(&self) {
        self.listening.store(false, Ordering::SeqCst);
        // There is nothing to read unless somebody rang.
        let _ = self.event.read();
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rung(bell: &Bell) -> bool {
        bell.event.read().is_ok()
    }

    #[test]
    fn it_is_rung_for_a_listener_and_for_nobody_else() {
        let bell = Bell::new(2).unwrap();
        assert!(!bell.listen(), "two are awake");
        bell.rest();
        assert!(!bell.listen(), "one is awake");
        bell.wake();
        assert!(!rung(&bell), "nobody listened");
        bell.rest();
        bell.rest();
        assert!(bell.listen());
        bell.wake();
        bell.wake();
        assert!(rung(&bell) && !rung(&bell), "once is enough");
        bell.heard();
        assert!(!bell.listen());
    }
}
