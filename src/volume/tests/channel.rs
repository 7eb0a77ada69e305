//! Messages and descriptors between the processes of a mount.

use std::io::Read;
use std::os::fd::AsFd;
use std::time::Duration;

use super::*;
use crate::volume::channel::{Channel, Listener, ToParent, ToWorker};
use crate::volume::control::Client;
use crate::volume::journal::Journal;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_message_arrives_with_its_descriptor_and_the_end_is_none() {
    let temp = tempfile::tempdir().expect("a directory");
    let path = temp.path().join("control");
    let listener = Listener::bind(&path).expect("a socket");
    let there = Channel::connect(&path, PATIENCE)
        .expect("a socket")
        .expect("it listens");
    let here = listener.accept().expect("a connection");
    let file = temp.path().join("file");
    std::fs::write(&file, "through").expect("a file");
    let file = std::fs::File::open(file).expect("a file");
    there
        .send_with(&ToWorker::Device, &[file.as_fd()])
        .expect("it is sent");
    there
        .send(&ToParent::Unmount(UmountMode::Lazy))
        .expect("it is sent");
    drop((there, file));
    let (message, descriptor) = here.receive().expect("it comes").expect("a message");
    assert!(matches!(message, ToWorker::Device));
    let mut text = String::new();
    std::fs::File::from(descriptor.expect("a descriptor"))
        .read_to_string(&mut text)
        .expect("it is open");
    assert_eq!(text, "through");
    let (message, descriptor) = here.receive().expect("it comes").expect("a message");
    assert!(matches!(message, ToParent::Unmount(UmountMode::Lazy)));
    assert!(descriptor.is_none());
    assert!(here.receive::<ToParent>().expect("the end").is_none());
}

/// A worker that ended before it had read the parent's last message seemed to have died: the kernel
/// tells of the unread message before it gives out those that were sent.
#[test]
fn what_was_sent_arrives_although_the_sender_ended_without_reading() {
    let temp = tempfile::tempdir().expect("a directory");
    let path = temp.path().join("control");
    let listener = Listener::bind(&path).expect("a socket");
    let there = Channel::connect(&path, PATIENCE)
        .expect("a socket")
        .expect("it listens");
    let here = listener.accept().expect("a connection");
    here.send(&ToWorker::End).expect("it is sent");
    there.send(&ToParent::Ended(None)).expect("it is sent");
    drop(there);
    let (message, _) = here.receive().expect("it comes").expect("a message");
    assert!(matches!(message, ToParent::Ended(None)));
    assert!(here.receive::<ToParent>().expect("the end").is_none());
}

#[test]
fn nonsense_and_messages_without_end_are_refused() {
    let (here, there) = Channel::pair().expect("a channel");
    rustix::io::write(&there, b"{nonsense").expect("it is sent");
    let refused = here.receive::<ToParent>().map(drop).expect_err("refused");
    assert!(matches!(refused, VolumeError::Protocol(_)));
    rustix::io::write(&there, &[b' '; 100 << 10]).expect("it is sent");
    let refused = here.receive::<ToParent>().map(drop).expect_err("refused");
    assert!(matches!(refused, VolumeError::Protocol(_)));
}

#[test]
fn a_socket_that_nobody_listens_at_is_nobody() {
    let temp = tempfile::tempdir().expect("a directory");
    let path = temp.path().join("control");
    assert!(
        Channel::connect(&path, PATIENCE)
            .expect("no error")
            .is_none()
    );
    let listener = Listener::bind(&path).expect("a socket");
    let kept = temp.path().join("kept");
    std::fs::rename(&path, &kept).expect("a name");
    drop(listener);
    assert!(
        Channel::connect(&kept, PATIENCE)
            .expect("no error")
            .is_none()
    );
    // What a killed worker left behind is replaced.
    std::fs::rename(&kept, &path).expect("a name");
    let _listener = Listener::bind(&path).expect("a socket");
    assert!(
        Channel::connect(&path, PATIENCE)
            .expect("no error")
            .is_some()
    );
}

#[test]
fn the_log_is_bounded() {
    // Standard error belongs to the whole process, so this runs in one of its own.
    if std::env::var_os("COFFER_TEST_LOG").is_none() {
        let temp = tempfile::tempdir().expect("a directory");
        let log = temp.path().join("log");
        let status = std::process::Command::new("/proc/self/exe")
            .args(["--exact", "volume::tests::channel::the_log_is_bounded"])
            .arg("--nocapture")
            .env("COFFER_TEST_LOG", &log)
            .stdout(std::process::Stdio::null())
            .stderr(std::fs::File::create(&log).expect("a file"))
            .status()
            .expect("it runs");
        assert!(status.success());
        let len = |path: &Path| std::fs::metadata(path).expect("a file").len();
        assert!(len(&log) < 1 << 20, "{}", len(&log));
        let old = log.with_extension("old");
        assert!((1 << 20..1100 << 10).contains(&len(&old)), "{}", len(&old));
        let text = std::fs::read_to_string(&log).expect("a log");
        let last = text.lines().last().expect("a line");
        assert!(
            last.ends_with("line 29999 of many that say little"),
            "{last}"
        );
        return;
    }
    let log = std::env::var_os("COFFER_TEST_LOG").map(PathBuf::from);
    let journal = Journal::start(log).expect("a log");
    for i in 0..30_000 {
        rustix::io::write(
            std::io::stderr().as_fd(),
            format!("line {i} of many that say little\n").as_bytes(),
        )
        .expect("it is written");
    }
    journal.end();
}

#[test]
fn a_worker_that_speaks_otherwise_is_passed_over() {
    let temp = tempfile::tempdir().expect("a directory");
    let runtime = Runtime::at(&temp.path().join("run")).volume("ab");
    let runtime = runtime.expect("its directory");
    let listener = Listener::bind(&runtime.control()).expect("it listens");
    let worker = std::thread::spawn(move || {
        let channel = listener.accept().expect("a command comes");
        let asked = channel.receive::<serde_json::Value>().expect("it asks");
        assert_eq!(asked.expect("a message").0, "Info");
        let answer = serde_json::json!({"Info": {"header": {}}});
        channel.send(&answer).expect("it answers");
    });
    let client = Client::connect(&runtime).expect("no failure");
    assert!(client.is_none());
    worker.join().expect("it has answered");
}

/// Symptom: every command of every volume hung for ever once some had asked a worker that hung: its
/// queue was full, and connect(2) waited for a place in it.
#[test]
fn a_listener_that_hangs_is_not_waited_for_without_end() {
    let temp = tempfile::tempdir().expect("a directory");
    let path = temp.path().join("control");
    let _listener = Listener::bind(&path).expect("a socket");
    let connect = || Channel::connect(&path, Duration::from_millis(20));
    let waiting: Vec<_> = std::iter::from_fn(|| connect().ok().flatten())
        .take(10_000)
        .collect();
    assert!(!waiting.is_empty());
    let refused = connect().map(drop).expect_err("the queue is full");
    assert_eq!(refused.kind(), std::io::ErrorKind::WouldBlock);
}
