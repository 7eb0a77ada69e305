//! fsx: random reads, writes, maps, truncations, holes and copies of one file, each compared with
//! what the file must hold.
//!
//! cargo's fsx knows neither O_DIRECT nor zeroed ranges: `fsx.c` beside this file puts both below
//! it. A volume is mounted anew between two runs, and all files must hold what they held before.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Outcome, TestVolume, length, report, run, shell};

use super::suite;

/// What fsx does, and how often. A file of this length has several chunks. Without a least size it
/// asks to allocate 0 bytes once in a while, which is EINVAL everywhere.
const CONFIG: &str = "flen = 600000
    nomsyncafterwrite = LAZY
    [opsize]
    min = 1
    [weights]
    close_open = 1
    invalidate = 1
    fsync = 0.5
    fdatasync = 0.5
    posix_fallocate = 2
    punch_hole = 3
    sendfile = 2
    posix_fadvise = 2
    copy_file_range = 1
    truncate = 3";

/// fsx with what it is made to do in addition.
struct Fsx {
    program: PathBuf,
    scratch: PathBuf,
    direct: bool,
}

impl Fsx {
    fn new(scratch: &Path, direct: bool) -> Self {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/suites/fsx.c");
        let build = format!("cc -shared -fPIC -O1 -o fsx.so {source} -ldl");
        shell(scratch, &build, 60);
        Self {
            program: suite("fsx@0.3.2"),
            scratch: scratch.to_owned(),
            direct,
        }
    }

    /// Runs so many operations on a file; `more` are further arguments. Every second seed brings
    /// each mapped write to the disk at once.
    fn run(&self, file: &Path, seed: u32, operations: u32, more: &[&str]) -> Outcome {
        let config = self.scratch.join("fsx.toml");
        let text = CONFIG.replace("LAZY", &seed.is_multiple_of(2).to_string());
        fs::write(&config, text).expect("own directory");
        let mut c = Command::new(&self.program);
        c.args(["-N", &operations.to_string(), "-S", &seed.to_string()]);
        c.arg("-f").arg(&config).arg("-P").arg(&self.scratch);
        c.args(more).arg(file);
        c.env("LD_PRELOAD", self.scratch.join("fsx.so"));
        c.env("FSX_ZERO", "1");
        if self.direct {
            c.env("FSX_DIRECT", "1");
        }
        run(&c, 300 + u64::from(operations) / 50)
    }
}

/// Returns what the files of a directory hold.
fn contents(dir: &Path) -> BTreeMap<PathBuf, blake3::Hash> {
    let hash = |path: PathBuf| {
        let bytes = fs::read(&path).expect("mounted");
        (path, blake3::hash(&bytes))
    };
    let entries = fs::read_dir(dir).expect("mounted");
    entries.map(|e| hash(e.expect("mounted").path())).collect()
}

/// Runs fsx with each seed, in parts with a mount in between.
fn exercise(direct: bool, seeds: &[u32]) {
    let v = TestVolume::new();
    let mut root = v.mount();
    let fsx = Fsx::new(v.scratch(), direct);
    let (parts, operations) = length((2, 50_000), (10, 100_000));
    for seed in seeds {
        for part in 0..parts {
            let file = root.join(format!("fsx.{seed}.{part}"));
            let seed = seed * 100 + length(2, 1) * part;
            fsx.run(&file, seed, operations, &[]).ok();
            let before = contents(&root);
            root = v.remount();
            assert!(contents(&root) == before, "seed {seed}, part {part}");
        }
        let operations = parts * operations;
        report(&format!(
            "fsx: {operations} operations, seed {seed}, O_DIRECT {direct}, {parts} mounts, no difference"
        ));
    }
}

#[test]
fn fsx_finds_no_difference() {
    exercise(false, length(&[1], &[1, 2, 3, 4]));
}

#[test]
fn fsx_finds_no_difference_with_direct_io() {
    exercise(true, length(&[5], &[5, 6, 7, 8]));
}

/// One operation that is not carried out: a suite that sees that compares indeed.
#[test]
fn fsx_sees_a_lost_operation() {
    let v = TestVolume::new();
    let root = v.mount();
    for direct in [false, true] {
        let fsx = Fsx::new(v.scratch(), direct);
        // Not each operation leaves a trace: a hole in a hole does not.
        let seen = (100..110).any(|lost| {
            let lost = lost.to_string();
            let outcome = fsx.run(&root.join("fsx"), 1, 1000, &["--inject", &lost]);
            outcome.code == Some(1)
        });
        assert!(seen, "O_DIRECT {direct}");
    }
}
