//! Test suites of others on a mount: fsx and pjdfstest, installed with cargo at fixed versions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::harness::{TestVolume, length, report, run, shell};

/// Cases of pjdfstest that cannot pass, each with its reason.
const KNOWN_FAILURES: &[(&str, &str)] = &[];

/// One test builds, the others wait for it.
static BUILD: Mutex<()> = Mutex::new(());

/// Returns a suite's program, building it first where it is missing.
fn suite(name: &str) -> PathBuf {
    let _one = BUILD.lock().unwrap_or_else(PoisonError::into_inner);
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let target = tmp.parent().expect("it lies in the target directory");
    let mut build = Command::new("bash");
    build
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/suites"))
        .env("CARGO_TARGET_DIR", target);
    run(&build, 900).ok();
    let program = name.split('@').next().unwrap_or(name);
    target.join("suites").join(name).join("bin").join(program)
}

#[test]
fn fsx_finds_no_difference() {
    let fsx = suite("fsx@0.3.2");
    let v = TestVolume::new();
    let root = v.mount();
    let config = v.scratch().join("fsx.toml");
    fs::write(
        &config,
        "flen = 600000
        [weights]
        close_open = 1
        invalidate = 1
        fsync = 1
        fdatasync = 1
        posix_fallocate = 2
        punch_hole = 3
        sendfile = 2
        posix_fadvise = 1
        copy_file_range = 3
        truncate = 3",
    )
    .expect("own directory");
    let operations = length(10_000, 200_000);
    for seed in 1..=2 {
        let mut c = Command::new(&fsx);
        c.args(["-N", &operations.to_string(), "-S", &seed.to_string(), "-f"]);
        c.arg(&config)
            .arg("-P")
            .arg(v.scratch())
            .arg(root.join("fsx"));
        run(&c, length(300, 6000)).ok();
        report(&format!(
            "fsx: {operations} operations, seed {seed}, no difference"
        ));
    }
}

#[test]
fn pjdfstest_passes() {
    let pjdfstest = suite("pjdfstest@0.2.2");
    let v = TestVolume::new();
    let root = v.mount();
    shell(&root, "chmod 755 .", 10);
    let known: Vec<String> = KNOWN_FAILURES
        .iter()
        .map(|(case, _)| format!("{case:?}"))
        .collect();
    let config = v.scratch().join("pjdfstest.toml");
    fs::write(
        &config,
        format!(
            "[features]
            posix_fallocate = {{}}
            rename_ctime = {{}}
            utime_now = {{}}
            utimensat = {{}}
            [settings]
            naptime = 0.01
            expected_failures = [{}]
            [dummy_auth]
            entries = [[\"nobody\", \"nogroup\"], [\"daemon\", \"daemon\"]]",
            known.join(", ")
        ),
    )
    .expect("own directory");
    let mut c = Command::new(&pjdfstest);
    c.arg("-c").arg(&config).arg("-p").arg(&root);
    c.arg("-s").arg(v.scratch()).env("NO_COLOR", "1");
    let outcome = run(&c, 600);
    let summary = outcome.stdout.lines().rfind(|l| l.contains("total"));
    report(&format!("pjdfstest: {}", summary.unwrap_or("no summary")));
    let failed = |l: &&str| l.contains("FAILED") || l.contains("PASSED UNEXPECTEDLY");
    let failed: Vec<&str> = outcome.stdout.lines().filter(failed).collect();
    assert_eq!(
        outcome.code,
        Some(0),
        "\n{}\n{}",
        failed.join("\n"),
        outcome.stderr
    );
}
