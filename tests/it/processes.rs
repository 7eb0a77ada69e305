//! The processes of a mount: what stays and what goes when one of them ends, and how they end.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::harness::{TestVolume, coffer, run, until};

/// Held while a worker hangs, and while a dead mount is unmounted: nobody can say that the hanging
/// worker does not serve that one.
static HANGING: Mutex<()> = Mutex::new(());

/// How long a process may take to notice something.
const SOON: Duration = Duration::from_secs(20);

fn signal(name: &str, pid: u32) {
    let mut kill = Command::new("kill");
    kill.args([name, &pid.to_string()]);
    // A process that has gone needs no signal.
    run(&kill, 10);
}

fn is_alive(pid: u32) -> bool {
    // A killed child of this process stays as a zombie until it is waited for.
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state
        .rsplit(") ")
        .next()
        .is_some_and(|s| !s.is_empty() && !s.starts_with('Z'))
}

/// Returns the process that mounted for a worker.
fn parent_of(worker: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{worker}/status")).expect("it lives");
    let line = status.lines().find_map(|l| l.strip_prefix("PPid:"));
    line.and_then(|l| l.trim().parse().ok()).expect("a parent")
}

fn umount(target: &Path, options: &[&str]) -> super::harness::Outcome {
    let mut command = coffer(["umount"]);
    command.args(options).arg(target);
    run(&command, 60)
}

/// A process that has a file open on a mount, until it is dropped.
struct User(Child);

impl User {
    fn of(file: &Path) -> Self {
        let mut child = Command::new("bash")
            .args(["-c", "exec 9>>\"$0\"; echo kept >&9; echo ready; read -r"])
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash is there");
        let mut line = [0; 6];
        let out = child.stdout.as_mut().expect("a pipe");
        std::io::Read::read_exact(out, &mut line).expect("it is ready");
        Self(child)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        drop(self.0.wait());
    }
}

#[test]
fn a_wrong_secret_leaves_nothing_behind() {
    let volume = TestVolume::new();
    let wrong = volume.scratch().join("wrong");
    fs::write(&wrong, "not the passphrase at all").expect("own directory");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&wrong, mode).expect("own directory");
    let secret = format!("file:{}", wrong.display());
    let mut mount = coffer(["mount", "--secret", &secret]);
    mount.arg(volume.volume()).arg(volume.root());
    run(&mount, 60).fails(3, &["C-NOSLOT"]);
    assert!(!volume.is_mounted());
    assert_eq!(fs::read(volume.volume().join("lock")).expect("a lock"), b"");
    volume.mount();
    volume.umount();
}

#[test]
fn a_volume_in_use_names_its_user() {
    let volume = TestVolume::new();
    let root = volume.mount();
    let worker = volume.worker();
    let elsewhere = volume.scratch().join("elsewhere");
    fs::create_dir(&elsewhere).expect("own directory");
    let secret = volume.secret();
    let mut mount = coffer(["mount", "--secret", &secret]);
    mount.arg(volume.volume()).arg(&elsewhere);
    let words = [&format!("pid {worker}"), root.to_str().expect("UTF-8")];
    run(&mount, 60).fails(5, &words.map(AsRef::as_ref));
    volume.try_mount(&[]).fails(5, &["mount point already"]);
}

#[test]
fn umount_returns_when_both_processes_are_gone() {
    let volume = TestVolume::new();
    let root = volume.mount();
    let worker = volume.worker();
    let parent = parent_of(worker);
    fs::write(root.join("file"), "kept").expect("a file");
    volume.umount();
    assert!(!is_alive(worker));
    assert!(!is_alive(parent));
    umount(&volume.root(), &[]).fails(2, &["no coffer volume is mounted"]);
    // By the directory of the volume as well.
    volume.mount();
    umount(volume.volume(), &[]).ok();
    assert!(!volume.is_mounted());
}

