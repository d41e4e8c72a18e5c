//! The runtime directory has one owner, whatever is deleted in it and whatever lies in it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests all through")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use api::{PID_FILE, RuntimeDir, RuntimeDirError, SOCKET, SocketKind};
use tempfile::TempDir;

fn refusal(path: &Path) -> String {
    let said = RuntimeDir::claim_within(path, Duration::ZERO).unwrap_err().to_string();
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn a_link_in_the_place_of_the_process_id_is_not_followed() {
    let dir = TempDir::new().unwrap();
    let precious = dir.path().join("precious");
    fs::write(&precious, "of somebody").unwrap();
    let run = dir.path().join("run");
    fs::create_dir(&run).unwrap();
    symlink(&precious, run.join(PID_FILE)).unwrap();
    let claimed = RuntimeDir::claim(&run).unwrap();
    assert_eq!(fs::read_to_string(&precious).unwrap(), "of somebody");
    assert_eq!(fs::read_to_string(run.join(PID_FILE)).unwrap(), format!("{}\n", std::process::id()));
    drop(claimed);
    assert_eq!(fs::read_to_string(&precious).unwrap(), "of somebody");
    assert!(!run.join(PID_FILE).exists(), "nobody runs, so nobody is named");
}

#[test]
fn a_deleted_process_id_lets_no_second_daemon_in() {
    let dir = TempDir::new().unwrap();
    let _first = RuntimeDir::claim(dir.path()).unwrap();
    fs::remove_file(dir.path().join(PID_FILE)).unwrap();
    assert!(refusal(dir.path()).contains("already runs"), "the lock is on the directory");
}

#[test]
fn a_directory_that_others_can_write_to_is_refused() {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o1777)).unwrap();
    assert!(refusal(dir.path()).contains("others may write to it (mode 1777)"));
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    RuntimeDir::claim(dir.path()).unwrap();
}

#[test]
fn a_directory_that_others_could_lock_is_closed_to_them() {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let _claim = RuntimeDir::claim(dir.path()).unwrap();
    assert_eq!(dir.path().metadata().unwrap().permissions().mode() & 0o777, 0o711);
}

#[test]
fn a_directory_behind_a_link_is_refused() {
    let dir = TempDir::new().unwrap();
    let run = dir.path().join("run");
    fs::create_dir(dir.path().join("real")).unwrap();
    symlink(dir.path().join("real"), &run).unwrap();
    assert!(refusal(&run).contains("it is a symbolic link"));
}

#[test]
fn another_users_directory_is_refused() {
    // As root: a directory of another user. Otherwise: one of root.
    if nix::unistd::geteuid().is_root() {
        let dir = TempDir::new().unwrap();
        nix::unistd::chown(dir.path(), Some(65_534.into()), None).unwrap();
        assert!(refusal(dir.path()).contains("it belongs to user 65534, not to user 0"));
    } else {
        assert!(refusal(Path::new("/")).contains("it belongs to user 0"));
    }
}

#[test]
fn a_path_too_long_for_a_socket_is_refused_and_nothing_is_made() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("x".repeat(100));
    assert!(refusal(&path).contains("choose a shorter --runtime-dir"));
    assert!(!path.exists());
    let longest = 107 - SOCKET.len() - 1 - dir.path().as_os_str().len() - 1;
    let claimed = RuntimeDir::claim(&dir.path().join("x".repeat(longest))).unwrap();
    claimed.listen(SOCKET, SocketKind::Stream).unwrap();
}

#[test]
fn one_that_is_about_to_let_go_is_waited_for() {
    let dir = TempDir::new().unwrap();
    // Another process holds the lock for a moment, like a daemon that was killed and has not ended
    // yet.
    let mut other = Command::new("flock").arg(dir.path()).args(["sleep", "0.3"]).spawn().unwrap();
    let taken =
        || matches!(RuntimeDir::claim_within(dir.path(), Duration::ZERO), Err(RuntimeDirError::Taken { .. }));
    while !taken() {
        assert!(other.try_wait().unwrap().is_none(), "the other never had the lock");
    }
    RuntimeDir::claim(dir.path()).unwrap();
    other.wait().unwrap();
}

#[test]
fn a_directory_that_was_deleted_is_known_to_be() {
    let dir = TempDir::new().unwrap();
    let run = dir.path().join("run");
    let first = RuntimeDir::claim(&run).unwrap();
    assert!(first.is_there());
    fs::remove_dir_all(&run).unwrap();
    assert!(!first.is_there());
    let second = RuntimeDir::claim(&run).unwrap();
    assert!(second.is_there() && !first.is_there());
    drop(first);
    assert!(run.join(PID_FILE).exists(), "the second one's");
}
