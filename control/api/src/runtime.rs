//! The runtime directory: who owns it, and what is in it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Where the daemon is found unless it is told otherwise.
pub const DEFAULT_RUNTIME_DIR: &str = "/run/vipline";

/// The control socket's name in the runtime directory.
pub const SOCKET: &str = "control.sock";

/// The lock's name in the runtime directory; it holds the daemon's process id.
pub const LOCK: &str = "viplined.pid";

/// A runtime directory that belongs to this process, until dropped.
#[derive(Debug)]
pub struct RuntimeDir {
    path: PathBuf,
    /// Locked. The file stays when the lock goes: removing it would let two daemons lock two files.
    lock: File,
}

/// Why a runtime directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeDirError {
    /// Another daemon has it.
    #[error("A viplined already runs in {} (process {pid}): stop it, or choose another --runtime-dir", path.display())]
    Taken {
        /// The directory.
        path: PathBuf,
        /// What the lock says; `?` if nothing.
        pid: String,
    },
    /// The directory or the lock cannot be made.
    #[error("Cannot use runtime directory {}: {source}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl RuntimeDir {
    /// Makes the directory if need be, and locks it for this process.
    pub fn claim(path: &Path) -> Result<Self, RuntimeDirError> {
        let io = |source| RuntimeDirError::Io { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(io)?;
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o644);
        let mut lock = options.open(path.join(LOCK)).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let read = lock.read_to_string(&mut pid).is_ok() && !pid.trim().is_empty();
                let pid = if read { pid.trim().to_owned() } else { "?".to_owned() };
                return Err(RuntimeDirError::Taken { path: path.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        lock.set_len(0).and_then(|()| lock.rewind()).map_err(io)?;
        writeln!(lock, "{}", std::process::id()).map_err(io)?;
        Ok(Self { path: path.to_owned(), lock })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Listens on a socket of this name that only the owner may open, from its first moment: it is
    /// made in a directory nobody else may enter, and then moved here, over whatever a dead daemon
    /// left.
    pub fn listen(&self, name: &str) -> io::Result<UnixListener> {
        let private = self.path.join(format!(".{}", std::process::id()));
        let _ = fs::remove_dir_all(&private);
        DirBuilder::new().mode(0o700).create(&private)?;
        let made = private.join("s");
        let listener = UnixListener::bind(&made).and_then(|listener| {
            fs::set_permissions(&made, Permissions::from_mode(0o600))?;
            fs::rename(&made, self.path.join(name))?;
            Ok(listener)
        });
        let _ = fs::remove_dir_all(&private);
        listener
    }
}

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        // Best effort: the lock goes with the file, and an empty file says that nobody runs.
        let _ = self.lock.set_len(0);
    }
}
