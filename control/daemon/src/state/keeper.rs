//! Writes the state on a thread of its own (`vl-state`), so that a slow disk holds nobody up.
//!
//! The control loop hands over a copy when something has changed and no write is under way. So at
//! most one copy waits, and it is the newest.

use std::io;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::Kept;
use super::store::Store;

/// After a failure, the next attempt waits this long.
const AGAIN: Duration = Duration::from_secs(1);
/// A write that takes longer is told.
const SLOW: Duration = Duration::from_secs(10);
/// How long the last write may take when the daemon ends.
const LAST: Duration = Duration::from_secs(5);

/// The control loop's end of the thread.
#[derive(Debug)]
pub(in super::super) struct Keeper {
    file: PathBuf,
    /// A state to write, and whether to keep a copy of the one that it replaces.
    work: Sender<(Kept, bool)>,
    done: Receiver<Result<(), String>>,
    thread: JoinHandle<()>,
    /// Something has changed since the last copy.
    changed: bool,
    /// When the write began that is under way.
    busy: Option<Instant>,
    /// When the next attempt may begin, after a failure.
    not_before: Option<Instant>,
    trouble: Option<String>,
    /// The state on the disk has lines that the daemon could not take.
    keep_copy: bool,
    /// Whether the file is there.
    written: bool,
}

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum News {
    /// The state is written again.
    Good(String),
    /// The state cannot be written.
    Bad(String),
}

impl Keeper {
    /// Starts the thread. `written` says whether there is a state already, and `trouble` what is
    /// wrong from the start.
    pub(in super::super) fn start(
        mut store: Store,
        written: bool,
        trouble: Option<String>,
    ) -> io::Result<Self> {
        let (work, waiting) = bounded::<(Kept, bool)>(1);
        let (answer, done) = bounded(1);
        let file = store.file();
        let thread = thread::Builder::new().name("vl-state".into()).spawn(move || {
            for (kept, copy) in waiting {
                if answer.send(store.save(kept, copy)).is_err() {
                    return;
                }
            }
        })?;
        let (changed, busy, not_before, keep_copy) = (false, None, None, false);
        Ok(Self { file, work, done, thread, changed, busy, not_before, trouble, keep_copy, written })
    }

    /// Notes that something has changed.
    pub(in super::super) const fn changed(&mut self) {
        self.changed = true;
    }

    /// Whether there is a state that the next start would read.
    pub(in super::super) const fn is_written(&self) -> bool {
        self.written || self.changed || self.busy.is_some()
    }

    /// Has a copy made of the state on the disk before it is replaced.
    pub(in super::super) const fn keep_copy(&mut self) {
        self.keep_copy = true;
    }

    /// Where the state is.
    pub(in super::super) fn file(&self) -> &Path {
        &self.file
    }

