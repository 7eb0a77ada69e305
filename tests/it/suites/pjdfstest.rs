//! pjdfstest: what POSIX says of each system call, case by case, as root and as other users.
//!
//! All cases run but those listed here. Those of read-only mounts remount what they run on, so they
//! run by themselves: others leave files open for writing until the suite ends.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::{Outcome, TestVolume, report, run, shell};

use super::suite;

/// Cases that do not run, and why they cannot.
const SKIPPED: &[(&str, &str)] = &[(
    "link::link_count_max",
    "pathconf(3) answers 127 on FUSE, for the kernel cannot ask for the limit of links",
)];

/// Part of the name of each case that remounts.
const REMOUNTS: &str = "::erofs_";

/// The features of Linux that the suite knows, and two users beside root.
const CONFIG: &str = r#"[features]
    posix_fallocate = {}
    rename_ctime = {}
    utime_now = {}
    utimensat = {}
    [settings]
    naptime = 0.01
    allow_remount = REMOUNT
    [dummy_auth]
    entries = [["nobody", "nogroup"], ["daemon", "daemon"]]"#;

/// mount(8) that asks no mount.fuse(8), which cannot remount.
const MOUNT: &str =
    r#"mkdir bin; printf '#!/bin/sh\nexec /bin/mount -i "$@"\n' > bin/mount; chmod 755 bin/mount"#;

/// Runs the cases whose names match; all without a pattern.
fn pjdfstest(scratch: &Path, root: &Path, remount: bool, pattern: &[&str]) -> Outcome {
    let config = scratch.join("pjdfstest.toml");
    let text = CONFIG.replace("REMOUNT", &remount.to_string());
    fs::write(&config, text).expect("own directory");
    let path = format!("{}/bin:/usr/sbin:/usr/bin:/sbin:/bin", scratch.display());
    let mut c = Command::new(suite("pjdfstest@0.2.2"));
    c.arg("-c").arg(&config).arg("-p").arg(root);
    c.arg("-s").arg(scratch).args(pattern);
    c.env("NO_COLOR", "1").env("PATH", path);
    run(&c, 600)
}

/// Returns the cases that the suite has marked with `word`.
fn marked<'a>(outcome: &'a Outcome, word: &str) -> BTreeSet<&'a str> {
    let case = |l: &'a str| l.strip_suffix(word)?.split_whitespace().next();
    outcome.stdout.lines().filter_map(case).collect()
}

#[test]
fn pjdfstest_passes() {
    let v = TestVolume::new();
    let root = v.mount();
    shell(&root, "chmod 755 .", 10);
    shell(v.scratch(), MOUNT, 10);
    let most = pjdfstest(v.scratch(), &root, false, &[]);
    let rest = pjdfstest(v.scratch(), &root, true, &[REMOUNTS]);
    for outcome in [&most, &rest] {
        let summary = outcome.stdout.lines().rfind(|l| l.contains("total"));
        report(&format!("pjdfstest: {}", summary.unwrap_or("no summary")));
        let failed = [marked(outcome, "FAILED"), marked(outcome, "UNEXPECTEDLY")];
        let done = outcome.code == Some(0);
        assert!(done, "{failed:?}\n{}\n{}", outcome.stdout, outcome.stderr);
    }
    let ran = marked(&rest, "ok");
    let skipped = marked(&most, "skipped");
    let skipped: BTreeSet<&str> = skipped.difference(&ran).copied().collect();
    let known: BTreeSet<&str> = SKIPPED.iter().map(|(case, _)| *case).collect();
    assert_eq!(skipped, known, "\n{}", most.stdout);
    assert!(marked(&rest, "skipped").is_empty(), "\n{}", rest.stdout);
    assert!(marked(&most, "ok").len() + ran.len() >= 397);
}
