//! The control socket against clients that are wrong, slow, gone or too many.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may panic as tests may")]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::common::{Daemon, World};
use api::{
    Client, ClientError, ConnectionQuery, ListQuery, MAX_REQUEST, Request, Response, RuntimeDir,
    RuntimeDirError, SOCKET, Server, ServerOptions, SocketKind, pages,
};
use model::{Change, ModelError, ModelOptions, ServiceKey, ServiceSpec};
use proptest::prelude::*;
use tempfile::TempDir;

fn connect(daemon: &Daemon) -> UnixStream {
    let stream = UnixStream::connect(daemon.runtime_dir().join(SOCKET)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body].concat()
}

fn reply(stream: &mut UnixStream) -> Option<String> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).ok()?;
    let mut body = vec![0; u32::from_be_bytes(header) as usize];
    stream.read_exact(&mut body).ok()?;
    String::from_utf8(body).ok()
}

fn alive(daemon: &Daemon) {
    let mut client = Client::connect(daemon.runtime_dir()).unwrap();
    assert!(matches!(client.call(&Request::Timeouts), Ok(Response::Timeouts(_))));
}

fn web(last: u8) -> ServiceSpec {
    ServiceSpec::new(ServiceKey::tcp([10, 0, 0, last].into(), 80), "rr")
}

#[test]
fn requests_are_answered_one_after_the_other() {
    let daemon = Daemon::start();
    let mut client = Client::connect(daemon.runtime_dir()).unwrap();
    assert_eq!(client.call(&Request::Change(Change::AddService(web(1)))).unwrap(), Response::Done);
    let again = client.call(&Request::Change(Change::AddService(web(1)))).unwrap();
    assert_eq!(again, Response::Refused(ModelError::ServiceExists));
    let both = vec![Change::AddService(web(2)), Change::AddService(web(1))];
    let refused = client.call(&Request::ChangeAll(both)).unwrap();
    assert_eq!(refused, Response::BatchRefused { index: 1, error: ModelError::ServiceExists });
    let Response::Services { services, next } = client.call(&Request::List(ListQuery::default())).unwrap()
    else {
        panic!("no services")
    };
    assert_eq!((services.len(), next), (1, None));
}

#[test]
fn long_listings_come_in_pages() {
    let daemon = Daemon::start();
    let mut client = Client::connect(daemon.runtime_dir()).unwrap();
    let key = |number: u16| ServiceKey::udp([10, 0, 0, 1].into(), number);
    let all = (1..=5000).map(|port| Change::AddService(ServiceSpec::new(key(port), "rr"))).collect();
    assert_eq!(client.call(&Request::ChangeAll(all)).unwrap(), Response::Done);
    let (mut seen, mut count) = (Vec::new(), 0);
    pages(&mut client, Request::List(ListQuery::default()), &mut |page| {
        let Response::Services { services, .. } = page else { panic!("{page:?}") };
        count += 1;
        seen.extend(services.iter().map(|service| service.spec.key.port()));
    })
    .unwrap();
    assert!(count > 3);
    assert_eq!(seen, (1..=5000).collect::<Vec<_>>());
}

#[test]
fn only_the_owner_may_open_the_socket() {
    let daemon = Daemon::start();
    let meta = std::fs::metadata(daemon.runtime_dir().join(SOCKET)).unwrap();
    assert!(meta.file_type().is_socket());
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    let names: Vec<_> =
        std::fs::read_dir(daemon.runtime_dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "the socket and the process id: {names:?}");
}