#[test]
fn a_mount_in_use_is_refused_until_forced() {
    let volume = TestVolume::new();
    let root = volume.mount();
    let worker = volume.worker();
    let user = User::of(&root.join("busy"));
    let pid = format!("pid {}", user.0.id());
    umount(&root, &[]).fails(5, &[&pid]);
    assert!(volume.is_mounted());
    umount(&root, &["--force"]).ok();
    assert!(!volume.is_mounted());
    assert!(!is_alive(worker));
    drop(user);
    assert_eq!(
        fs::read_to_string(volume.mount().join("busy")).expect("a file"),
        "kept\n"
    );
}

#[test]
fn a_lazy_umount_ends_with_the_last_user() {
    let volume = TestVolume::new();
    let root = volume.mount();
    let worker = volume.worker();
    let user = User::of(&root.join("busy"));
    umount(&root, &["--lazy"]).ok();
    assert!(!volume.is_mounted());
    assert!(is_alive(worker));
    drop(user);
    until("the worker ends", SOON, || {
        (!is_alive(worker)).then_some(())
    });
    assert_eq!(
        fs::read_to_string(volume.mount().join("busy")).expect("a file"),
        "kept\n"
    );
}

#[test]
fn a_signal_ends_a_busy_mount_and_loses_nothing() {
    for first in ["-TERM", "-INT"] {
        let volume = TestVolume::new();
        let root = volume.mount();
        let worker = volume.worker();
        let parent = parent_of(worker);
        // Written and not synced: it lies in the kernel, or in the worker.
        let megabyte = vec![b'x'; 1 << 20];
        fs::write(root.join("unsynced"), &megabyte).expect("a file");
        let user = User::of(&root.join("busy"));
        signal(first, parent);
        signal("-TERM", worker);
        signal("-TERM", parent);
        until("the mount ends", SOON, || {
            (!volume.is_mounted() && !is_alive(worker) && !is_alive(parent)).then_some(())
        });
        drop(user);
        volume.mount();
        assert_eq!(
            fs::read(root.join("unsynced")).expect("a file"),
            megabyte,
            "after {first}"
        );
        assert_eq!(
            fs::read_to_string(root.join("busy")).expect("a file"),
            "kept\n"
        );
        volume.umount();
    }
}

