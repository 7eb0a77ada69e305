//! The power-cut proof: whatever a power cut leaves on the disk, the volume opens, and shows what it
//! has promised.
//!
//! A volume lies on a disk that records every operation (`record`, `disk`) while programs work on it
//! (`workload`, `scripts`). Afterwards the disk is rebuilt as a power cut could have left it (`cut`)
//! after every sync and at random moments in between, each time opened (`verify`) and compared with
//! what the volume owes its programs at that moment (`expect`).
//!
//! A failure prints what differs and keeps the recording; `COFFER_POWERCUT=DIR:AT:CHOICE`, as it is
//! printed there, looks at that one disk again and writes it to DIR/disk.

mod cut;
mod disk;
mod expect;
mod init;
mod mutate;
mod notes;
mod record;
mod recording;
mod scripts;
mod verify;
mod workload;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

pub use disk::Image;
pub use record::{Disk, Mounted, Verb};
use recording::{Cut, Recording};
use scripts::{SCRIPTS, Script};

use crate::harness::{length, report};

/// Looks at one cut of a recording that was kept.
fn look_again(which: &str) {
    let parts: Vec<&str> = which.rsplitn(3, ':').collect();
    let [choice, at, dir] = parts[..] else {
        panic!("COFFER_POWERCUT is DIR:AT:CHOICE");
    };
    let (dir, cut) = (Path::new(dir), Cut::parse(at, choice));
    let recording = Recording::load(dir).expect("a recording was kept there");
    let exported = recording.export(cut, &dir.join("disk"));
    exported.expect("there is room for the disk");
    if let Some((_, why)) = recording.check(&[cut]) {
        panic!("{why}");
    }
}

/// Records a script with a seed and looks at its cuts; returns how many.
fn prove(script: &Script, seed: u64) -> usize {
    let start = Instant::now();
    let recording = Recording::of(seed, script.run);
    let (name, trace) = (script.name, scripts::summary(&recording.trace));
    for (kind, least) in script.expects {
        let found = kind.count(&recording.trace);
        assert!(
            found >= *least,
            "{name}: {kind:?} only {found} times: {trace}"
        );
    }
    let rewritten = mutate::rewritten(&recording.trace);
    assert!(rewritten.is_none(), "{name}: {rewritten:?}");
    let recorded = start.elapsed();
    let cuts = recording.cuts(length(script.cuts.0, script.cuts.1));
    let failure = recording.check(&cuts);
    report(&format!(
        "powercut: {name} {seed}: {trace} in {recorded:.1?}; {} disks in {:.1?}",
        cuts.len(),
        start.elapsed() - recorded
    ));
    if let Some((cut, why)) = failure {
        let dir = std::env::temp_dir().join(format!("coffer-powercut-{name}-{seed}"));
        recording
            .save(&dir)
            .expect("there is room for the recording");
        let dir = dir.display();
        panic!("{name} {seed}: {why}\nagain: COFFER_POWERCUT={dir}:{cut}");
    }
    cuts.len()
}

#[test]
fn every_cut_of_the_power_leaves_what_was_promised() {
    if let Some(which) = std::env::var_os("COFFER_POWERCUT") {
        return look_again(&which.to_string_lossy());
    }
    let seeds = length(1, 8);
    let jobs: Vec<(&Script, u64)> = (0..seeds)
        .flat_map(|seed| SCRIPTS.iter().map(move |s| (s, seed)))
        .collect();
    let (next, disks) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((script, seed)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    disks.fetch_add(prove(script, *seed), Ordering::Relaxed);
                }
            });
        }
    });
    let (disks, least) = (disks.into_inner(), length(2_000, 20_000));
    assert!(disks >= least, "{disks} disks");
}
