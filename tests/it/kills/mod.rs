//! The worker killed at random moments under load. The databases have their kills beside their other
//! tests (`databases`), the loads here are made of plain calls.

mod renames;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::dice::Dice;
use crate::harness::TestVolume;

/// Returns dice that fall differently in each run.
pub fn dice() -> Dice {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = now.expect("after 1970").as_nanos().to_le_bytes();
    Dice::new(u64::from_le_bytes(*nanos.first_chunk().expect("16 bytes")))
}

/// Waits for a while, at most `longest_ms`; half of the times for a tenth of that.
pub fn wait(dice: &mut Dice, longest_ms: u64) {
    let most = match dice.below(2) {
        0 => longest_ms,
        _ => longest_ms / 10,
    };
    let pause = Duration::from_millis(dice.below(most + 1));
    let start = std::time::Instant::now();
    while let Some(left) = pause.checked_sub(start.elapsed()) {
        std::thread::park_timeout(left);
    }
}

/// Returns the newest generation that this host has seen durable.
#[track_caller]
pub fn seen_generation(v: &TestVolume) -> u64 {
    let file = Path::new("/run/coffer").join(v.id()).join("generation");
    let record = fs::read(file).expect("the worker kept a record");
    let seen = record.last_chunk().map(|b| u64::from_le_bytes(*b));
    seen.filter(|g| *g > 0).expect("a volume has a generation")
}

/// Mounts a volume whose worker was killed: it is not behind what this host has seen durable.
#[track_caller]
pub fn mount_again(v: &TestVolume) -> PathBuf {
    let seen = seen_generation(v);
    let root = v.mount();
    let found = v.info()["generation"].as_u64();
    assert!(found >= Some(seen), "{found:?} is behind {seen}");
    root
}
