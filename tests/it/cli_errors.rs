//! Bad input: a clear error, a distinct exit code, nothing lost.
//!
//! Each test ends by showing that the volume still opens and holds what it held.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Outcome, TestVolume, coffer, run, shell, until};

/// How long one command may take, in seconds.
const LIMIT_S: u64 = 60;

/// Wrong command line.
const USAGE: i32 = 2;
/// Wrong secret.
const WRONG_SECRET: i32 = 3;
/// Not a volume.
const NOT_A_VOLUME: i32 = 4;
/// In use.
const IN_USE: i32 = 5;
/// Damaged.
const INTEGRITY: i32 = 6;
/// Against a rule.
const POLICY: i32 = 7;

/// Runs coffer with words and a path at the end.
#[track_caller]
fn run_coffer(words: &[&str], path: &Path) -> Outcome {
    let mut command = coffer(words);
    command.arg(path);
    run(&command, LIMIT_S)
}

/// Creates a volume that holds a file.
#[track_caller]
fn volume_with_a_file() -> TestVolume {
    let v = TestVolume::new();
    let root = v.mount();
    shell(&root, "echo precious > file", LIMIT_S);
    v.umount();
    v
}

/// Asserts that the volume opens and holds its file.
#[track_caller]
fn assert_intact(v: &TestVolume) {
    let root = v.mount();
    assert_eq!(shell(&root, "cat file", LIMIT_S), "precious\n");
    v.umount();
}

/// Asserts that nothing is mounted and no lock is left behind.
#[track_caller]
fn assert_untouched(v: &TestVolume) {
    assert!(!v.is_mounted(), "a mount was left");
    assert_intact(v);
}

/// Writes a secret into a file that only its owner can read.
#[track_caller]
fn secret_file(path: &Path, content: &str) -> String {
    fs::write(path, content).expect("own directory");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("own file");
    format!("file:{}", path.display())
}

/// Changes a byte in the middle of a file.
#[track_caller]
fn damage(path: &Path) {
    let mut bytes = fs::read(path).expect("a header");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(path, bytes).expect("own volume");
}

/// Mounts with another secret than that of the volume.
#[track_caller]
fn mount_with(v: &TestVolume, secret: &str) -> Outcome {
    let mut command = coffer(["mount", "--secret", secret]);
    command.arg(v.volume()).arg(v.root());
    run(&command, LIMIT_S)
}

#[test]
fn a_wrong_secret_leaves_no_mount() {
    let v = volume_with_a_file();
    let wrong = secret_file(&v.scratch().join("wrong"), "not the passphrase\n");
    mount_with(&v, &wrong).fails(WRONG_SECRET, &["C-NOSLOT", "next: "]);
    let empty = secret_file(&v.scratch().join("empty"), "\n");
    mount_with(&v, &empty).fails(WRONG_SECRET, &["C-NOSLOT", "empty"]);
    assert_untouched(&v);
}

#[test]
fn a_weak_passphrase_creates_nothing() {
    let v = volume_with_a_file();
    let other = v.scratch().join("other");
    for (content, word) in [("\n", "empty"), ("elevenchars\n", "at least 12")] {
        let secret = secret_file(&v.scratch().join("weak"), content);
        run_coffer(&["init", "--secret", &secret], &other).fails(POLICY, &["C-SECRETFORM", word]);
        assert!(!other.exists(), "init has left {}", other.display());
    }
    assert_untouched(&v);
}

