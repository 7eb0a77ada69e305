//! stress-ng: its stressors of file systems, which verify what they do.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::ext4::Ext4;
use crate::harness::{TestVolume, length, report, run, shell};

/// Stressors of the class that touch no file of the file system under test; `io` syncs every mount
/// of the machine and reports what it finds there.
const ELSEWHERE: &[&str] = &["binderfs", "bind-mount", "eventfd", "io", "procfs"];

/// Stressors of other classes that work on files.
const MORE: &[&str] = &[
    "aio",
    "aiol",
    "io-uring",
    "msync",
    "readahead",
    "revio",
    "seek",
];

/// Stressors that fail on ext4 just as they do here, and why.
const FAIL_ON_BOTH: &[(&str, &str)] = &[];

/// Returns the stressors that are run.
fn stressors() -> Vec<String> {
    let mut ask = Command::new("stress-ng");
    ask.args(["--class", "filesystem?"]);
    let outcome = run(&ask, 10);
    let (_, list) = outcome
        .stdout
        .split_once("stressors:")
        .unwrap_or_else(|| panic!("no list in {}{}", outcome.stdout, outcome.stderr));
    let class = list.split_whitespace().filter(|s| !ELSEWHERE.contains(s));
    class
        .chain(MORE.iter().copied())
        .map(str::to_owned)
        .collect()
}

/// Runs stressors side by side and returns what they say of failures.
fn stress(dir: &Path, stressors: &[String], seconds: u32) -> Vec<String> {
    let mut c = Command::new("stress-ng");
    for s in stressors {
        c.args([&format!("--{s}"), "1"]);
    }
    c.args([
        "--hdd-bytes",
        "64M",
        "--iomix-bytes",
        "64M",
        "--readahead-bytes",
        "64M",
    ]);
    c.args([
        "--seek-size",
        "64M",
        "--revio-bytes",
        "64M",
        "--msync-bytes",
        "64M",
    ]);
    c.args(["--verify", "--timeout", &format!("{seconds}s")]);
    c.args(["--temp-path", "."]).current_dir(dir);
    let outcome = run(&c, u64::from(seconds) * 10 + 120);
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    let failures: Vec<String> = said
        .lines()
        .filter(|l| l.contains(" fail:") || l.contains(" error:"))
        .map(str::to_owned)
        .collect();
    // 3: no resources, 4: not possible here; both say so.
    let ended = match outcome.code {
        Some(0 | 3 | 4) => failures.is_empty(),
        Some(2) => !failures.is_empty(),
        _ => false,
    };
    assert!(ended, "{stressors:?}: {:?}\n{said}", outcome.code);
    failures
}

#[test]
fn stress_ng_finds_no_fault() {
    let v = TestVolume::new();
    let root = v.mount();
    let all = stressors();
    let known: BTreeSet<&str> = FAIL_ON_BOTH.iter().map(|(s, _)| *s).collect();
    let alone: &[String] = length(&[], &all);
    let ext4 = length(None, Some(Ext4::new(8192)));
    let mut here = BTreeSet::new();
    let mut there = BTreeSet::new();
    for s in alone {
        let one = std::slice::from_ref(s);
        for said in stress(&root, one, 5) {
            report(&said);
            here.insert(s.as_str());
        }
        if let Some(e) = &ext4 {
            if !stress(&e.root(), one, 5).is_empty() {
                there.insert(s.as_str());
            }
        }
    }
    let expected: BTreeSet<&str> = length(BTreeSet::new(), known.clone());
    assert_eq!(here, expected, "ext4: {there:?}");
    assert!(
        here.is_subset(&there),
        "only here: {here:?}, ext4: {there:?}"
    );
    let together: Vec<String> = all
        .into_iter()
        .filter(|s| !known.contains(s.as_str()))
        .collect();
    let failures = stress(&root, &together, length(8, 120));
    assert!(failures.is_empty(), "{failures:#?}");
    report(&format!(
        "stress-ng: {} stressors, none fails",
        together.len()
    ));
    shell(
        &root,
        "echo alive > after; sync after; test $(cat after) = alive; rm after",
        10,
    );
    let root = v.remount();
    assert_eq!(shell(&root, "ls -A | wc -l", 60), "0\n");
}