#[test]
fn a_killed_worker_leaves_no_dead_mount_and_the_log_says_why() {
    let volume = TestVolume::new();
    let root = volume.mount();
    let id = volume.info()["volume_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let user = User::of(&root.join("busy"));
    volume.kill_worker();
    drop(user);
    assert_eq!(fs::read_dir(&root).expect("the bare directory").count(), 0);
    let log = PathBuf::from("/run/coffer").join(id).join("log");
    until("the log tells", SOON, || {
        fs::read_to_string(&log)
            .is_ok_and(|text| text.contains("SIGKILL"))
            .then_some(())
    });
    volume.mount();
    volume.umount();
}

#[test]
fn a_mount_goes_on_without_its_parent() {
    let volume = TestVolume::new();
    let root = volume.mount();
    let worker = volume.worker();
    signal("-KILL", parent_of(worker));
    fs::write(root.join("file"), "kept").expect("the mount goes on");
    let user = User::of(&root.join("busy"));
    umount(&root, &[]).fails(5, &[]);
    drop(user);
    volume.umount();
    assert!(!is_alive(worker));
    let kept = fs::read_to_string(volume.mount().join("file"));
    assert_eq!(kept.expect("a file"), "kept");
    // And without its parent a signal still ends it, after everything is written.
    let worker = volume.worker();
    signal("-KILL", parent_of(worker));
    fs::write(root.join("last"), "kept").expect("the mount goes on");
    signal("-TERM", worker);
    until("the worker ends", SOON, || {
        (!is_alive(worker)).then_some(())
    });
    let kept = fs::read_to_string(volume.mount().join("last"));
    assert_eq!(kept.expect("a file"), "kept");
}

#[test]
fn the_next_mount_clears_what_killed_processes_left() {
    let volume = TestVolume::new();
    for _ in 0..2 {
        let root = volume.mount();
        let mut file = fs::File::create(root.join("file")).expect("a file");
        file.write_all(b"kept").expect("it is written");
        file.sync_all().expect("it is durable");
        drop(file);
        let worker = volume.worker();
        signal("-KILL", parent_of(worker));
        signal("-KILL", worker);
        until("the worker ends", SOON, || {
            (!is_alive(worker)).then_some(())
        });
        let dead = fs::write(root.join("more"), "").expect_err("a dead mount");
        // The kernel may not have let go of a request that was on its way.
        let gone = [Some(libc::ENOTCONN), Some(libc::ECONNABORTED)];
        assert!(gone.contains(&dead.raw_os_error()), "{dead}");
    }
    let kept = fs::read_to_string(volume.mount().join("file"));
    assert_eq!(kept.expect("a file"), "kept");
    let worker = volume.worker();
    signal("-KILL", parent_of(worker));
    signal("-KILL", worker);
    until("the worker ends", SOON, || {
        (!is_alive(worker)).then_some(())
    });
    // So does an unmount.
    let _none_hangs = HANGING.lock().unwrap_or_else(PoisonError::into_inner);
    umount(&volume.root(), &[]).ok();
    assert!(!volume.is_mounted());
}

/// A new mount gets the device number of the one that has just gone. A parent that noticed late took
/// the next mount on the directory for its own and took it away: "disconnected during handshake", or
/// an empty directory where a volume had just been mounted.
#[test]
fn a_late_parent_leaves_the_next_mount_alone() {
    let volume = TestVolume::new();
    let root = volume.mount();
    fs::write(root.join("file"), "kept").expect("mounted");
    let worker = volume.worker();
    let late = parent_of(worker);
    signal("-STOP", late);
    run(Command::new("umount").arg(&root), 60).ok();
    until("the worker ends", SOON, || {
        (!is_alive(worker)).then_some(())
    });
    volume.mount();
    signal("-CONT", late);
    until("its parent ends", SOON, || (!is_alive(late)).then_some(()));
    let kept = fs::read_to_string(root.join("file"));
    assert_eq!(kept.expect("the next mount is there"), "kept");
}

#[test]
fn a_mount_in_the_foreground_ends_with_its_signal() {
    let volume = TestVolume::new();
    let secret = volume.secret();
    let mut child = coffer(["mount", "--foreground", "--secret", &secret])
        .arg(volume.volume())
        .arg(volume.root())
        .spawn()
        .expect("it starts");
    until("the mount answers", SOON, || {
        (volume.is_mounted() && fs::write(volume.root().join("file"), "kept").is_ok()).then_some(())
    });
    let worker = volume.worker();
    signal("-INT", child.id());
    let status = child.wait().expect("it ends");
    assert!(status.success(), "{status}");
    assert!(!volume.is_mounted());
    assert!(!is_alive(worker));
    let kept = fs::read_to_string(volume.mount().join("file"));
    assert_eq!(kept.expect("a file"), "kept");
}

#[test]
fn a_caller_that_goes_away_leaves_no_mount() {
    // A derivation that takes long enough to be interrupted.
    let volume = TestVolume::with(&["--kdf", "m=262144,t=20,p=1"]);
    let secret = volume.secret();
    let mut caller = coffer(["mount", "--secret", &secret])
        .arg(volume.volume())
        .arg(volume.root())
        .spawn()
        .expect("it starts");
    let lock = volume.volume().join("lock");
    let worker = until("the worker starts", SOON, || {
        let text = fs::read(&lock).ok()?;
        let holder: serde_json::Value = serde_json::from_slice(&text).ok()?;
        holder["pid"].as_u64().and_then(|p| u32::try_from(p).ok())
    });
    caller.kill().expect("it lives");
    caller.wait().expect("it ends");
    until("the worker ends", SOON, || {
        (!is_alive(worker)).then_some(())
    });
    assert!(!volume.is_mounted());
}

/// A script that waited for the end of a pipe waited for ever: the processes of the mount held it.
#[test]
fn a_mount_holds_nothing_that_its_caller_inherited() {
    let volume = TestVolume::new();
    let held = volume.scratch().join("held");
    let script = format!(
        "exec 7>'{}'; '{}' mount --secret '{}' '{}' '{}'",
        held.display(),
        env!("CARGO_BIN_EXE_coffer"),
        volume.secret(),
        volume.volume().display(),
        volume.root().display()
    );
    super::harness::shell(volume.scratch(), &script, 60);
    let worker = volume.worker();
    for pid in [worker, parent_of(worker)] {
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives") {
            let target = fs::read_link(entry.expect("a descriptor").path());
            assert_ne!(
                target.ok().as_deref(),
                Some(held.as_path()),
                "process {pid}"
            );
        }
    }
}

