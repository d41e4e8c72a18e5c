//! A daemon that does not answer, and a socket that is gone.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests all through")]

use std::fs;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use api::{Client, ClientError, Request, Response, RuntimeDir, SOCKET, Server, ServerOptions};
use model::Change;
use tempfile::TempDir;

const SHORT: Duration = Duration::from_millis(200);

/// A stopped process: the kernel takes connections for it, and nobody reads from them.
#[test]
fn a_stopped_daemon_is_not_waited_for_without_end() {
    let dir = TempDir::new().unwrap();
    let _listener = UnixListener::bind(dir.path().join(SOCKET)).unwrap();
    let mut client = Client::connect_within(dir.path(), SHORT).unwrap();
    let error = client.call(&Request::Status).unwrap_err();
    assert!(matches!(error, ClientError::Silent { .. }) && error.is_no_answer(), "{error}");
    assert!(error.to_string().contains("is it stopped") && !error.to_string().contains('\n'));
}

#[test]
fn nor_is_one_whose_queue_of_connections_is_full() {
    let dir = TempDir::new().unwrap();
    let _listener = UnixListener::bind(dir.path().join(SOCKET)).unwrap();
    let mut waiting = Vec::new();
    let error = loop {
        match Client::connect_within(dir.path(), SHORT) {
            Ok(client) => waiting.push(client),
            Err(error) => break error,
        }
        assert!(waiting.len() < 10_000, "the queue has no end");
    };
    assert!(matches!(error, ClientError::Silent { .. }), "{error}");
}

#[test]
fn a_socket_that_was_deleted_is_known_to_be_and_made_again() {
    let dir = TempDir::new().unwrap();
    let run = dir.path().join("run");
    let claimed = RuntimeDir::claim(&run).unwrap();
    let server = Server::bind(&claimed, ServerOptions::default()).unwrap();
    assert!(server.is_there());
    fs::remove_dir_all(&run).unwrap();
    assert!(!server.is_there());
    let claimed = RuntimeDir::claim(&run).unwrap();
    let again = Server::bind(&claimed, ServerOptions::default()).unwrap();
    // The old server ends with its thread, and leaves the socket of the new one alone.
    drop(server);
    assert!(again.is_there());
    let asking = std::thread::spawn(move || Client::connect(&run).unwrap().call(&Request::Timeouts));
    again.jobs().recv().unwrap().answer(Response::Done);
    assert_eq!(asking.join().unwrap().unwrap(), Response::Done);
}

/// A server whose control loop may take as long as `answer` until it begins with a request.
fn server(dir: &TempDir, answer: Duration) -> (RuntimeDir, Server) {
    let claimed = RuntimeDir::claim(dir.path()).unwrap();
    let options = ServerOptions { answer, ..ServerOptions::default() };
    let server = Server::bind(&claimed, options).unwrap();
    (claimed, server)
}

#[test]
fn a_request_that_the_daemon_has_given_up_is_not_carried_out_later() {
    let dir = TempDir::new().unwrap();
    let (_claimed, server) = server(&dir, SHORT);
    let mut client = Client::connect(dir.path()).unwrap();
    let said = client.call(&Request::Change(Change::Flush)).unwrap();
    assert!(matches!(&said, Response::Failed(why) if why.contains("nothing was done")), "{said:?}");
    let job = server.jobs().recv().unwrap();
    assert!(job.is_given_up() && !job.begin());
}

#[test]
fn a_request_whose_client_has_gone_is_not_carried_out_later() {
    let dir = TempDir::new().unwrap();
    let (_claimed, server) = server(&dir, Duration::from_secs(3600));
    let mut client = Client::connect_within(dir.path(), SHORT).unwrap();
    let error = client.call(&Request::Change(Change::Flush)).unwrap_err();
    assert!(matches!(error, ClientError::Silent { .. }), "{error}");
    let job = server.jobs().recv().unwrap();
    assert!(job.is_given_up() && !job.begin());
}

#[test]
fn a_request_that_was_begun_is_waited_for() {
    let dir = TempDir::new().unwrap();
    let patience = Duration::from_secs(1);
    let (_claimed, server) = server(&dir, patience);
    let run = dir.path().to_owned();
    let asking = std::thread::spawn(move || Client::connect(&run).unwrap().call(&Request::Timeouts));
    let job = server.jobs().recv().unwrap();
    assert!(job.begin() && !job.begin());
    std::thread::sleep(patience + SHORT);
    job.answer(Response::Done);
    assert_eq!(asking.join().unwrap().unwrap(), Response::Done);
}

/// Each request gets its own answer, even after one that came too late.
#[test]
fn a_late_answer_is_not_taken_for_that_to_the_next_request() {
    let dir = TempDir::new().unwrap();
    let (_claimed, server) = server(&dir, Duration::from_secs(3600));
    let mut client = Client::connect_within(dir.path(), SHORT).unwrap();
    client.call(&Request::Timeouts).unwrap_err();
    server.jobs().recv().unwrap().answer(Response::Failed("late".into()));
    let answering = std::thread::spawn(move || {
        server.jobs().recv().unwrap().answer(Response::Done);
        server
    });
    // The client waits for the second answer however busy the machine is.
    let mut patient = client.with_patience(Duration::from_secs(60));
    assert_eq!(patient.call(&Request::Timeouts).unwrap(), Response::Done);
    drop(answering.join());
}
