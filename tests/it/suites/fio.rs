//! fio: writes blocks that carry a checksum and their place, and reads them back after a remount.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use crate::harness::{Outcome, TestVolume, length, report, run};

/// Ways to write a file, in fio's words.
const WAYS: &[(&str, &[&str])] = &[
    ("sequential", &["--rw=write", "--bs=64k"]),
    ("random", &["--rw=randwrite", "--bs=4k"]),
    (
        "unaligned",
        &["--rw=randwrite", "--bsrange=512-70000", "--bs_unaligned"],
    ),
    (
        "mixed",
        &["--rw=randwrite", "--bssplit=1k/40:4k/20:12k/20:68k/20"],
    ),
    ("four-jobs", &["--rw=randwrite", "--bs=16k", "--numjobs=4"]),
    ("mmap", &["--rw=randwrite", "--bs=4k", "--ioengine=mmap"]),
    ("direct", &["--rw=randwrite", "--bs=4k", "--direct=1"]),
    (
        "direct-async",
        &[
            "--rw=randwrite",
            "--bs=128k",
            "--direct=1",
            "--ioengine=libaio",
            "--iodepth=16",
        ],
    ),
    ("fsync", &["--rw=randwrite", "--bs=8k", "--fsync=32"]),
];

/// Runs fio one way; `step` says whether it writes and verifies or verifies only.
fn fio(dir: &Path, (name, way): &(&str, &[&str]), step: &str) -> Outcome {
    let mut c = Command::new("fio");
    let size = length("16M", "512M");
    c.args(["--ioengine=psync", "--verify=crc32c", "--verify_fatal=1"]);
    c.args(["--verify_dump=0", "--verify_state_save=0", "--randseed=7"]);
    c.args(["--output-format=terse", &format!("--size={size}"), step]);
    c.arg(format!("--name={name}")).args(*way).current_dir(dir);
    run(&c, 900)
}

#[test]
fn fio_reads_what_it_wrote() {
    let v = TestVolume::new();
    let root = v.mount();
    for way in WAYS {
        fio(&root, way, "--do_verify=1").ok();
    }
    let root = v.remount();
    for way in WAYS {
        fio(&root, way, "--verify_only=1").ok();
    }
    report(&format!(
        "fio: {} ways to write, verified before and after a mount",
        WAYS.len()
    ));
    // It would have seen a byte that is not what it was.
    let file = File::options().write(true).open(root.join("random.0.0"));
    file.and_then(|f| f.write_all_at(b"X", 1_000_000))
        .expect("mounted");
    let random = WAYS.iter().find(|(name, _)| *name == "random");
    let random = random.expect("one of the ways");
    fio(&root, random, "--verify_only=1").fails(1, &["verify failed"]);
}
