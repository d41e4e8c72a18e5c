//! A client's end of the control socket.

use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, socket};

use super::frame::{self, FrameError, MAX_RESPONSE, Timed};
use super::message::{Envelope, Request, Response, VERSION};
use super::runtime::SOCKET;

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    /// The connection. After an error there is none: an answer that came by it later would be taken
    /// for the answer to the next request.
    stream: Option<UnixStream>,
    used: Instant,
    patience: Duration,
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
    /// A daemon listens, but does not answer.
    #[error(
        "The daemon at {} has not answered for {seconds} s: is it stopped, or held up? \
         (VIPLINE_TIMEOUT says how many seconds to wait)",
        path.display()
    )]
    Silent {
        /// The socket.
        path: PathBuf,
        /// How long the client waited, in seconds.
        seconds: u64,
    },
    /// This user may not use the socket.
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
    /// The connection broke.
    #[error("The daemon cannot be reached any more: {0}")]
    Io(io::Error),
    /// The daemon closed the connection instead of answering.
    #[error("The daemon closed the connection")]
    Closed,
    /// The answer is not understood.
    #[error("The daemon's answer is not understood: {0}")]
    Garbled(String),
}

impl ClientError {
    /// Whether there is no daemon, or a daemon that does not answer. The tools then have another
    /// exit code.
    pub fn is_no_answer(&self) -> bool {
        matches!(self, Self::NoDaemon { .. } | Self::Silent { .. })
    }

    /// The error for an answer that does not belong to the request.
    pub fn unexpected(response: &Response) -> Self {
        let kind: String = format!("{response:?}").chars().take_while(char::is_ascii_alphanumeric).collect();
        Self::Garbled(format!("unexpected {kind}"))
    }
}

impl Client {
    /// Connects to the daemon of a runtime directory. The client waits ten seconds for each answer,
    /// or as many as the variable `VIPLINE_TIMEOUT` says.
    pub fn connect(runtime_dir: &Path) -> Result<Self, ClientError> {
        let said = std::env::var("VIPLINE_TIMEOUT").ok();
        let seconds = said.and_then(|said| said.parse().ok()).filter(|seconds| (1..=3600).contains(seconds));
        Self::connect_within(runtime_dir, seconds.map_or(PATIENCE, Duration::from_secs))
    }

    /// The same, but the client waits for each answer as long as `patience` says.
    pub fn connect_within(runtime_dir: &Path, patience: Duration) -> Result<Self, ClientError> {
        let path = runtime_dir.join(SOCKET);
        let stream = open(&path, patience)?;
        Ok(Self { path, stream: Some(stream), used: Instant::now(), patience })
    }

    /// The same client with another patience.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Sends a request and waits for the answer. A listing is answered by its first page; see
    /// [`pages`].
    pub fn call(&mut self, request: &Request) -> Result<Response, ClientError> {
        let body = serde_json::to_vec(&Envelope { version: VERSION, message: request });
        let body = body.map_err(|error| ClientError::Garbled(error.to_string()))?;
        // The daemon closes connections that are silent for long. `ipvsadm -R` on a terminal may
        // be.
        let fresh = self.stream.take().filter(|_| self.used.elapsed() <= FRESH);
        let stream = fresh.map_or_else(|| open(&self.path, self.patience), Ok)?;
        // The daemon may have refused the connection already. Then its reason can be read although
        // sending failed.
        let sent = frame::write(&mut Timed::new(&stream, self.patience), &body);
        if let Err(error) = &sent
            && is_late(error)
        {
            return Err(silent(&self.path, self.patience));
        }
        let body = match frame::read(&mut Timed::new(&stream, self.patience), MAX_RESPONSE) {
            Ok(Some(body)) => body,
            Err(FrameError::Io(error)) if is_late(&error) => return Err(silent(&self.path, self.patience)),
            Ok(None) => return Err(sent.map_or_else(ClientError::Io, |()| ClientError::Closed)),
            Err(FrameError::Io(error)) => return Err(ClientError::Io(error)),
            Err(error) => return Err(ClientError::Garbled(error.to_string())),
        };
        (self.stream, self.used) = (Some(stream), Instant::now());
        let envelope: Envelope<Response> =
            serde_json::from_slice(&body).map_err(|error| ClientError::Garbled(error.to_string()))?;
        Ok(envelope.message)
    }
}

/// Connects. For a daemon that is stopped, the kernel takes connections until the queue is full.
/// Then a plain `connect` would wait for ever, so this one tries again until `patience` is over.
fn open(path: &Path, patience: Duration) -> Result<UnixStream, ClientError> {
    let deadline = Instant::now() + patience;
    loop {
        match connect(path) {
            Ok(stream) => return Ok(stream),
            Err(source) => match source.kind() {
                ErrorKind::WouldBlock if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(10))
                }
                ErrorKind::WouldBlock => return Err(silent(path, patience)),
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                    return Err(ClientError::NoDaemon { path: path.to_owned() });
                }
                ErrorKind::PermissionDenied => return Err(ClientError::Denied { path: path.to_owned() }),
                _ => return Err(ClientError::Socket { path: path.to_owned(), source }),
            },
        }
    }
}

/// Connects at once, or fails.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Whether an error says that the other side takes too long.
fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn silent(path: &Path, patience: Duration) -> ClientError {
    ClientError::Silent { path: path.to_owned(), seconds: patience.as_secs() }
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

/// Asks for one page after the other until the last, and gives each answer to `take`.
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

/// How long a client waits unless it is told otherwise. The daemon's own limit is shorter, so its
/// explanation arrives.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long after its last use a connection is taken to be still open. The daemon closes it after a
/// minute.
const FRESH: Duration = Duration::from_secs(20);
