//! Status answers that need Linux's rules of netfilter (thread `vl-status`).
//!
//! The kernel needs a while to tell many rules, and meanwhile the control loop has other things to
//! do. So the loop hands its answer over, and this thread completes it and sends it off. Whoever
//! asks for the status waits, and nobody else does.

use std::io;
use std::thread;

use api::Status;
use crossbeam_channel::{Sender, unbounded};

/// What the control loop has of the thread. `T` is whoever waits for an answer. When this is
/// dropped, the thread gives the answers that are still due and ends.
pub(super) struct Aside<T>(Sender<(T, Box<Status>)>);

impl<T: Send + 'static> Aside<T> {
    /// Starts the thread in the network namespace of the calling one. `look` gives a note for the
    /// status, if there is one, and may be slow. `answer` sends a status off.
    pub(super) fn start(
        mut look: impl FnMut() -> Option<String> + Send + 'static,
        mut answer: impl FnMut(T, Box<Status>) + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, waiting) = unbounded::<(T, Box<Status>)>();
        thread::Builder::new().name("vl-status".into()).spawn(move || {
            while let Ok(first) = waiting.recv() {
                // One look is enough for all who wait before it begins.
                let all: Vec<_> = std::iter::once(first).chain(waiting.try_iter()).collect();
                let note = look();
                for (who, mut status) in all {
                    status.notes.extend(note.clone());
                    answer(who, status);
                }
            }
        })?;
        Ok(Self(sender))
    }

    /// Has a status completed and sent to `who`. This never waits.
    pub(super) fn complete(&self, who: T, status: Box<Status>) {
        // The thread ends only after this is dropped.
        let _ = self.0.send((who, status));
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;

    #[test]
    fn a_slow_look_holds_up_nobody_but_those_who_ask_for_it() {
        let (told, rules) = bounded::<Option<String>>(0);
        let (sender, answers) = unbounded();
        let (begins, begun) = unbounded();
        let look = move || {
            begins.send(()).unwrap();
            rules.recv().unwrap()
        };
        let aside = Aside::start(look, move |who, status| sender.send((who, status)).unwrap()).unwrap();
        // Linux says nothing yet, and the control loop goes on.
        aside.complete(0, Box::default());
        begun.recv().unwrap();
        for who in 1..=3 {
            aside.complete(who, Box::default());
        }
        assert!(answers.is_empty());
        // The others came after the first look had begun: they get what the second one finds.
        told.send(None).unwrap();
        told.send(Some("marked".to_owned())).unwrap();
        let marked = Status { notes: vec!["marked".to_owned()], ..Status::default() };
        assert_eq!(answers.recv().unwrap(), (0, Box::default()));
        for who in 1..=3 {
            assert_eq!(answers.recv().unwrap(), (who, Box::new(marked.clone())));
        }
    }
}
