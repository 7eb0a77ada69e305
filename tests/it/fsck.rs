//! `coffer fsck` as a person and as fsck(8) use it: whole volumes are clean, at rest and mounted, and
//! damage of the files in a volume directory is told with the names of the files it touches.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::{Outcome, TestVolume, coffer, run, shell, until};

/// How long a check of these small volumes may take, in seconds.
const LIMIT_S: u64 = 60;

fn fsck(v: &TestVolume, options: &[&str]) -> Outcome {
    let secret = v.secret();
    let mut command = coffer(["fsck", "--secret", &secret]);
    command.args(options).arg(v.volume());
    run(&command, LIMIT_S)
}

fn json(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|e| panic!("{e}: {}", outcome.stdout))
}

/// Fills a volume with files of many kinds, and unmounts it.
fn filled() -> TestVolume {
    let v = TestVolume::new();
    let root = v.mount();
    shell(
        &root,
        "mkdir -p a/b/c; for i in $(seq 200); do echo $i >a/b/small.$i; done
         head -c 3000000 /dev/urandom >a/big; cp a/big a/copy; ln a/big hardlink
         seq 100000 >a/b/text; truncate -s 1G a/sparse; echo tail >>a/sparse
         ln -s nowhere a/link; mkfifo a/fifo; setfattr -n user.x -v $(seq -s. 2000) a/big
         rm a/b/small.17; mv a/b/small.18 a/moved",
        60,
    );
    v.umount();
    v
}

/// Returns the files in a part of the volume directory.
fn files(v: &TestVolume, part: &str, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(v.volume().join(part)).expect("the volume can be read");
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    files.retain(|f| f.to_string_lossy().ends_with(end) && !f.ends_with("reserve"));
    files.sort();
    files
}

fn flip(file: &Path, at: u64) {
    let open = OpenOptions::new().read(true).write(true).open(file);
    let file = open.expect("files of the volume can be written");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)
        .expect("it is long enough");
    file.write_all_at(&[byte[0] ^ 0x10], at)
        .expect("it can be written");
}

#[test]
fn a_whole_volume_is_clean_at_rest_and_mounted() {
    let v = filled();
    let before = shell(
        v.volume(),
        "find . -name lock -o -type f -print0 | sort -z | xargs -0 md5sum",
        30,
    );
    let outcome = fsck(&v, &["--read-data", "--json"]);
    assert_eq!(
        outcome.code,
        Some(0),
        "{}{}",
        outcome.stdout,
        outcome.stderr
    );
    let report = json(&outcome);
    assert_eq!(report["schema"], "coffer.fsck.v1");
    assert_eq!(report["clean"], true);
    assert_eq!(report["looked"]["inodes"], 209);
    assert!(
        report["looked"]["data_bytes"].as_u64() > Some(3_000_000),
        "{report}"
    );
    assert_eq!(outcome.stderr, "", "nothing is shown without a terminal");
    let command = format!(
        "script --quiet --return --command '{} fsck --secret {} {}' /dev/null",
        env!("CARGO_BIN_EXE_coffer"),
        v.secret(),
        v.volume().display()
    );
    let shown = shell(v.scratch(), &command, 60);
    assert!(shown.contains("records"), "a terminal shows a bar: {shown}");
    let after = shell(
        v.volume(),
        "find . -name lock -o -type f -print0 | sort -z | xargs -0 md5sum",
        30,
    );
    assert_eq!(before, after, "a check changes nothing");
    let root = v.mount();
    fs::write(root.join("more"), vec![7; 500_000]).expect("it is mounted");
    for target in [v.volume(), &root] {
        let mut command = coffer(["fsck", "--read-data", "--progress", "json"]);
        command.arg(target);
        let outcome = run(&command, LIMIT_S);
        assert!(
            outcome.stdout.contains(": clean; generation "),
            "{}",
            outcome.stdout
        );
        let first = outcome.stderr.lines().next().expect("progress is shown");
        let step: Value = serde_json::from_str(first).expect("a line is one object");
        assert_eq!(step["schema"], "coffer.progress.v1");
        assert_eq!(outcome.code, Some(0));
    }
}