#[test]
fn secrets_in_arguments_and_environment_are_refused() {
    let v = volume_with_a_file();
    let words = ["C-SECRETFORM", "--secret", "file:PATH"];
    for given in [
        "--passphrase=hunter2",
        "--password=hunter2",
        "-opassphrase=hunter2",
    ] {
        let mut command = coffer(["mount", given]);
        command.arg(v.volume()).arg(v.root());
        let refused = run(&command, LIMIT_S).fails(USAGE, &words);
        assert!(!refused.stderr.contains("hunter2"), "{}", refused.stderr);
    }
    let refused = mount_with(&v, "hunter2").fails(USAGE, &words);
    assert!(!refused.stderr.contains("hunter2"), "{}", refused.stderr);
    let mut command = coffer(["mount", "--secret", &v.secret()]);
    command.arg(v.volume()).arg(v.root());
    command.env("COFFER_PASSPHRASE", "hunter2");
    let refused = run(&command, LIMIT_S).fails(USAGE, &["unset COFFER_PASSPHRASE", "file:PATH"]);
    assert!(!refused.stderr.contains("hunter2"), "{}", refused.stderr);
    assert_untouched(&v);
}

#[test]
fn a_secret_must_be_given_where_nobody_can_be_asked() {
    let v = volume_with_a_file();
    let mut command = Command::new("setsid");
    command.args(["--wait", env!("CARGO_BIN_EXE_coffer"), "mount"]);
    command.arg(v.volume()).arg(v.root());
    run(&command, LIMIT_S).fails(USAGE, &["no terminal", "--secret"]);
    assert_untouched(&v);
}

#[test]
fn a_key_file_that_others_can_read_is_refused() {
    let v = volume_with_a_file();
    let open = v.scratch().join("secret");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o640)).expect("own file");
    v.try_mount(&[]).fails(POLICY, &["C-PERM", "chmod"]);
    fs::set_permissions(&open, fs::Permissions::from_mode(0o600)).expect("own file");
    let link = v.scratch().join("link");
    symlink(&open, &link).expect("own directory");
    mount_with(&v, &format!("file:{}", link.display())).fails(POLICY, &["C-PERM", "a symlink"]);
    let inside = secret_file(&v.volume().join("key"), "correct horse battery staple\n");
    mount_with(&v, &inside).fails(POLICY, &["C-PERM", "inside the volume"]);
    fs::remove_file(v.volume().join("key")).expect("own file");
    mount_with(&v, "file:/missing/key").fails(1, &["/missing/key"]);
    assert_untouched(&v);
}

#[test]
fn what_is_no_volume_is_not_mounted() {
    let v = volume_with_a_file();
    let secret = v.secret();
    let elsewhere = v.scratch().join("elsewhere");
    let mount = |dir: &Path| {
        let mut command = coffer(["mount", "--secret", &secret]);
        command.arg(dir).arg(v.root());
        run(&command, LIMIT_S)
    };
    mount(&elsewhere).fails(NOT_A_VOLUME, &["does not exist", "coffer init"]);
    fs::create_dir(&elsewhere).expect("own directory");
    mount(&elsewhere).fails(NOT_A_VOLUME, &["not a coffer volume"]);
    fs::write(elsewhere.join("notes"), "mine").expect("own directory");
    mount(&elsewhere).fails(NOT_A_VOLUME, &["not a coffer volume"]);
    mount(&elsewhere.join("notes")).fails(NOT_A_VOLUME, &["not a directory"]);
    for command in ["info", "sync", "umount"] {
        let refused = run_coffer(&[command], &elsewhere);
        assert!(
            matches!(refused.code, Some(USAGE | NOT_A_VOLUME)),
            "{command}: {}",
            refused.stderr
        );
    }
    assert_eq!(fs::read(elsewhere.join("notes")).expect("kept"), b"mine");
    assert_untouched(&v);
}

#[test]
fn init_takes_nobodys_place() {
    let v = volume_with_a_file();
    let secret = v.secret();
    let init = ["init", "--kdf", "m=64,t=1,p=1", "--secret", &secret];
    run_coffer(&init, v.volume()).fails(POLICY, &["a coffer volume already"]);
    let taken = v.scratch().join("taken");
    fs::create_dir(&taken).expect("own directory");
    fs::write(taken.join("notes"), "mine").expect("own directory");
    run_coffer(&init, &taken).fails(POLICY, &["not empty"]);
    assert_eq!(fs::read(taken.join("notes")).expect("kept"), b"mine");
    run_coffer(&init, &taken.join("notes")).fails(NOT_A_VOLUME, &["not a directory"]);
    assert_untouched(&v);
}

