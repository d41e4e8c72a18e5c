//! The state directory: opened, locked, and reduced to the few steps by which a file is replaced.
//! Each step is one system call or nearly so, and tests stop after each.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;

/// What [`super::store`] does with a directory.
pub(in super::super) trait Disk {
    /// Makes a file with these bytes, or replaces the bytes of a file.
    fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Waits until the bytes of a file are on the disk.
    fn sync(&mut self, name: &str) -> io::Result<()>;
    /// Gives a file another name. It replaces the file that has this name.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Waits until the names of the files are on the disk.
    fn sync_names(&mut self) -> io::Result<()>;
    /// The bytes of a file; `None` if there is none with this name.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// Whether there is a file with this name.
    fn has(&self, name: &str) -> bool;
}

/// A directory that belongs to this process until this is dropped.
#[derive(Debug)]
pub(in super::super) struct Dir {
    path: PathBuf,
    /// The directory, which is open and locked.
    dir: File,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum DirError {
    /// Another daemon keeps its state there.
    #[error(
        "Another viplined keeps its state in {}; stop it, or set another `state_dir`", .0.display()
    )]
    Taken(PathBuf),
    /// It cannot be made or opened.
    #[error("the state directory {} cannot be used: {source}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It does not belong to this user alone.
    #[error("the state directory {} cannot be used: {why}; mend that, or set another `state_dir`", path.display())]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl Dir {
    /// Makes the directory if need be (mode 700), and locks it for this process. Waits up to
    /// `patience` until a daemon that was killed lets go of it.
    pub(in super::super) fn claim(path: &Path, patience: Duration) -> Result<Self, DirError> {
        let io = |source| DirError::Io { path: path.to_owned(), source };
        let deadline = Instant::now() + patience;
        loop {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
            let flags = OFlag::O_DIRECTORY.bits();
            let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
            // The directory may be there although it cannot be made, on a file system that is read
            // only.
            let dir = opened.map_err(|error| io(made.err().unwrap_or(error)))?;
            check(&dir, path)?;
            match dir.try_lock() {
                Ok(()) => return Ok(Self { path: path.to_owned(), dir }),
                Err(TryLockError::Error(source)) => return Err(io(source)),
                Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                    return Err(DirError::Taken(path.to_owned()));
                }
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Checks that nobody else may put files into the directory.
fn check(dir: &File, path: &Path) -> Result<(), DirError> {
    let wrong = |why| DirError::Unsafe { path: path.to_owned(), why };
    let found = dir.metadata().map_err(|source| DirError::Io { path: path.to_owned(), source })?;
    let user = geteuid().as_raw();
    if found.uid() != user {
        return Err(wrong(format!("it belongs to user {}, not to user {user}", found.uid())));
    }
    if found.mode() & 0o022 != 0 {
        return Err(wrong(format!("others may write to it (mode {:o})", found.mode() & 0o7777)));
    }
    Ok(())
}

impl Disk for Dir {
    fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let flags = OFlag::O_NOFOLLOW.bits();
        options.write(true).create(true).truncate(true).mode(0o600).custom_flags(flags);
        options.open(self.at(name))?.write_all(bytes)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        File::open(self.at(name))?.sync_all()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.dir.sync_all()
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.at(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn has(&self, name: &str) -> bool {
        fs::symlink_metadata(self.at(name)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn claim(path: &Path) -> Result<Dir, String> {
        Dir::claim(path, Duration::ZERO).map_err(|error| error.to_string())
    }

    #[test]
    fn a_missing_directory_is_made_for_this_user_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("var/state");
        let mut claimed = claim(&path).unwrap();
        claimed.write("state", b"x").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join("state"))), (0o700, 0o600));
    }

    #[test]
    fn a_directory_belongs_to_one_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let first = claim(dir.path()).unwrap();
        let said = claim(dir.path()).unwrap_err();
        assert!(said.starts_with("Another viplined keeps its state in "), "{said}");
        drop(first);
        assert!(claim(dir.path()).is_ok());
    }

    #[test]
    fn a_directory_that_others_may_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o770)).unwrap();
        let said = claim(dir.path()).unwrap_err();
        assert!(said.contains("others may write to it (mode 770)"), "{said}");
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let said = claim(&file.path().join("state")).unwrap_err();
        assert!(said.ends_with("cannot be used: Not a directory (os error 20)"), "{said}");
    }
}
