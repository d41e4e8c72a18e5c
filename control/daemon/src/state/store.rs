//! One file in the state directory, `state`, which is replaced as a whole.
//!
//! A write goes to `state.new`. When its bytes are on the disk it is renamed, and the directory is
//! brought to the disk. So `state` has all old bytes or all new ones at any time. A `state` that
//! cannot be read is renamed to `state.1`, or the next free number, and is never deleted.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::disk::{Dir, DirError, Disk};
use super::{Changes, Kept};

/// The file.
pub(in super::super) const FILE: &str = "state";
const NEW: &str = "state.new";

/// What a start found.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Found {
    /// There is no state.
    Nothing,
    /// A state.
    State(Changes),
    /// A file that is no state. It was set aside.
    Broken {
        /// The name that it has now.
        aside: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Replaces the file.
fn save(disk: &mut impl Disk, text: &str) -> io::Result<()> {
    disk.write(NEW, text.as_bytes())?;
    disk.sync(NEW)?;
    disk.rename(NEW, FILE)?;
    disk.sync_names()
}

/// Reads the file, and sets it aside if it is broken.
fn load(disk: &mut impl Disk) -> io::Result<Found> {
    let Some(bytes) = disk.read(FILE)? else { return Ok(Found::Nothing) };
    match Changes::read(&bytes) {
        Ok(changes) => Ok(Found::State(changes)),
        Err(why) => Ok(Found::Broken { aside: set_aside(disk)?, why }),
    }
}

/// Gives the file a name that is never written again. Returns the name.
fn set_aside(disk: &mut impl Disk) -> io::Result<String> {
    let free = free_name(disk)?;
    disk.rename(FILE, &free)?;
    disk.sync_names()?;
    Ok(free)
}

/// Copies the file, if there is one, to a name that is never written again. Returns the name.
fn keep_copy(disk: &mut impl Disk) -> io::Result<Option<String>> {
    let Some(bytes) = disk.read(FILE)? else { return Ok(None) };
    let free = free_name(disk)?;
    disk.write(&free, &bytes)?;
    disk.sync(&free)?;
    disk.sync_names()?;
    Ok(Some(free))
}

fn free_name(disk: &impl Disk) -> io::Result<String> {
    let mut names = (1..u32::MAX).map(|number| format!("{FILE}.{number}"));
    names.find(|name| !disk.has(name)).ok_or_else(|| io::ErrorKind::AlreadyExists.into())
}

/// The state directory, which may not be usable yet.
#[derive(Debug)]
pub(in super::super) struct Store {
    path: PathBuf,
    dir: Option<Dir>,
}

impl Store {
    /// Opens the directory and reads the state. If that fails, the store tries the directory again
    /// at each write, and the answer says why.
    pub(in super::super) fn open(
        path: PathBuf,
        patience: Duration,
    ) -> Result<(Self, Result<Found, String>), DirError> {
        match Dir::claim(&path, patience) {
            Ok(mut dir) => match load(&mut dir) {
                Ok(found) => Ok((Self { path, dir: Some(dir) }, Ok(found))),
                Err(error) => {
                    let why = format!("{} cannot be read: {error}", path.join(FILE).display());
                    drop(dir);
                    Ok((Self { path, dir: None }, Err(why)))
                }
            },
            Err(taken @ DirError::Taken(_)) => Err(taken),
            Err(error) => Ok((Self { path, dir: None }, Err(error.to_string()))),
        }
    }

    /// Where the state is.
    pub(in super::super) fn file(&self) -> PathBuf {
        self.path.join(FILE)
    }

    /// Writes a state. With `copy`, the state that it replaces is kept under a name of its own.
    pub(super) fn save(&mut self, kept: Kept, copy: bool) -> Result<(), String> {
        let file = self.file();
        let dir = match &mut self.dir {
            Some(dir) => dir,
            None => {
                let mut dir = Dir::claim(&self.path, Duration::ZERO).map_err(|error| error.to_string())?;
                // A state that was not read at the start must not be lost.
                if dir.has(FILE) {
                    let aside =
                        set_aside(&mut dir).map_err(|error| format!("{}: {error}", file.display()))?;
                    tracing::warn!(
                        "{} was there, but could not be read at the start: it is {aside} now",
                        file.display()
                    );
                }
                self.dir.insert(dir)
            }
        };
        let copied = if copy { keep_copy(dir) } else { Ok(None) };
        let copied = copied.map_err(|error| format!("{} cannot be copied: {error}", file.display()))?;
        if let Some(name) = copied {
            tracing::warn!("{}: the state with the lines that were not taken is {name} now", file.display());
        }
        save(dir, &kept.text()).map_err(|error| format!("{} cannot be written: {error}", file.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::Timeouts;

    use super::*;

    fn state(tcp: u32) -> Kept {
        Kept { timeouts: Some(Timeouts { tcp, ..Timeouts::default() }), ..Kept::default() }
    }

    fn read(kept: &Kept) -> Found {
        Found::State(Changes::read(kept.clone().text().as_bytes()).unwrap())
    }

    /// A directory in memory that stops after some steps, and remembers what is on the disk.
    #[derive(Clone, Default)]
    struct Memory {
        steps_left: usize,
        /// How many bytes of the write arrive that is the last step.
        cut: usize,
        files: Vec<Bytes>,
        names: BTreeMap<String, usize>,
        names_on_disk: BTreeMap<String, usize>,
    }

    #[derive(Clone, Default)]
    struct Bytes {
        now: Vec<u8>,
        on_disk: Vec<u8>,
    }

    impl Memory {
        fn step(&mut self) -> io::Result<()> {
            self.steps_left = self.steps_left.checked_sub(1).ok_or(io::ErrorKind::Interrupted)?;
            Ok(())
        }

        /// Whatever may be found after the process was killed.
        fn after_kill(&self) -> Self {
            Self { steps_left: usize::MAX, ..self.clone() }
        }

        /// Whatever may be found after the machine failed: each file has its bytes on the disk, the
        /// new ones, or a part of the new ones, and the names are those on the disk or the new ones.
        fn after_power_cut(&self) -> Vec<Self> {
            let mut all = Vec::new();
            for names in [&self.names, &self.names_on_disk] {
                for part in [0, 1, 2, 3] {
                    let files = self.files.iter().map(|file| {
                        let now = match part {
                            0 => file.on_disk.clone(),
                            1 => file.now.clone(),
                            // The length is new already, and the bytes are not there yet.
                            2 if file.now != file.on_disk => vec![0; file.now.len()],
                            _ if file.now != file.on_disk => file.now[..file.now.len() / 2].to_vec(),
                            _ => file.now.clone(),
                        };
                        Bytes { on_disk: now.clone(), now }
                    });
                    let names = names.clone();
                    all.push(Self {
                        steps_left: usize::MAX,
                        cut: 0,
                        files: files.collect(),
                        names_on_disk: names.clone(),
                        names,
                    });
                }
            }
            all
        }

        fn of(&mut self, name: &str) -> &mut Bytes {
            let number = *self.names.entry(name.to_owned()).or_insert_with(|| {
                self.files.push(Bytes::default());
                self.files.len() - 1
            });
            &mut self.files[number]
        }
    }

    impl Disk for Memory {
        fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
            let cut = self.cut.min(bytes.len());
            match self.step() {
                Ok(()) => self.of(name).now = bytes.to_vec(),
                Err(stopped) => {
                    self.of(name).now = bytes[..cut].to_vec();
                    return Err(stopped);
                }
            }
            Ok(())
        }

        fn sync(&mut self, name: &str) -> io::Result<()> {
            self.step()?;
            let file = self.of(name);
            file.on_disk = file.now.clone();
            Ok(())
        }

        fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
            self.step()?;
            let number = self.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            self.names.insert(to.to_owned(), number);
            Ok(())
        }

        fn sync_names(&mut self) -> io::Result<()> {
            self.step()?;
            self.names_on_disk = self.names.clone();
            Ok(())
        }

        fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
            Ok(self.names.get(name).map(|number| self.files[*number].now.clone()))
        }

        fn has(&self, name: &str) -> bool {
            self.names.contains_key(name)
        }
    }

    /// Saves states one after the other, and stops the last save after this many steps.
    fn stopped(before: Option<&Kept>, after: &Kept, steps: usize, cut: usize) -> (Memory, bool) {
        let mut disk = Memory { steps_left: usize::MAX, ..Memory::default() };
        if let Some(before) = before {
            // There may be an unfinished write of an earlier daemon too.
            disk.write(NEW, b"half of a sta").unwrap();
            save(&mut disk, &before.clone().text()).unwrap();
        }
        (disk.steps_left, disk.cut) = (steps, cut);
        let done = save(&mut disk, &after.clone().text()).is_ok();
        (disk, done)
    }

    #[test]
    fn wherever_a_write_stops_the_state_is_the_one_before_or_the_one_after() {
        let (old, new) = (state(1000), state(2000));
        let mut seen = [false; 2];
        for before in [None, Some(&old)] {
            let first = before.map_or(Found::Nothing, read);
            for steps in 0..=4 {
                for cut in 0..=new.clone().text().len() {
                    let (disk, done) = stopped(before, &new, steps, cut);
                    assert_eq!(done, steps == 4);
                    let found = load(&mut disk.after_kill()).unwrap();
                    assert!(found == first || found == read(&new), "{steps} steps, cut at {cut}: {found:?}");
                    seen[usize::from(found == first)] = true;
                    for mut disk in disk.after_power_cut() {
                        let found = load(&mut disk).unwrap();
                        let (is_old, is_new) = (found == first, found == read(&new));
                        assert!(is_new || (is_old && !done), "{steps} steps, power cut: {found:?}");
                        // The next daemon can write.
                        save(&mut disk, &state(3000).text()).unwrap();
                        assert_eq!(load(&mut disk).unwrap(), read(&state(3000)));
                    }
                }
            }
        }
        assert_eq!(seen, [true, true]);
    }

    #[test]
    fn a_broken_state_is_set_aside_and_never_overwritten() {
        let mut disk = Memory { steps_left: usize::MAX, ..Memory::default() };
        for (number, text) in [(1, &b"first"[..]), (2, b"second")] {
            disk.write(FILE, text).unwrap();
            let Found::Broken { aside, why } = load(&mut disk).unwrap() else { panic!("it was read") };
            assert_eq!((aside, why.as_str()), (format!("state.{number}"), "it is cut off"));
            assert_eq!(load(&mut disk).unwrap(), Found::Nothing);
        }
        save(&mut disk, &state(1).text()).unwrap();
        assert_eq!(disk.read("state.1").unwrap().unwrap(), b"first");
        assert_eq!(disk.read("state.2").unwrap().unwrap(), b"second");
    }

    #[test]
    fn a_state_that_could_not_be_read_at_the_start_is_set_aside_before_the_first_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state_dir");
        // A file lies where the directory should be.
        std::fs::write(&path, "").unwrap();
        let (mut store, found) = Store::open(path.clone(), Duration::ZERO).unwrap();
        assert!(found.unwrap_err().contains("cannot be used"));
        assert!(store.save(state(1), false).is_err());
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join(FILE), "of another time").unwrap();
        store.save(state(2), false).unwrap();
        assert_eq!(std::fs::read_to_string(path.join("state.1")).unwrap(), "of another time");
        // A copy of the state that is replaced.
        store.save(state(3), true).unwrap();
        assert_eq!(std::fs::read_to_string(path.join("state.2")).unwrap(), state(2).text());
        drop(store);
        let (_store, found) = Store::open(path, Duration::ZERO).unwrap();
        assert_eq!(found, Ok(read(&state(3))));
    }
}
