//! How workers that rest let the pump sleep.
//!
//! A worker at work makes no system call, so the pump has to look at its rings every now and then.
//! A worker that rests has only just slept in the kernel: for it one more call, when it finds work
//! again, is no loss. While all workers rest the pump therefore waits for the bell.
//!
//! **Invariant.** No frame lies in a ring unseen for longer than the pump would sleep anyway:
//! either the pump sees that a worker is awake when it wants to listen, or that worker sees the
//! pump listening when it has woken up, or the pump sees the frame when it looks once more before
//! it sleeps. All accesses are sequentially consistent for that.

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
    /// Whether the pump sleeps, or is about to, until it is rung for.
    listening: AtomicBool,
}

impl Bell {
    /// A bell for so many workers, all awake.
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
            // It fails only when it has been rung more often than anybody can count.
            let _ = self.event.write(1);
        }
    }

    /// Whether the pump may sleep until it is rung for; it must look at all rings once more before
    /// it does.
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
        // Empty unless it was rung.
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
