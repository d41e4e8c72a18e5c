//! A client's end of the control socket.

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::frame::{self, FrameError, MAX_RESPONSE, Timed};
use super::message::{Envelope, Request, Response, VERSION};
use super::runtime::SOCKET;

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: UnixStream,
    used: Instant,
}

/// Why the daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("No daemon answers at {}: is viplined running?", path.display())]
    NoDaemon {
        /// The socket.
        path: PathBuf,
    },
    /// The socket belongs to somebody else.
    #[error("Permission denied for {} (you must be root)", path.display())]
    Denied {
        /// The socket.
        path: PathBuf,
    },
    /// The socket cannot be used.
    #[error("Cannot use {}: {source}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The conversation broke off.
    #[error("The daemon cannot be reached any more: {0}")]
    Io(io::Error),
    /// The daemon closed the connection instead of answering.
    #[error("The daemon closed the connection")]
    Closed,
    /// The answer makes no sense.
    #[error("The daemon's answer is not understood: {0}")]
    Garbled(String),
}

impl ClientError {
    /// The daemon said something, but not to what was asked.
    pub fn unexpected(response: &Response) -> Self {
        let kind: String = format!("{response:?}").chars().take_while(char::is_ascii_alphanumeric).collect();
        Self::Garbled(format!("unexpected {kind}"))
    }
}

impl Client {
    /// Connects to the daemon of a runtime directory.
    pub fn connect(runtime_dir: &Path) -> Result<Self, ClientError> {
        let path = runtime_dir.join(SOCKET);
        let stream = open(&path)?;
        Ok(Self { path, stream, used: Instant::now() })
    }

    /// Asks, and waits for the answer. A listing is answered by its first page; see [`pages`].
    pub fn call(&mut self, request: &Request) -> Result<Response, ClientError> {
        let body = serde_json::to_vec(&Envelope { version: VERSION, message: request });
        let body = body.map_err(|error| ClientError::Garbled(error.to_string()))?;
        // The daemon hangs up on those who are silent for long, as `ipvsadm -R` on a terminal may be.
        if self.used.elapsed() > FRESH {
            self.stream = open(&self.path)?;
        }
        // The daemon may have refused the connection already: then its reason is there to be read.
        let sent = frame::write(&mut Timed::new(&self.stream, PATIENCE), &body);
        let body = match frame::read(&mut Timed::new(&self.stream, PATIENCE), MAX_RESPONSE) {
            Ok(Some(body)) => body,
            Ok(None) => return Err(sent.map_or_else(ClientError::Io, |()| ClientError::Closed)),
            Err(FrameError::Io(error)) => return Err(ClientError::Io(error)),
            Err(error) => return Err(ClientError::Garbled(error.to_string())),
        };
        self.used = Instant::now();
        let envelope: Envelope<Response> =
            serde_json::from_slice(&body).map_err(|error| ClientError::Garbled(error.to_string()))?;
        Ok(envelope.message)
    }
}

fn open(path: &Path) -> Result<UnixStream, ClientError> {
    let path = path.to_owned();
    UnixStream::connect(&path).map_err(|source| match source.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => ClientError::NoDaemon { path },
        ErrorKind::PermissionDenied => ClientError::Denied { path },
        _ => ClientError::Socket { path, source },
    })
}

/// Whoever answers requests: the daemon behind its socket, or a director in memory.
pub trait Ask {
    /// Sends a request and waits for its answer.
    fn ask(&mut self, request: Request) -> Result<Response, ClientError>;
}

impl Ask for Client {
    fn ask(&mut self, request: Request) -> Result<Response, ClientError> {
        self.call(&request)
    }
}

/// Asks, and goes on asking until the last page; each goes to `take`, whatever it is.
pub fn pages(
    client: &mut dyn Ask,
    request: Request,
    take: &mut dyn FnMut(Response),
) -> Result<(), ClientError> {
    let mut next = Some(request);
    while let Some(request) = next {
        let response = client.ask(request.clone())?;
        next = response.next().and_then(|from| request.continued(from));
        take(response);
    }
    Ok(())
}

/// Longer than the daemon's own patience, so that its explanation arrives.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a connection is taken to be open without asking; the daemon waits a minute.
const FRESH: Duration = Duration::from_secs(20);
