//! A socket in the runtime directory, with a thread for each client.
//!
//! One thread accepts clients. Each client gets a thread of its own, so a slow client delays no
//! other client. The number of clients is limited.

use std::collections::HashMap;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fs, io, thread};

use nix::sys::socket::{self, shutdown};

use super::runtime::{RuntimeDir, SocketKind};

/// What a socket does with its clients.
pub trait Serve: Send + Sync + 'static {
    /// The names of the threads begin with this.
    const THREAD: &'static str;

    /// Serves a client, in the client's own thread. The client is disconnected afterwards.
    fn serve(&self, client: &Arc<UnixStream>);

    /// Called for a client above the limit, in the thread that accepts. It must not wait for long.
    fn turn_away(&self, client: &UnixStream);
}

/// A listening socket and its threads. Dropping it closes the socket and all connections.
#[derive(Debug)]
pub struct Gate {
    path: PathBuf,
    /// The socket's device and inode number, which tell it from another socket of that name.
    inode: (u64, u64),
    /// Another descriptor of the listening socket, to wake the accepting thread with.
    listener: UnixListener,
    open: Arc<Open>,
    acceptor: Option<JoinHandle<()>>,
}

/// The open connections, for counting and for closing them all.
#[derive(Debug)]
struct Open {
    most: usize,
    stopping: AtomicBool,
    clients: Mutex<HashMap<u64, UnixStream>>,
}

impl Gate {
    /// Listens on the socket `name` in a directory of this process, for at most `most` clients at a
    /// time.
    pub fn open(
        dir: &RuntimeDir,
        name: &str,
        kind: SocketKind,
        most: usize,
        serve: impl Serve,
    ) -> io::Result<Self> {
        let listener = dir.listen(name, kind)?;
        let path = dir.path().join(name);
        let inode = inode(&path)?;
        let for_waking = listener.try_clone()?;
        let open = Arc::new(Open { most, stopping: AtomicBool::new(false), clients: Mutex::default() });
        let for_acceptor = Arc::clone(&open);
        let acceptor =
            named(&serve, "accept").spawn(move || accept(&listener, &for_acceptor, &Arc::new(serve)))?;
        Ok(Self { path, inode, listener: for_waking, open, acceptor: Some(acceptor) })
    }

    /// Whether the socket is still where clients look for it.
    pub fn is_there(&self) -> bool {
        inode(&self.path).is_ok_and(|found| found == self.inode)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open.stopping.store(true, Ordering::SeqCst);
        // This wakes the accepting thread, even when the socket has no name any more.
        let woken = shutdown(self.listener.as_raw_fd(), socket::Shutdown::Both).is_ok();
        if self.is_there() {
            let _ = fs::remove_file(&self.path);
        }
        for client in self.open.clients().values() {
            let _ = client.shutdown(Shutdown::Both);
        }
        if let Some(acceptor) = self.acceptor.take().filter(|_| woken) {
            let _ = acceptor.join();
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

fn named<S: Serve>(_: &S, what: &str) -> thread::Builder {
    thread::Builder::new().name(format!("{}-{what}", S::THREAD))
}

impl Open {
    fn clients(&self) -> MutexGuard<'_, HashMap<u64, UnixStream>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept<S: Serve>(listener: &UnixListener, open: &Arc<Open>, serve: &Arc<S>) {
    let mut number = 0u64;
    for stream in listener.incoming() {
        if open.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else {
            // Most likely there are no descriptors left. Wait until some connections have ended.
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        number += 1;
        admit(number, stream, open, serve);
    }
}

fn admit<S: Serve>(number: u64, stream: UnixStream, open: &Arc<Open>, serve: &Arc<S>) {
    let Ok(handle) = stream.try_clone() else { return };
    {
        let mut clients = open.clients();
        if clients.len() >= open.most {
            drop(clients);
            return serve.turn_away(&stream);
        }
        clients.insert(number, handle);
    }
    let (for_thread, serve_it) = (Arc::clone(open), Arc::clone(serve));
    let stream = Arc::new(stream);
    let thread = named(&**serve, "client").spawn(move || {
        serve_it.serve(&stream);
        for_thread.clients().remove(&number);
    });
    if thread.is_err() {
        open.clients().remove(&number);
    }
}
