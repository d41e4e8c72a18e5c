//! The runtime directory and the control socket in it. Both are made again when somebody deletes
//! them.

use std::io;
use std::path::Path;
use std::time::Duration;

use api::{PID_FILE, RuntimeDir, Server, ServerOptions};
use crossbeam_channel::Receiver;

/// The runtime directory with its socket.
pub(super) struct Door {
    /// The server. It ends before the directory is given up.
    server: Server,
    dir: RuntimeDir,
    /// How often the directory or the socket was gone.
    lost: u64,
    /// Why they could not be made again.
    trouble: Option<String>,
}

impl Door {
    /// Opens the socket.
    pub(super) fn open(dir: RuntimeDir) -> io::Result<Self> {
        let server = Server::bind(&dir, ServerOptions::default())?;
        Ok(Self { server, dir, lost: 0, trouble: None })
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The channel of requests. There is another one after [`Self::mend`] has made a new socket.
    pub(super) fn jobs(&self) -> Receiver<api::Job> {
        self.server.jobs().clone()
    }

    /// Makes again what somebody has deleted. Returns whether the socket is a new one.
    pub(super) fn mend(&mut self) -> bool {
        let (dir, server) = (self.dir.is_there(), self.server.is_there());
        if dir && server {
            self.trouble = None;
            if !self.path().join(PID_FILE).exists()
                && let Err(error) = self.dir.write_pid()
            {
                tracing::debug!("cannot write {PID_FILE} again: {error}");
            }
            return false;
        }
        if self.trouble.is_none() {
            self.lost += 1;
            let what = if dir { "the control socket in" } else { "the runtime directory" };
            tracing::warn!("somebody has deleted {what} {}: it is made again", self.path().display());
        }
        match self.again(dir) {
            Ok(()) => {
                self.trouble = None;
                tracing::info!("the control socket is in {} again", self.path().display());
                true
            }
            Err(trouble) => {
                if self.trouble.as_ref() != Some(&trouble) {
                    tracing::error!(
                        "{trouble}; it is tried again, and until then no tool reaches this daemon"
                    );
                }
                self.trouble = Some(trouble);
                false
            }
        }
    }

    fn again(&mut self, dir: bool) -> Result<(), String> {
        if !dir {
            // This does not wait for another daemon: the control loop has other things to do.
            self.dir = RuntimeDir::claim_within(self.dir.path(), Duration::ZERO)
                .map_err(|error| error.to_string())?;
        }
        self.server = Server::bind(&self.dir, ServerOptions::default())
            .map_err(|error| format!("cannot listen in {}: {error}", self.path().display()))?;
        Ok(())
    }

    /// What an operator should know.
    pub(super) fn note(&self) -> Option<String> {
        (self.lost > 0).then(|| {
            format!(
                "somebody has deleted the runtime directory {} or its socket, {} times; it was made again",
                self.path().display(),
                self.lost
            )
        })
    }
}
