//! Unusual but legal: what few programs do and none must lose data by.

mod directories;
mod files;
mod fsync;
mod names;
mod storm;

use std::fs;

/// Returns the memory that a process alone accounts for, in bytes.
fn pss_bytes(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it runs");
    let line = rollup.lines().find_map(|l| l.strip_prefix("Pss:"));
    let kib = line.and_then(|l| l.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.expect("smaps_rollup has Pss") * 1024
}
