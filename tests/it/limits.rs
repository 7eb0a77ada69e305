//! Figures with a bound: time to mount, memory at rest, size of an empty volume.

use std::fs::{self, File};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{TestVolume, coffer, report, run, until};

/// Files of the volume that is mounted against the clock.
const FILES: u32 = 100_000;

const MIB: u64 = 1 << 20;

/// Returns the memory that a process alone accounts for.
fn pss_bytes(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it runs");
    let line = rollup.lines().find_map(|l| l.strip_prefix("Pss:"));
    let kib = line.and_then(|l| l.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.expect("smaps_rollup has Pss") * 1024
}

/// Waits until the worker's memory is below a bound, and returns it.
fn rests_below(v: &TestVolume, bound: u64) -> u64 {
    let worker = v.worker();
    let pss = pss_bytes(worker);
    if pss < bound {
        return pss;
    }
    until("memory comes to rest", Duration::from_secs(30), || {
        let pss = pss_bytes(worker);
        (pss < bound).then_some(pss)
    })
}

#[test]
fn an_empty_volume_is_small() {
    let v = TestVolume::new();
    v.mount();
    let pss = rests_below(&v, 40 * MIB);
    v.umount();
    let disk = v.allocated_bytes();
    let binary = fs::metadata(env!("CARGO_BIN_EXE_coffer"))
        .expect("built")
        .len();
    report(&format!(
        "empty volume: {} MiB of memory, {disk} bytes on the disk; binary {} MiB",
        pss / MIB,
        binary / MIB
    ));
    assert!(disk < 200 * MIB, "{disk} bytes");
}

#[test]
fn a_hundred_thousand_files_mount_quickly() {
    // The default key derivation: what a user waits for.
    let v = TestVolume::with(&["--kdf", "default"]);
    let root = v.mount();
    for d in 0..100 {
        let dir = root.join(format!("d{d}"));
        fs::create_dir(&dir).expect("mounted");
        for f in 0..FILES / 100 {
            File::create(dir.join(format!("f{f}"))).expect("create");
        }
    }
    v.umount();
    let start = Instant::now();
    v.mount();
    let took = start.elapsed();
    assert!(root.join("d99/f999").exists());
    let mut list = Command::new("ls");
    list.args(["-lR"]).arg(&root);
    let lines = run(&list, 120).ok().lines().count();
    assert!(lines > 100_000, "{lines} lines");
    v.remount();
    let pss = rests_below(&v, 64 * MIB);
    report(&format!(
        "{FILES} files: mounted in {} ms, {} MiB of memory at rest",
        took.as_millis(),
        pss / MIB
    ));
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_quota_holds() {
    let v = TestVolume::with(&["--size", "64M"]);
    let root = v.mount();
    let mut df = Command::new("df");
    df.args(["--block-size=1", "--output=size"]).arg(&root);
    let printed = run(&df, 10).ok();
    assert_eq!(printed.lines().last().map(str::trim), Some("67108864"));
    let mut fill = Command::new("bash");
    fill.args(["-c", "head -c 80M /dev/urandom > big; rc=$?; rm big; head -c 8M /dev/urandom > small; sync small; exit $rc"]);
    fill.current_dir(&root);
    run(&fill, 60).fails(1, &[]);
    assert_eq!(
        fs::metadata(root.join("small")).expect("written").len(),
        8 * MIB
    );
    let mut resize = coffer(["resize"]);
    resize.args(["--size", "128M"]).arg(&root);
    run(&resize, 60).ok();
    let printed = run(&df, 10).ok();
    assert_eq!(printed.lines().last().map(str::trim), Some("134217728"));
}