/// Symptom: `coffer info` and `umount` of any volume failed with "cannot hear from another process of
/// the mount" while the worker of one volume hung: they ask all workers who serves the mount point,
/// and the first that did not answer ended them.
#[test]
fn a_worker_that_hangs_keeps_nobody_from_other_volumes() {
    let (hanging, other) = (TestVolume::new(), TestVolume::new());
    hanging.mount();
    other.mount();
    let (worker, id) = (hanging.worker(), other.id());
    let _one = HANGING.lock().unwrap_or_else(PoisonError::into_inner);
    signal("-STOP", worker);
    let listed = run(&coffer(["list", "--json"]), 60);
    other.umount();
    signal("-CONT", worker);
    let listed = listed.ok();
    assert!(listed.contains(&id), "{listed}");
    hanging.umount();
}

#[test]
fn the_control_socket_serves_its_owner_only() {
    let volume = TestVolume::new();
    volume.mount();
    let id = volume.info()["volume_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let dir = PathBuf::from("/run/coffer").join(id);
    let mode = |path: &Path| {
        let m = fs::metadata(path).expect("it is there");
        std::os::unix::fs::PermissionsExt::mode(&m.permissions()) & 0o7777
    };
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("control")), 0o600);
    volume.umount();
    assert!(!dir.join("control").exists());
}

#[test]
fn the_worker_keeps_no_right_and_no_secret_in_sight() {
    let volume = TestVolume::new();
    volume.mount();
    let worker = volume.worker();
    for pid in [worker, parent_of(worker)] {
        let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).expect("root may");
        let passphrase = super::harness::PASSPHRASE.as_bytes();
        for name in ["cmdline", "environ"] {
            let text = read(name);
            assert!(!text.windows(passphrase.len()).any(|w| w == passphrase));
        }
    }
    let status = fs::read_to_string(format!("/proc/{worker}/status")).expect("it lives");
    let field = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name));
        line.expect("the field").trim().to_owned()
    };
    assert_eq!(field("CapEff:"), "0000000000000000");
    assert_eq!(field("CapPrm:"), "0000000000000000");
    assert_eq!(field("NoNewPrivs:"), "1");
    let threads = fs::read_dir(format!("/proc/{worker}/task")).expect("it lives");
    for thread in threads {
        let status = thread.expect("a thread").path().join("status");
        let text = fs::read_to_string(status).unwrap_or_default();
        assert!(!text.contains("CapEff:") || text.contains("CapEff:\t0000000000000000"));
    }
    let limits = fs::read_to_string(format!("/proc/{worker}/limits")).expect("it lives");
    let core = limits.lines().find(|l| l.starts_with("Max core file size"));
    assert!(
        core.is_some_and(|l| l.split_whitespace().nth(4) == Some("0")),
        "{core:?}"
    );
}