#[test]
fn a_newer_format_is_named() {
    let v = volume_with_a_file();
    let headers = ["header.a", "header.b"].map(|name| v.volume().join(name));
    let before = headers.each_ref().map(|h| fs::read(h).expect("a header"));
    for (path, bytes) in headers.iter().zip(&before) {
        // Magic, format number, content, checksum: as a later version would write it.
        let mut newer = bytes.clone();
        newer[8..10].copy_from_slice(&9_u16.to_le_bytes());
        let body = newer.len() - 16;
        let checksum = coffer::crypto::header_checksum(&newer[..body]);
        newer[body..].copy_from_slice(&checksum);
        fs::write(path, newer).expect("own volume");
    }
    v.try_mount(&[]).fails(NOT_A_VOLUME, &["format 9", "newer"]);
    for (path, bytes) in headers.iter().zip(&before) {
        fs::write(path, bytes).expect("own volume");
    }
    assert_untouched(&v);
}

#[test]
fn one_damaged_header_is_mended_from_the_other() {
    let v = volume_with_a_file();
    for name in ["header.a", "header.b"] {
        let path = v.volume().join(name);
        let before = fs::read(&path).expect("a header");
        damage(&path);
        assert_intact(&v);
        assert_eq!(
            fs::read(&path).expect("a header"),
            before,
            "{name} was not mended"
        );
        fs::remove_file(&path).expect("own volume");
        assert_intact(&v);
        assert_eq!(
            fs::read(&path).expect("a header"),
            before,
            "{name} was not made again"
        );
    }
}

#[test]
fn two_damaged_headers_open_nothing() {
    let v = volume_with_a_file();
    let headers = ["header.a", "header.b"].map(|name| v.volume().join(name));
    let before = headers.each_ref().map(|h| fs::read(h).expect("a header"));
    for header in &headers {
        damage(header);
    }
    v.try_mount(&[])
        .fails(INTEGRITY, &["C-HDRBAD", "header.a", "header.b", "next: "]);
    run_coffer(&["info"], v.volume()).fails(INTEGRITY, &["C-HDRBAD"]);
    for (path, bytes) in headers.iter().zip(&before) {
        fs::write(path, bytes).expect("own volume");
    }
    assert_untouched(&v);
}

#[test]
fn an_open_volume_names_who_has_it() {
    let v = volume_with_a_file();
    let root = v.mount();
    let worker = format!("pid {}", v.worker());
    let place = root.display().to_string();
    let second = v.scratch().join("second");
    fs::create_dir(&second).expect("own directory");
    let secret = v.secret();
    let mut command = coffer(["mount", "--secret", &secret]);
    command.arg(v.volume()).arg(&second);
    run(&command, LIMIT_S).fails(IN_USE, &[&worker, &place]);
    run_coffer(&["init", "--secret", &secret], v.volume()).fails(POLICY, &["already"]);
    let copy = v.scratch().join("copy");
    let script = format!("cp -r {} {}", v.volume().display(), copy.display());
    shell(v.scratch(), &script, LIMIT_S);
    let mut command = coffer(["mount", "--secret", &secret]);
    command.arg(&copy).arg(&second);
    run(&command, LIMIT_S).fails(IN_USE, &["copy"]);
    assert_eq!(shell(&root, "cat file", LIMIT_S), "precious\n");
    v.umount();
    assert_untouched(&v);
}

