//! The IPVS socket `ipvs.sock`: it answers the generic netlink messages of Linux IPVS.
//!
//! A client sends the same datagrams as to a netlink socket, and receives the same datagrams
//! (`SOCK_SEQPACKET`). The messages themselves are [`lvs::wire::netlink`]'s. Like the control
//! socket, only the daemon's user can open it.
//!
//! The thread of a client splits datagrams into messages, hands them to the control loop as
//! [`NetlinkJob`]s, and writes the answers. The control loop never waits for a client. It handles
//! one message, or one page of a dump, at a time. The datagrams of a page are made by the thread of
//! the client.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::{Client, Gate, Request, Response, RuntimeDir, Serve, SocketKind};
use crossbeam_channel::{Receiver, Sender, bounded};
use lvs::proc::File;
use lvs::wire::netlink::{Explain, Message, Pending, Replies, Step, messages, receive};
use model::{Model, ModelError};
use nix::errno::Errno;

/// The socket's name in the runtime directory.
const SOCKET: &str = "ipvs.sock";
/// How many clients there may be at a time. `keepalived` has one or two for all its life; `ipvsadm`
/// has one for a moment.
const CLIENTS: usize = 64;
/// The longest datagram that is read. The longest message of a program has a few hundred bytes.
const LONGEST: usize = 32 << 10;
/// After how long the log is told the same again.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// How long a client may take to make room for another datagram.
const PATIENCE: Duration = Duration::from_secs(10);

/// The IPVS socket and its threads. All end when this is dropped.
pub(super) struct NetlinkServer {
    gate: Gate,
    jobs: Receiver<NetlinkJob>,
}

/// A message or the request for a page, and the way back to the client.
pub(super) struct NetlinkJob {
    asked: Asked,
    reply: Sender<Replies>,
}

enum Asked {
    /// A message, as it came.
    Message(Vec<u8>),
    /// The next page of a dump.
    Page(Request, Pending),
}

/// What the log was last told of the answers.
#[derive(Default)]
pub(super) struct Told(Option<(Instant, String)>);

/// A client that waits for the director's answer.
pub(super) struct Waiting {
    pending: Pending,
    reply: Sender<Replies>,
}

impl NetlinkServer {
    /// Listens in a directory that belongs to this process.
    pub(super) fn bind(dir: &RuntimeDir) -> io::Result<Self> {
        let (sender, jobs) = bounded(CLIENTS);
        let clients = Clients { jobs: sender, dir: dir.path().to_owned() };
        let gate = Gate::open(dir, SOCKET, SocketKind::Datagrams, CLIENTS, clients)?;
        Ok(Self { gate, jobs })
    }

    /// Whether the socket is still where clients look for it.
    pub(super) fn is_there(&self) -> bool {
        self.gate.is_there()
    }

    /// The messages. The control loop answers them one after the other.
    pub(super) fn jobs(&self) -> &Receiver<NetlinkJob> {
        &self.jobs
    }
}

impl NetlinkJob {
    /// What the job asks of a director with the rules `model`. `None` if the client has its answer
    /// already.
    pub(super) fn begin(self, model: &Model) -> Option<(Request, Waiting)> {
        let Self { asked, reply } = self;
        let step = match asked {
            // The client's thread sends one message at a time.
            Asked::Message(bytes) => receive(&messages(&bytes).next()?, Explain::default(), model),
            Asked::Page(request, pending) => Step::Ask(request, pending),
        };
        match step {
            Step::Ask(request, pending) => Some((request, Waiting { pending, reply })),
            Step::Reply(replies) => {
                let _ = reply.try_send(replies);
                None
            }
        }
    }
}

impl Waiting {
    /// Answers the client, and never waits. The caller need not care whether the client has gone.
    pub(super) fn answer(self, response: Response) {
        let _ = self.reply.try_send(self.pending.answered(response));
    }
}

impl Told {
    /// Logs the words of an answer that netlink cannot carry: warnings, and what is behind an errno
    /// that Linux would not give. The same words are logged once a minute.
    pub(super) fn tell(&mut self, response: &Response, now: Instant) {
        let words = match response {
            Response::Warned(lines) => lines.join("; "),
            Response::Refused(error @ (ModelError::Unsupported(_) | ModelError::TooManyForMh(_))) => {
                format!("refused: {error}")
            }
            Response::Failed(reason) => reason.clone(),
            _ => return,
        };
        let again = |(at, old): &(Instant, String)| *old == words && now.duration_since(*at) < TELL_AGAIN;
        if !self.0.as_ref().is_some_and(again) {
            tracing::warn!("{SOCKET}: {words}");
            self.0 = Some((now, words));
        }
    }
}

/// What clients of the socket get.
struct Clients {
    jobs: Sender<NetlinkJob>,
    /// The runtime directory, with the control socket.
    dir: PathBuf,
}

