//! The daemon's end of the control socket.
//!
//! The thread of a connection ([`Gate`]) reads requests, hands them to the control loop as [`Job`]s,
//! and writes the answers. The control loop never waits for a client: an answer goes into a channel
//! that has room for it. When a client is wrong, slow or gone, or there are too many, no other
//! client notices.
//!
//! When a client is told that its request failed, that must be true. So there are two who decide
//! about a job, and the first of them wins: the control loop begins it, or the connection's thread
//! gives it up.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::frame::{self, FrameError, MAX_REQUEST, Timed};
use super::gate::{Gate, Serve};
use super::message::{Envelope, Request, Response, VERSION};
use super::runtime::{RuntimeDir, SOCKET, SocketKind};

/// One request, and the way back to whoever asked.
#[derive(Debug)]
pub struct Job {
    /// What is asked.
    pub request: Request,
    reply: Sender<Response>,
    /// Whether it is decided what becomes of the job: it was begun, or given up.
    decided: Arc<AtomicBool>,
    client: Arc<UnixStream>,
}

impl Job {
    /// Call this before you carry the request out. False means that nobody waits for the answer any
    /// more, and then nothing may be done. True means that the client waits until the job is
    /// answered or dropped.
    pub fn begin(&self) -> bool {
        !has_gone(&self.client) && !self.decided.swap(true, Ordering::SeqCst)
    }

    /// Whether nobody waits for the answer any more. This is for jobs that are never begun, because
    /// they change nothing.
    pub fn is_given_up(&self) -> bool {
        self.decided.load(Ordering::SeqCst) || has_gone(&self.client)
    }

    /// Answers the client, and never waits. The caller need not care whether the client has gone.
    pub fn answer(self, response: Response) {
        let _ = self.reply.try_send(response);
    }
}

/// How many clients the server takes, and how long it waits for them.
#[derive(Clone, Copy, Debug)]
pub struct ServerOptions {
    /// How many connections there may be at a time.
    pub connections: usize,
    /// How long a connection may stay open without a request.
    pub idle: Duration,
    /// How long a client may take to read an answer.
    pub reply: Duration,
    /// How long the control loop may take until it begins with a request.
    pub answer: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connections: 64, idle: seconds(60), reply: seconds(10), answer: seconds(8) }
    }
}

/// The control socket and its threads. All end when this is dropped.
#[derive(Debug)]
pub struct Server {
    gate: Gate,
    jobs: Receiver<Job>,
}

/// What clients of the control socket get.
struct Clients {
    options: ServerOptions,
    jobs: Sender<Job>,
}

impl Server {
    /// Listens on `control.sock` in a directory that belongs to this process.
    pub fn bind(dir: &RuntimeDir, options: ServerOptions) -> io::Result<Self> {
        let (sender, jobs) = bounded(options.connections);
        let clients = Clients { options, jobs: sender };
        let gate = Gate::open(dir, SOCKET, SocketKind::Stream, options.connections, clients)?;
        Ok(Self { gate, jobs })
    }

    /// Whether the socket is still where clients look for it.
    pub fn is_there(&self) -> bool {
        self.gate.is_there()
    }

    /// The requests. The control loop answers them one after the other.
    pub fn jobs(&self) -> &Receiver<Job> {
        &self.jobs
    }
}

impl Serve for Clients {
    const THREAD: &'static str = "api";

    fn serve(&self, client: &Arc<UnixStream>) {
        serve(client, &self.options, &self.jobs);
    }

    fn turn_away(&self, client: &UnixStream) {
        let full = Response::Failed("The daemon has too many connections: try again".into());
        let _ = respond(client, Duration::from_millis(10), &full);
    }
}

/// Serves one client until it leaves, stalls, or sends something that is not understood.
fn serve(stream: &Arc<UnixStream>, options: &ServerOptions, jobs: &Sender<Job>) {
    loop {
        let body = match frame::read(&mut Timed::new(stream, options.idle), MAX_REQUEST) {
            Ok(Some(body)) => body,
            Ok(None) | Err(FrameError::Io(_)) => return,
            Err(error) => {
                let _ = respond(stream, options.reply, &Response::Failed(format!("Bad message: {error}")));
                return;
            }
        };
        // While this process was stopped the client may have given up. Its user has been told that
        // the request failed, so nothing is done.
        if has_gone(stream) {
            return;
        }
        let response = match request(&body) {
            Ok(request) => ask(request, stream, options, jobs),
            Err(text) => Response::Failed(text),
        };
        if respond(stream, options.reply, &response).is_err() {
            return;
        }
    }
}

/// Whether the client has closed its end for both directions.
fn has_gone(stream: &UnixStream) -> bool {
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::empty())];
    let _ = poll(&mut fds, PollTimeout::ZERO);
    fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
}

fn request(body: &[u8]) -> Result<Request, String> {
    #[derive(serde::Deserialize)]
    struct Version {
        version: u32,
    }
    let bad = |error| format!("Bad message: {error}");
    let Version { version } = serde_json::from_slice(body).map_err(bad)?;
    if version != VERSION {
        return Err(format!("The daemon speaks version {VERSION} of its protocol, not {version}"));
    }
    let envelope: Envelope<Request> = serde_json::from_slice(body).map_err(bad)?;
    Ok(envelope.message)
}

fn ask(request: Request, client: &Arc<UnixStream>, options: &ServerOptions, jobs: &Sender<Job>) -> Response {
    let (reply, answer) = bounded(1);
    let decided = Arc::new(AtomicBool::new(false));
    let job = Job { request, reply, decided: Arc::clone(&decided), client: Arc::clone(client) };
    if jobs.send_timeout(job, options.answer).is_err() {
        return Response::Failed("The daemon is stopping or does not keep up".into());
    }
    let answered = match answer.recv_timeout(options.answer) {
        Err(RecvTimeoutError::Timeout) => {
            if !decided.swap(true, Ordering::SeqCst) {
                return Response::Failed("The daemon does not keep up, and nothing was done".into());
            }
            // The control loop has begun with the request. Only its answer says what was done.
            answer.recv().ok()
        }
        answered => answered.ok(),
    };
    answered.unwrap_or_else(|| Response::Failed("The daemon is stopping".into()))
}

fn respond(stream: &UnixStream, within: Duration, response: &Response) -> io::Result<()> {
    let envelope = Envelope { version: VERSION, message: response };
    let body = serde_json::to_vec(&envelope).map_err(io::Error::other)?;
    frame::write(&mut Timed::new(stream, within), &body)
}