#[test]
fn a_bad_mount_point_is_refused() {
    let v = volume_with_a_file();
    let secret = v.secret();
    let mount = |dir: &Path| {
        let mut command = coffer(["mount", "--secret", &secret]);
        command.arg(v.volume()).arg(dir);
        run(&command, LIMIT_S)
    };
    let dir = v.scratch().join("place");
    mount(&dir).fails(USAGE, &["does not exist", "mkdir"]);
    fs::write(&dir, "").expect("own directory");
    mount(&dir).fails(USAGE, &["not a directory"]);
    fs::remove_file(&dir).expect("own file");
    symlink(v.root(), &dir).expect("own directory");
    mount(&dir).fails(USAGE, &["symbolic link"]);
    fs::remove_file(&dir).expect("own link");
    fs::create_dir(&dir).expect("own directory");
    fs::write(dir.join("hidden"), "").expect("own directory");
    mount(&dir).fails(USAGE, &["not empty"]);
    mount(v.scratch()).fails(USAGE, &["next: "]);
    mount(&v.volume().join("packs")).fails(USAGE, &["inside the volume"]);
    let other = volume_with_a_file();
    let root = other.mount();
    mount(&root).fails(IN_USE, &["mount point already"]);
    assert_eq!(shell(&root, "cat file", LIMIT_S), "precious\n");
    other.umount();
    assert_untouched(&v);
}

#[test]
fn a_dead_mount_is_cleaned_by_the_next() {
    let v = volume_with_a_file();
    v.mount();
    let info = v.info();
    let pids = ["parent_pid", "pid"].map(|name| info["mount"][name].to_string());
    // The parent would clean up: it goes first.
    let kill = format!("kill -KILL {} && kill -KILL {}", pids[0], pids[1]);
    shell(v.scratch(), &kill, LIMIT_S);
    let worker = Path::new("/proc").join(&pids[1]);
    until("the worker ends", Duration::from_secs(20), || {
        (!worker.exists()).then_some(())
    });
    assert!(v.is_mounted(), "the dead mount should still be there");
    assert_intact(&v);
}

#[test]
fn without_the_device_of_fuse_the_host_is_blamed() {
    let v = volume_with_a_file();
    let script = "mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 \
                  && mknod -m 666 /dev/urandom c 1 9 && exec \"$@\"";
    let mut hidden = Command::new("unshare");
    hidden.args([
        "--mount",
        "sh",
        "-c",
        script,
        "sh",
        env!("CARGO_BIN_EXE_coffer"),
    ]);
    let mut mount = Command::new(hidden.get_program());
    mount
        .args(hidden.get_args())
        .args(["mount", "--secret", &v.secret()]);
    mount.arg(v.volume()).arg(v.root());
    run(&mount, LIMIT_S).fails(1, &["/dev/fuse", "modprobe fuse"]);
    hidden.arg("doctor");
    let seen = run(&hidden, LIMIT_S);
    assert_eq!(seen.code, Some(1), "{}", seen.stdout);
    assert!(seen.stdout.contains("modprobe fuse"), "{}", seen.stdout);
    assert_untouched(&v);
}

#[test]
fn a_size_below_what_is_there_is_refused() {
    let v = volume_with_a_file();
    let root = v.mount();
    shell(
        &root,
        "head -c 3M /dev/urandom > large; sha256sum large > sum; sync large",
        LIMIT_S,
    );
    let resize = ["resize", "--size", "2M"];
    run_coffer(&resize, &root).fails(POLICY, &["holds", "next: "]);
    v.umount();
    let secret = v.secret();
    let resize = ["resize", "--secret", &secret, "--size", "2M"];
    run_coffer(&resize, v.volume()).fails(POLICY, &["holds", "next: "]);
    let root = v.mount();
    shell(&root, "sha256sum -c sum", LIMIT_S);
    v.umount();
    assert_untouched(&v);
}

#[test]
fn a_busy_mount_is_not_torn_away() {
    let v = volume_with_a_file();
    let root = v.mount();
    let open = fs::File::open(root.join("file")).expect("it is there");
    let me = format!("pid {}", std::process::id());
    run_coffer(&["umount"], &root).fails(IN_USE, &[&me, "--lazy"]);
    assert!(v.is_mounted(), "a busy mount was torn away");
    drop(open);
    v.umount();
    run_coffer(&["umount"], &v.root()).fails(USAGE, &["no coffer volume is mounted"]);
    assert_untouched(&v);
}
