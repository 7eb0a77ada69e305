//! The commands as a user and a script meet them.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{PASSPHRASE, TestVolume, coffer, run, shell, until};

/// How long one command may take, in seconds.
const LIMIT_S: u64 = 60;

#[track_caller]
fn json(command: &Command) -> Value {
    serde_json::from_str(&run(command, LIMIT_S).ok()).expect("one JSON document")
}

#[test]
fn list_and_info_tell_where_it_is_mounted() {
    let v = TestVolume::with(&["--label", "family photos", "--size", "1G"]);
    let mut header = coffer(["info", "--json"]);
    header.arg(v.volume());
    let before = json(&header);
    assert_eq!(before["schema"], "coffer.info.v1");
    assert_eq!(before["slots"][0]["kind"], "passphrase");
    assert_eq!(before["mount"], Value::Null);
    assert_eq!(before["label"], Value::Null, "the label is sealed");
    let mut unlocked = coffer(["info", "--json", "--secret", &v.secret()]);
    unlocked.arg(v.volume());
    assert_eq!(json(&unlocked)["label"], "family photos");
    let root = v.mount();
    let mounted = v.info();
    assert_eq!(mounted["volume_id"], before["volume_id"]);
    assert_eq!(mounted["label"], "family photos");
    assert_eq!(mounted["size_bytes"], 1 << 30);
    assert_eq!(mounted["mount"]["dir"], root.display().to_string());
    let list = json(&coffer(["list", "--json"]));
    let mounts = list["mounts"].as_array().expect("a list");
    let entry = mounts
        .iter()
        .find(|m| m["volume_id"] == before["volume_id"]);
    let entry = entry.expect("it is listed");
    assert_eq!(entry["dir"], root.display().to_string());
    assert_eq!(entry["pid"], mounted["mount"]["pid"]);
    let table = run(&coffer(["list"]), LIMIT_S).ok();
    assert!(table.contains("family photos"), "{table}");
    v.umount();
    let list = json(&coffer(["list", "--json"]));
    let mounts = list["mounts"].as_array().expect("a list");
    assert!(
        mounts.iter().all(|m| m["volume_id"] != before["volume_id"]),
        "{list}"
    );
}

#[test]
fn info_tells_how_much_equal_data_was_found() {
    let v = TestVolume::new();
    let root = v.mount();
    assert_eq!(v.info()["dedup_ratio"], 1.0);
    shell(&root, "head -c 1M /dev/urandom | tee a > b; sync a b", 60);
    assert_eq!(v.info()["dedup_ratio"], 2.0);
    shell(&root, "cp a c; sync c", 60);
    assert_eq!(v.info()["dedup_ratio"], 3.0);
    shell(&root, "rm a b", 60);
    let limit = Duration::from_secs(20);
    until("what is deleted is not counted", limit, || {
        (v.info()["dedup_ratio"] == 1.0).then_some(())
    });
    v.remount();
    assert_eq!(v.info()["dedup_ratio"], 1.0);
}

#[test]
fn every_source_of_a_secret_opens_a_volume() {
    let v = TestVolume::new();
    let program = env!("CARGO_BIN_EXE_coffer");
    let (volume, root, dir) = (v.volume().display(), v.root(), v.scratch().display());
    let root = root.display();
    for (source, around) in [
        ("stdin", format!("< {dir}/secret")),
        ("fd:3", format!("3< {dir}/secret")),
        (&format!("cmd:/bin/cat {dir}/secret"), String::new()),
        ("cred:db", String::new()),
    ] {
        let script = format!(
            "cp -p {dir}/secret {dir}/db
            CREDENTIALS_DIRECTORY={dir} {program} mount --secret '{source}' {volume} {root} {around}"
        );
        shell(v.scratch(), &script, LIMIT_S);
        assert!(v.is_mounted(), "{source}");
        v.umount();
    }
}

#[test]
fn a_random_key_file_needs_no_passphrase() {
    let v = TestVolume::new();
    let program = env!("CARGO_BIN_EXE_coffer");
    let script = format!(
        "(umask 077; head -c 32 /dev/urandom > key)
        {program} init --secret file:key other
        {program} info other | grep keyfile
        {program} mount --secret file:key other mnt
        echo kept > mnt/file
        {program} umount mnt
        {program} mount --secret file:key -o ro other mnt
        cat mnt/file
        ! touch mnt/new 2> /dev/null
        {program} umount mnt"
    );
    let printed = shell(v.scratch(), &script, LIMIT_S);
    assert!(printed.ends_with("kept\n"), "{printed}");
}