    /// What is wrong at present, for `vipline status`.
    pub(in super::super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Has the present state written if that is due. Call it often. `copy` is called only then. The
    /// answer is for the log.
    pub(in super::super) fn look(&mut self, now: Instant, copy: impl FnOnce() -> Kept) -> Option<News> {
        let news = self.hear(now);
        let due = self.not_before.is_none_or(|time| now >= time);
        if self.changed && self.busy.is_none() && due && self.work.try_send((copy(), self.keep_copy)).is_ok()
        {
            (self.changed, self.busy) = (false, Some(now));
        }
        news
    }

    /// Writes what is not written yet, and ends the thread. The error says why that failed.
    pub(in super::super) fn finish(mut self, copy: impl FnOnce() -> Kept) -> Result<(), String> {
        let deadline = Instant::now() + LAST;
        let mut result = Ok(());
        if self.busy.is_some() {
            result = self.wait(deadline)?;
        }
        if self.changed || result.is_err() {
            let _ = self.work.try_send((copy(), self.keep_copy));
            result = self.wait(deadline)?;
        }
        drop(self.work);
        let _ = self.thread.join();
        result
    }

    /// Waits for the outcome of a write. The outer error says that it takes too long.
    fn wait(&mut self, deadline: Instant) -> Result<Result<(), String>, String> {
        match self.done.recv_deadline(deadline) {
            Ok(result) => Ok(result),
            Err(RecvTimeoutError::Timeout) => Err(self.too_slow(LAST)),
            Err(RecvTimeoutError::Disconnected) => Err("the thread vl-state has ended".to_owned()),
        }
    }

    /// Takes the outcome of a write, if there is one.
    fn hear(&mut self, now: Instant) -> Option<News> {
        let trouble = match self.done.try_recv() {
            Ok(Ok(())) => {
                (self.busy, self.not_before, self.written, self.keep_copy) = (None, None, true, false);
                let over = self.trouble.take()?;
                tracing::debug!("over: {over}");
                return Some(News::Good(format!("the state is written to {} again", self.file.display())));
            }
            Ok(Err(why)) => {
                (self.busy, self.not_before, self.changed) = (None, Some(now + AGAIN), true);
                format!(
                    "{why}; changes are in effect, but a restart would not know them; this is tried again every second"
                )
            }
            Err(_) if self.busy.is_some_and(|begun| now.saturating_duration_since(begun) >= SLOW) => {
                self.too_slow(SLOW)
            }
            Err(_) => return None,
        };
        let is_new = self.trouble.as_ref() != Some(&trouble);
        self.trouble = Some(trouble.clone());
        is_new.then_some(News::Bad(trouble))
    }

    fn too_slow(&self, time: Duration) -> String {
        let seconds = time.as_secs();
        format!("{}: a write has taken more than {seconds} seconds and goes on", self.file.display())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use model::Timeouts;

    use super::super::store::Found;
    use super::*;

    fn state(tcp: u32) -> Kept {
        Kept { timeouts: Some(Timeouts { tcp, ..Timeouts::default() }), ..Kept::default() }
    }

    /// Looks until the write that is under way has ended, and returns what the log is told.
    fn settle(keeper: &mut Keeper, now: Instant, kept: &Kept) -> Vec<News> {
        let mut told = Vec::new();
        loop {
            told.extend(keeper.look(now, || kept.clone()));
            if keeper.busy.is_none() {
                return told;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn found(path: &Path) -> Found {
        Store::open(path.to_owned(), Duration::from_secs(3)).unwrap().1.unwrap()
    }

    fn tcp(found: Found) -> u32 {
        let Found::State(changes) = found else { panic!("{found:?}") };
        match changes.rules.as_slice() {
            [model::Change::SetTimeouts(timeouts)] => timeouts.tcp,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_changes_are_written_and_the_last_one_before_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path().to_owned(), Duration::ZERO).unwrap();
        let mut keeper = Keeper::start(store, false, None).unwrap();
        let (now, copies) = (Instant::now(), Cell::new(0));
        let copy = |tcp| {
            let copies = &copies;
            move || {
                copies.set(copies.get() + 1);
                state(tcp)
            }
        };
        assert_eq!(keeper.look(now, copy(1)), None);
        assert_eq!((copies.get(), keeper.written), (0, false));
        keeper.changed();
        assert_eq!(keeper.look(now, copy(1)), None);
        assert_eq!(settle(&mut keeper, now, &state(0)), []);
        assert_eq!((copies.get(), keeper.written), (1, true));
        keeper.changed();
        assert_eq!(keeper.finish(copy(2)), Ok(()));
        assert_eq!((copies.get(), tcp(found(dir.path()))), (2, 2));
    }

    #[test]
    fn a_failure_is_told_once_tried_again_and_its_end_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state_dir");
        std::fs::write(&path, "").unwrap();
        let (store, _) = Store::open(path.clone(), Duration::ZERO).unwrap();
        let mut keeper = Keeper::start(store, false, None).unwrap();
        let start = Instant::now();
        keeper.changed();
        let told = settle(&mut keeper, start, &state(1));
        assert!(matches!(&told[..], [News::Bad(text)] if text.contains("cannot be used")), "{told:?}");
        assert!(keeper.trouble().is_some());
        // It is not tried again at once. Then it fails for the same reason, which is not told again.
        assert_eq!(keeper.look(start, || panic!("too early")), None);
        assert_eq!(settle(&mut keeper, start + AGAIN, &state(1)), []);
        std::fs::remove_file(&path).unwrap();
        let told = settle(&mut keeper, start + 2 * AGAIN, &state(2));
        assert!(matches!(&told[..], [News::Good(_)]), "{told:?}");
        assert_eq!(keeper.trouble(), None);
        assert_eq!(settle(&mut keeper, start + 3 * AGAIN, &state(3)), []);
        assert_eq!(keeper.finish(|| panic!("nothing has changed")), Ok(()));
        assert_eq!(tcp(found(&path)), 2);
    }
}
