//! Test suites of others on a mount, at fixed versions: from Debian, or installed with cargo.
//!
//! Where a suite may rightly fail (it asks for what no FUSE file system has, or for what this
//! machine does not allow), the same run on ext4 tells, or an exact list with reasons.

mod archives;
mod fio;
mod fsx;
mod loads;
mod pjdfstest;
mod python;
mod stress;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::harness::run;

/// One test builds, the others wait for it.
static BUILD: Mutex<()> = Mutex::new(());

/// Returns the program of a suite that cargo installs, building it first where it is missing.
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