#[test]
fn what_is_no_request_is_told_so() {
    let daemon = Daemon::start();
    let mut stream = connect(&daemon);
    for (body, said) in [
        (&b"nonsense"[..], "Bad message"),
        (b"{}", "Bad message"),
        (b"", "Bad message"),
        (b"\xff\xfe", "Bad message"),
        (br#"{"version":1,"message":"no_such_thing"}"#, "Bad message"),
        (br#"{"version":1,"message":{"change":{"add_service":{"key":1}}}}"#, "Bad message"),
        (br#"{"version":99,"message":"timeouts"}"#, "version 1 of its protocol, not 99"),
        (br#"{"version":1,"message":"timeouts"}"#, r#"{"timeouts":{"tcp":900,"#),
    ] {
        stream.write_all(&frame(body)).unwrap();
        let reply = reply(&mut stream).unwrap();
        assert!(reply.contains(said), "{reply}");
    }
    let deep = ["[".repeat(100_000), "]".repeat(100_000)].concat();
    stream.write_all(&frame(format!(r#"{{"version":1,"message":{deep}}}"#).as_bytes())).unwrap();
    assert!(reply(&mut stream).unwrap().contains("Bad message"));
    stream.write_all(&(MAX_REQUEST + 1).to_be_bytes()).unwrap();
    assert!(reply(&mut stream).unwrap().contains("longer than"));
    assert_eq!(reply(&mut stream), None, "and the connection is closed");
    alive(&daemon);
}

#[test]
fn clients_that_leave_in_the_middle_harm_nobody() {
    let daemon = Daemon::start();
    drop(connect(&daemon));
    connect(&daemon).write_all(&[0, 0]).unwrap();
    connect(&daemon).write_all(&[0, 0, 0, 9, b'{']).unwrap();
    let mut stream = connect(&daemon);
    stream.write_all(&[0, 0, 0, 9, b'{']).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(reply(&mut stream).unwrap().contains("ends too early"));
    for _ in 0..50 {
        let mut stream = connect(&daemon);
        stream.write_all(&frame(br#"{"version":1,"message":"timeouts"}"#)).unwrap();
    }
    alive(&daemon);
}

#[test]
fn slow_clients_are_dropped_and_too_many_refused() {
    let options = ServerOptions {
        connections: 4,
        idle: Duration::from_millis(300),
        reply: Duration::from_millis(300),
        answer: Duration::from_secs(5),
    };
    let daemon = Daemon::with(ModelOptions::all(), World::default(), options);
    let begin = Instant::now();
    let mut slow: Vec<_> = (0..4).map(|_| connect(&daemon)).collect();
    slow[0].write_all(&[0, 0, 0, 100]).unwrap();
    let mut fifth = Client::connect(daemon.runtime_dir()).unwrap();
    match fifth.call(&Request::Timeouts) {
        Ok(Response::Failed(text)) => assert!(text.contains("too many connections"), "{text}"),
        other => panic!("{other:?}"),
    }
    // A client that sends single bytes slowly does not keep its connection.
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(50));
        if slow[0].write_all(b" ").is_err() {
            break;
        }
    }
    for stream in &mut slow {
        assert_eq!(reply(stream), None);
    }
    assert!(begin.elapsed() < Duration::from_secs(5));
    alive(&daemon);
}

#[test]
fn a_client_that_does_not_read_holds_nobody_up() {
    let options = ServerOptions { reply: Duration::from_millis(300), ..ServerOptions::default() };
    let daemon = Daemon::with(ModelOptions::all(), World::default(), options);
    let mut client = Client::connect(daemon.runtime_dir()).unwrap();
    let key = |number: u16| ServiceKey::udp([10, 0, 0, 1].into(), number);
    let all = (1..=2000).map(|port| Change::AddService(ServiceSpec::new(key(port), "rr"))).collect();
    assert_eq!(client.call(&Request::ChangeAll(all)).unwrap(), Response::Done);
    let mut deaf = connect(&daemon);
    for _ in 0..20 {
        let list = frame(br#"{"version":1,"message":{"list":{"service":null}}}"#);
        if deaf.write_all(&list).is_err() {
            break;
        }
        alive(&daemon);
    }
    std::thread::sleep(Duration::from_millis(600));
    alive(&daemon);
}

#[test]
fn a_daemon_that_stops_hangs_up() {
    let daemon = Daemon::start();
    let mut client = Client::connect(daemon.runtime_dir()).unwrap();
    client.call(&Request::Timeouts).unwrap();
    let dir = TempDir::new().unwrap();
    let path = daemon.runtime_dir().to_owned();
    drop(daemon);
    assert!(matches!(client.call(&Request::Timeouts), Err(ClientError::Closed | ClientError::Io(_))));
    assert!(!path.join(SOCKET).exists());
    let error = Client::connect(dir.path()).unwrap_err();
    let said = format!("No daemon answers at {}: is viplined running?", dir.path().join(SOCKET).display());
    assert_eq!(error.to_string(), said);
}

#[test]
fn a_second_daemon_is_told_about_the_first_and_a_dead_one_is_replaced() {
    let dir = TempDir::new().unwrap();
    let first = RuntimeDir::claim(dir.path()).unwrap();
    match RuntimeDir::claim(dir.path()) {
        Err(error @ RuntimeDirError::Taken { .. }) => {
            let text = error.to_string();
            assert!(text.contains(&format!("(process {})", std::process::id())), "{text}");
            assert!(!text.contains('\n'));
        }
        other => panic!("{other:?}"),
    }
    // The socket of a daemon that died.
    std::mem::forget(first.listen(SOCKET, SocketKind::Stream).unwrap());
    drop(first);
    assert!(dir.path().join(SOCKET).exists());
    let second = RuntimeDir::claim(dir.path()).unwrap();
    let server = Server::bind(&second, ServerOptions::default()).unwrap();
    let asking = std::thread::spawn({
        let dir = dir.path().to_owned();
        move || Client::connect(&dir).unwrap().call(&Request::Timeouts)
    });
    let job = server.jobs().recv().unwrap();
    assert_eq!(job.request, Request::Timeouts);
    job.answer(Response::Done);
    assert_eq!(asking.join().unwrap().unwrap(), Response::Done);
    // When a job is dropped without an answer, the client is told too.
    let asking = std::thread::spawn({
        let dir = dir.path().to_owned();
        move || Client::connect(&dir).unwrap().call(&Request::Timeouts)
    });
    drop(server.jobs().recv().unwrap());
    assert!(matches!(asking.join().unwrap().unwrap(), Response::Failed(_)));
}

#[test]
fn a_runtime_directory_that_cannot_be_made_is_named() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = RuntimeDir::claim(&file.join("below")).unwrap_err().to_string();
    assert!(error.starts_with("Cannot use runtime directory"), "{error}");
}

#[test]
fn connections_come_in_pages_and_filtered() {
    let row = |number: u16| api::ConnectionRow {
        protocol: Some(model::Protocol::Tcp),
        expires: 899,
        state: "ESTABLISHED".into(),
        client: ([10, 0, 0, 2], number).into(),
        target: ([10, 0, 0, 100], 80).into(),
        destination: ([10, 0, 1, 11], 8080).into(),
        local: None,
        method: model::ForwardingMethod::Masquerade,
        worker: 0,
        engine: None,
    };
    let world = World { rows: (5000..5007).map(row).collect(), ..World::default() };
    let daemon = Daemon::with(ModelOptions::all(), world, ServerOptions::default());
    let mut client = Client::connect(daemon.runtime_dir()).unwrap();
    let mut seen = Vec::new();
    let mut query = ConnectionQuery::default();
    query.filter.destination = Some(api::Endpoint { addr: None, port: Some(8080) });
    pages(&mut client, Request::Connections(query), &mut |page| {
        let Response::Connections { rows, .. } = page else { panic!("{page:?}") };
        seen.extend(rows.iter().map(|row| row.client.port()));
    })
    .unwrap();
    assert_eq!(seen, (5000..5007).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_bytes_kill_the_server(noise in proptest::collection::vec(any::<u8>(), 0..200), framed in any::<bool>()) {
        use std::sync::OnceLock;
        static DAEMON: OnceLock<Daemon> = OnceLock::new();
        let daemon = DAEMON.get_or_init(Daemon::start);
        let mut stream = connect(daemon);
        let bytes = if framed { frame(&noise) } else { noise };
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        alive(daemon);
    }
}
