//! The runtime directory with the control socket and the IPVS socket. All are made again when
//! somebody deletes them.

use std::io;
use std::path::Path;
use std::time::Duration;

use api::{PID_FILE, RuntimeDir, Server, ServerOptions};
use crossbeam_channel::Receiver;

use super::netlink::{NetlinkJob, NetlinkServer};

/// The runtime directory with its sockets.
pub(super) struct Door {
    /// The servers. They end before the directory is given up.
    server: Server,
    netlink: NetlinkServer,
    dir: RuntimeDir,
    /// How often the directory or a socket was gone.
    lost: u64,
    /// Why they could not be made again.
    trouble: Option<String>,
}

impl Door {
    /// Opens the sockets.
    pub(super) fn open(dir: RuntimeDir) -> io::Result<Self> {
        let server = Server::bind(&dir, ServerOptions::default())?;
        let netlink = NetlinkServer::bind(&dir)?;
        Ok(Self { server, netlink, dir, lost: 0, trouble: None })
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The channel of requests. There is another one after [`Self::mend`] has made a new socket.
    pub(super) fn jobs(&self) -> Receiver<api::Job> {
        self.server.jobs().clone()
    }

    /// The channel of messages on the IPVS socket. There is another one after [`Self::mend`] has
    /// made a new socket.
    pub(super) fn netlink_jobs(&self) -> Receiver<NetlinkJob> {
        self.netlink.jobs().clone()
    }

    /// Makes again what somebody has deleted. Returns whether a socket is a new one.
    pub(super) fn mend(&mut self) -> bool {
        let dir = self.dir.is_there();
        let (server, netlink) = (self.server.is_there(), self.netlink.is_there());
        if dir && server && netlink {
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
            let what = match (dir, server) {
                (false, _) => "the runtime directory",
                (true, false) => "the control socket in",
                (true, true) => "the IPVS socket in",
            };
            tracing::warn!("somebody has deleted {what} {}: it is made again", self.path().display());
        }
        match self.again(dir, server, netlink) {
            Ok(()) => {
                self.trouble = None;
                tracing::info!("both sockets are in {} again", self.path().display());
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

    /// Makes what is not there. A socket that is there keeps its connections.
    fn again(&mut self, dir: bool, server: bool, netlink: bool) -> Result<(), String> {
        if !dir {
            // This does not wait for another daemon: the control loop has other things to do.
            self.dir = RuntimeDir::claim_within(self.dir.path(), Duration::ZERO)
                .map_err(|error| error.to_string())?;
        }
        let trouble = |error| format!("cannot listen in {}: {error}", self.dir.path().display());
        if !server {
            self.server = Server::bind(&self.dir, ServerOptions::default()).map_err(trouble)?;
        }
        if !netlink {
            self.netlink = NetlinkServer::bind(&self.dir).map_err(trouble)?;
        }
        Ok(())
    }

    /// What an operator should know.
    pub(super) fn note(&self) -> Option<String> {
        (self.lost > 0).then(|| {
            format!(
                "somebody has deleted the runtime directory {} or a socket in it, {} times; it was made again",
                self.path().display(),
                self.lost
            )
        })
    }
}