impl Serve for Clients {
    const THREAD: &'static str = "ipvs";

    fn serve(&self, client: &Arc<UnixStream>) {
        // It ends when the client has gone, does not read, or sends what is too long.
        let _ = serve(client, self);
    }

    fn turn_away(&self, _: &UnixStream) {
        tracing::warn!("{SOCKET} has {CLIENTS} clients, and no more are let in");
    }
}

fn serve(client: &UnixStream, clients: &Clients) -> io::Result<()> {
    client.set_write_timeout(Some(PATIENCE))?;
    // With one byte more, a datagram that is too long shows: the kernel cuts it.
    let mut buffer = vec![0; LONGEST + 1];
    loop {
        let length = match (&*client).read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read?,
        };
        if length == 0 || length > LONGEST {
            return Ok(());
        }
        for message in messages(&buffer[..length]) {
            match message.text_wanted() {
                Some(wanted) => tell(client, &clients.dir, &message, wanted)?,
                None => converse(client, &clients.jobs, Asked::Message(message.bytes().to_vec()))?,
            }
        }
    }
}

/// Sends the text of a file. The thread asks for it on the control socket, as any other client, so
/// the control loop answers other requests between two pages.
fn tell(
    mut client: &UnixStream,
    dir: &Path,
    message: &Message<'_>,
    wanted: Result<File, Errno>,
) -> io::Result<()> {
    let file = match wanted {
        Ok(file) => file,
        Err(errno) => return client.write_all(&message.text_refused(errno)),
    };
    let mut sent = Ok(());
    let mut send = |text: String| {
        for datagram in message.text(&text) {
            if sent.is_ok() {
                sent = client.write_all(&datagram);
            }
        }
    };
    let told = Client::connect(dir).and_then(|mut director| file.read(&mut director, &mut send));
    sent?;
    match told {
        Ok(()) => client.write_all(&message.text_end()),
        Err(error) => {
            tracing::warn!("{SOCKET}: the text of a file is not complete: {error}");
            client.write_all(&message.text_refused(Errno::EIO))
        }
    }
}