#[test]
fn the_helper_of_mount_speaks_its_language() {
    let v = TestVolume::new();
    let helper = v.scratch().join("mount.coffer");
    symlink(env!("CARGO_BIN_EXE_coffer"), &helper).expect("own directory");
    let mount = |options: &str| {
        let mut command = Command::new(&helper);
        command.arg(v.volume()).arg(v.root());
        command.args(["-n", "-o", options]);
        run(&command, LIMIT_S)
    };
    let secret = format!("rw,_netdev,nofail,noexec,secret={}", v.secret());
    mount(&secret).ok();
    assert!(v.is_mounted());
    let table = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    let line = table
        .lines()
        .find(|l| l.contains(&v.root().display().to_string()));
    let line = line.expect("it is mounted");
    for word in ["noexec", "nosuid", "nodev", "fuse.coffer"] {
        assert!(line.contains(word), "{word} is not in {line}");
    }
    mount(&secret).fails(32, &["mount.coffer: error: "]);
    v.umount();
    mount("secret=file:/missing").fails(2, &["/missing"]);
    mount("strange").fails(1, &["strange"]);
    assert!(!v.is_mounted());
}

#[test]
fn a_foreground_mount_ends_cleanly_on_a_signal() {
    let v = TestVolume::new();
    let secret = v.secret();
    for signal in ["TERM", "INT"] {
        let mut command = coffer(["mount", "--foreground", "--secret", &secret]);
        command.arg(v.volume()).arg(v.root());
        let mut child = command.spawn().expect("the binary is there");
        crate::harness::until("it is mounted", std::time::Duration::from_secs(30), || {
            v.is_mounted().then_some(())
        });
        shell(&v.root(), &format!("echo {signal} > file"), LIMIT_S);
        let kill = format!("kill -{signal} {}", child.id());
        shell(v.scratch(), &kill, LIMIT_S);
        assert!(child.wait().expect("our child").success(), "{signal}");
        assert!(!v.is_mounted(), "{signal} left the mount");
        let root = v.mount();
        assert_eq!(shell(&root, "cat file", LIMIT_S), format!("{signal}\n"));
        v.umount();
    }
}

#[test]
fn sync_and_resize_work_on_a_mount() {
    let v = TestVolume::with(&["--size", "64M"]);
    let root = v.mount();
    shell(&root, "echo x > file", LIMIT_S);
    let before = v.info()["generation"].as_u64().expect("a number");
    let mut sync = coffer(["sync"]);
    sync.arg(&root);
    run(&sync, LIMIT_S).ok();
    assert!(
        v.info()["generation"].as_u64() > Some(before),
        "nothing was committed"
    );
    for (size, expected) in [("128M", Value::from(128 << 20)), ("none", Value::Null)] {
        let mut resize = coffer(["resize", "--size", size]);
        resize.arg(&root);
        run(&resize, LIMIT_S).ok();
        assert_eq!(v.info()["size_bytes"], expected);
    }
    v.remount();
    assert_eq!(v.info()["size_bytes"], Value::Null);
}

#[test]
fn doctor_sees_a_host_that_can_mount() {
    let seen = json(&coffer(["doctor", "--json"]));
    assert_eq!(seen["schema"], "coffer.doctor.v1");
    assert_eq!(seen["can_mount"], true, "{seen}");
    let text = run(&coffer(["doctor"]), LIMIT_S).ok();
    assert!(text.contains("/dev/fuse"), "{text}");
}

#[test]
fn completions_and_manual_are_printed() {
    let v = TestVolume::new();
    for shell_name in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&coffer(["completions", shell_name]), LIMIT_S).ok();
        assert!(script.contains("umount"), "{shell_name}");
    }
    let script = format!(
        "{} completions bash > c; bash -n c",
        env!("CARGO_BIN_EXE_coffer")
    );
    shell(v.scratch(), &script, LIMIT_S);
    let mut man = coffer(["man"]);
    man.arg(v.scratch().join("man"));
    run(&man, LIMIT_S).ok();
    assert!(v.scratch().join("man/man1/coffer-mount.1").exists());
    assert!(v.scratch().join("man/man8/mount.coffer.8").exists());
}

#[test]
fn errors_go_to_standard_error_and_results_to_standard_output() {
    let v = TestVolume::new();
    let wrong = run(&coffer(["info", "/missing"]), LIMIT_S).fails(4, &["error: ", "next: "]);
    assert_eq!(wrong.stdout, "");
    let help = run(&coffer(["--help"]), LIMIT_S).ok();
    assert!(help.contains("Exit codes:"), "{help}");
    let mut info = coffer(["info"]);
    info.arg(v.volume());
    let shown = run(&info, LIMIT_S);
    assert_eq!(shown.stderr, "");
    assert!(!shown.ok().contains(PASSPHRASE));
}

#[test]
fn a_mount_waits_for_a_worker_that_umount_8_left_writing() {
    let v = TestVolume::new();
    for round in 0..4 {
        let root = v.mount();
        let root = root.display();
        let script = format!("head -c 8M /dev/urandom > {root}/{round}; umount {root}");
        shell(v.scratch(), &script, LIMIT_S);
    }
    let mut info = coffer(["info", "--json", "--secret", &v.secret()]);
    info.arg(v.volume());
    assert_eq!(json(&info)["used_bytes"], 4 * (8 << 20));
}