#[test]
fn what_cannot_be_looked_at_is_not_clean() {
    let v = TestVolume::new();
    let wrong = v.scratch().join("wrong");
    shell(v.scratch(), "umask 077; echo another passphrase >wrong", 10);
    let secret = format!("file:{}", wrong.display());
    let mut command = coffer(["fsck", "--secret", &secret]);
    command.arg(v.volume());
    run(&command, LIMIT_S).fails(8, &["C-NOSLOT"]);
    let mut command = coffer(["fsck"]);
    command.arg(v.scratch());
    run(&command, LIMIT_S).fails(8, &["not a coffer volume"]);
    run(&coffer(["fsck", "--strange", "/v"]), LIMIT_S).fails(16, &["--strange"]);
    run(&coffer(["fsck"]), LIMIT_S).fails(16, &["Usage"]);
    run(&coffer(["fsck", "--help"]), LIMIT_S).ok();
    for header in ["header.a", "header.b"] {
        fs::write(v.volume().join(header), "torn").expect("own file");
    }
    fsck(&v, &[]).fails(8, &["C-HDRBAD"]);
}

#[test]
fn damage_of_packs_is_told_with_the_files_and_bytes_it_touches() {
    let v = filled();
    let packs = files(&v, "packs", "");
    let pack = packs.first().expect("a pack");
    flip(pack, 300_000);
    let outcome = fsck(&v, &[]);
    assert!(
        outcome.ok().contains("contents not read"),
        "the records are whole"
    );
    let outcome = fsck(&v, &["--read-data"]).fails(4, &[]);
    let touched = [
        "F-602 lost",
        "/a/big, /hardlink; bytes ",
        "/a/copy; bytes ",
        " next: ",
    ];
    for words in touched {
        assert!(
            outcome.stdout.contains(words),
            "{words}: {}",
            outcome.stdout
        );
    }
    assert!(!outcome.stdout.contains("/a/b/"), "{}", outcome.stdout);
    // The same of the mounted volume.
    let root = v.mount();
    let mut command = coffer(["fsck", "--read-data", "--json"]);
    command.arg(&root);
    let report = json(&run(&command, LIMIT_S).fails(4, &[]));
    assert_eq!(report["counts"]["F-602"], 1, "{report}");
    v.umount();
    fs::remove_file(pack).expect("own file");
    let outcome = fsck(&v, &[]).fails(4, &[]);
    assert!(outcome.stdout.contains("F-506 lost"), "{}", outcome.stdout);
    assert!(
        outcome.stdout.contains("/a/copy; bytes "),
        "{}",
        outcome.stdout
    );
}

#[test]
fn a_check_of_a_mounted_volume_ends_with_the_mount() {
    let v = filled();
    let root = v.mount();
    // It never reads its answers, so the check goes on until it is told to stop.
    let mut child = coffer(["fsck", "--read-data", "--progress", "json"])
        .arg(&root)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    until(
        "the check begins",
        std::time::Duration::from_secs(20),
        || {
            let busy = fs::read_dir(format!("/proc/{}/task", v.worker())).expect("a worker");
            let names = busy
                .flatten()
                .map(|t| fs::read_to_string(t.path().join("comm")));
            let over = child.try_wait().expect("it runs").is_some();
            (over || names.flatten().any(|n| n.trim() == "coffer-check")).then_some(())
        },
    );
    v.umount();
    let code = child.wait().expect("it ends").code();
    assert!(matches!(code, Some(0 | 8)), "{code:?}");
    fsck(&v, &[]).ok();
}

#[test]
fn fsck_8_finds_its_helper() {
    let v = filled();
    let root = v.mount();
    let script = "exec 5>steps; exec -a /sbin/fsck.coffer \"$COFFER\" -a -f -V -C5 \"$ROOT\"";
    let mut bash = Command::new("bash");
    bash.args(["-c", script]).current_dir(v.scratch());
    bash.env("COFFER", env!("CARGO_BIN_EXE_coffer"))
        .env("ROOT", &root);
    let outcome = run(&bash, LIMIT_S);
    assert_eq!(
        outcome.code,
        Some(0),
        "{}{}",
        outcome.stdout,
        outcome.stderr
    );
    assert!(outcome.stdout.contains(": clean; "), "{}", outcome.stdout);
    let steps = fs::read_to_string(v.scratch().join("steps")).expect("a file");
    let last = steps.lines().last().expect("a step");
    assert!(last.starts_with("1 ") || last.starts_with("3 "), "{steps}");
    // Without an entry in fstab and without a terminal there is no secret.
    v.umount();
    let mut alone = Command::new(env!("CARGO_BIN_EXE_coffer"));
    alone.arg0("fsck.coffer").arg("-a").arg(v.volume());
    // arg0 does not pass through timeout(1), which `run` puts before it.
    let status = alone
        .stdin(std::process::Stdio::null())
        .output()
        .expect("it runs");
    assert!(matches!(status.status.code(), Some(8 | 16)), "{status:?}");
}