/// Has the control loop answer a message, and sends all datagrams of the answer.
fn converse(mut client: &UnixStream, jobs: &Sender<NetlinkJob>, message: Asked) -> io::Result<()> {
    let stopping = || io::Error::from(ErrorKind::NotConnected);
    let mut next = Some(message);
    while let Some(asked) = next.take() {
        let (reply, answer) = bounded(1);
        jobs.send(NetlinkJob { asked, reply }).map_err(|_| stopping())?;
        let mut replies = answer.recv().map_err(|_| stopping())?;
        for datagram in &mut replies {
            client.write_all(&datagram)?;
        }
        next = replies.more().map(|(request, pending)| Asked::Page(request, pending));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::thread::JoinHandle;

    use api::page;
    use model::{Change, Feature, ModelOptions, ServiceKey, ServiceSpec};
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
    use tempfile::TempDir;

    use super::*;

    /// A socket whose control loop has rules and no packets.
    struct Rig {
        dir: TempDir,
        server: Option<NetlinkServer>,
        control: Option<JoinHandle<()>>,
        _claim: RuntimeDir,
    }

    impl Rig {
        fn new(services: u16) -> Self {
            let dir = TempDir::new().unwrap();
            let claim = RuntimeDir::claim(dir.path()).unwrap();
            let server = NetlinkServer::bind(&claim).unwrap();
            let mut model = Model::new(ModelOptions::all());
            for port in 1..=services {
                let key = ServiceKey::tcp([10, 0, 0, 100].into(), port);
                model.apply(Change::AddService(ServiceSpec::new(key, "wlc"))).unwrap();
            }
            let jobs = server.jobs().clone();
            let control = std::thread::spawn(move || {
                for job in jobs {
                    let Some((request, waiting)) = job.begin(&model) else { continue };
                    waiting.answer(match request {
                        Request::Change(change) => Response::from_change(model.apply(change).map(drop)),
                        Request::List(query) => page(&model, &(), &query),
                        other => panic!("{other:?}"),
                    });
                }
            });
            Self { dir, server: Some(server), control: Some(control), _claim: claim }
        }

        fn client(&self) -> UnixStream {
            dial(&self.dir.path().join(SOCKET))
        }
    }

    impl Drop for Rig {
        fn drop(&mut self) {
            drop(self.server.take());
            self.control.take().unwrap().join().unwrap();
        }
    }

    fn dial(path: &Path) -> UnixStream {
        let fd = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
        connect(fd.as_raw_fd(), &UnixAddr::new(path).unwrap()).unwrap();
        let stream = UnixStream::from(fd);
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    const GET_SERVICE: u8 = 4;
    const FLUSH: u8 = 17;
    const ACK: u16 = 4;
    const DUMP: u16 = 0x300;
    const ERROR: u16 = 2;
    const DONE: u16 = 3;

    fn message(command: u8, flags: u16, sequence: u32) -> Vec<u8> {
        let mut bytes = 20_u32.to_ne_bytes().to_vec();
        bytes.extend(lvs::wire::netlink::FAMILY.to_ne_bytes());
        bytes.extend((1 | flags).to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0, 0, 0, 0, command, 1, 0, 0]);
        bytes
    }

    /// The next datagram, and the kind of its first message.
    fn next(mut client: &UnixStream) -> (Vec<u8>, u16) {
        let mut buffer = vec![0; 65_536];
        let length = client.read(&mut buffer).unwrap();
        buffer.truncate(length);
        let kind = u16::from_ne_bytes([buffer[4], buffer[5]]);
        (buffer, kind)
    }

    fn flush(mut client: &UnixStream, sequence: u32) {
        client.write_all(&message(FLUSH, ACK, sequence)).unwrap();
        let (answer, kind) = next(client);
        assert_eq!(
            (kind, &answer[8..12], &answer[16..20]),
            (ERROR, &sequence.to_ne_bytes()[..], &[0; 4][..])
        );
    }

    #[test]
    fn a_dump_of_many_pages_arrives_whole_and_the_socket_is_the_owners() {
        use std::os::unix::fs::MetadataExt;

        let rig = Rig::new(4000);
        let mode = std::fs::metadata(rig.dir.path().join(SOCKET)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut client = rig.client();
        client.write_all(&message(GET_SERVICE, DUMP, 9)).unwrap();
        let mut services = 0;
        loop {
            let (datagram, kind) = next(&client);
            if kind == DONE {
                break;
            }
            services += messages(&datagram).count();
        }
        assert_eq!(services, 4000);
        flush(&client, 10);
    }

    #[test]
    fn a_client_that_does_not_read_keeps_nobody_waiting() {
        let rig = Rig::new(4000);
        let mut silent = rig.client();
        // Far more than a socket's buffer takes.
        silent.write_all(&message(GET_SERVICE, DUMP, 1)).unwrap();
        silent.write_all(&message(GET_SERVICE, DUMP, 2)).unwrap();
        let client = rig.client();
        (3..50).for_each(|sequence| flush(&client, sequence));
    }

    #[test]
    fn several_messages_in_a_datagram_are_answered_in_order() {
        let rig = Rig::new(1);
        let mut client = rig.client();
        let both = [message(FLUSH, ACK, 1), message(99, ACK, 2), message(FLUSH, ACK, 3)].concat();
        client.write_all(&both).unwrap();
        let answers: Vec<_> = (0..3).map(|_| next(&client).0[8]).collect();
        assert_eq!(answers, [1, 2, 3]);
    }

    #[test]
    fn what_is_too_long_or_no_message_ends_or_is_ignored() {
        let rig = Rig::new(1);
        let mut client = rig.client();
        client.write_all(&[1, 2, 3]).unwrap();
        client.write_all(&[0xff; 100]).unwrap();
        flush(&client, 1);
        client.write_all(&vec![0; LONGEST + 1]).unwrap();
        assert_eq!((&client).read(&mut [0; 16]).unwrap(), 0);
        flush(&rig.client(), 2);
    }

    #[test]
    fn clients_above_the_limit_are_turned_away_and_come_in_when_others_leave() {
        let rig = Rig::new(1);
        let clients: Vec<_> = (0..CLIENTS).map(|_| rig.client()).collect();
        clients.iter().for_each(|client| flush(client, 1));
        let mut late = rig.client();
        // The connection is closed, before the message or after it.
        let _ = late.write_all(&message(FLUSH, ACK, 1));
        assert!(!matches!((&late).read(&mut [0; 64]), Ok(1..)));
        drop(clients);
        for _ in 0..500 {
            let mut client = rig.client();
            let sent = client.write_all(&message(FLUSH, ACK, 1));
            if sent.is_ok() && matches!((&client).read(&mut [0; 64]), Ok(1..)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("nobody is let in any more");
    }

    #[test]
    fn the_log_is_told_the_same_words_once_a_minute() {
        let mut told = Told::default();
        let begun = Instant::now();
        let gre = Response::Refused(ModelError::Unsupported(Feature::Gre));
        let logged = |told: &Told| told.0.as_ref().map(|(at, _)| at.duration_since(begun).as_secs());
        told.tell(&Response::Done, begun);
        told.tell(&Response::Refused(ModelError::NoService), begun);
        assert_eq!(logged(&told), None);
        for (seconds, expected) in [(0, 0), (59, 0), (60, 60), (100, 60)] {
            told.tell(&gre, begun + Duration::from_secs(seconds));
            assert_eq!(logged(&told), Some(expected), "after {seconds} s");
        }
        told.tell(&Response::Warned(vec!["mind the mask".into()]), begun + Duration::from_secs(101));
        assert_eq!(logged(&told), Some(101));
    }
}
