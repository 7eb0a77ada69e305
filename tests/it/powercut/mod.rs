//! The power-cut proof: whatever a power cut leaves on the disk, the volume opens, and shows what it
//! has promised.
//!
//! A volume lies on a disk that records every operation (`record`, `disk`) while programs work on it
//! (`workload`). Afterwards the disk is rebuilt as a power cut could have left it (`cut`) after every
//! sync and at random moments in between, each time opened (`verify`) and compared with what the
//! volume owes its programs at that moment (`expect`).

mod cut;
mod disk;
mod expect;
mod mutate;
mod record;
mod verify;
mod workload;

use std::time::Instant;

use cut::{Choice, Platter};
use disk::{Image, Op, Trace};
use expect::{History, Note};
use record::Disk;
use workload::Workload;

use crate::dice::Dice;
use crate::harness::{TestVolume, length, report};

/// Every so many disks are mounted by the real binary, the others are opened by the library.
const MOUNT_EVERY: usize = 50;

/// A position in the trace, and what becomes there of all that is not durable.
type Cut = (usize, Choice);

/// A disk that was recorded, and what was done on the volume meanwhile.
struct Recording {
    seed: u64,
    /// The disk before.
    start: Image,
    trace: Trace,
    notes: Vec<Note>,
    volume_id: String,
}

/// Runs a workload and records its disk.
fn record(seed: u64, script: impl FnOnce(&mut Workload)) -> Recording {
    let dir = tempfile::tempdir().expect("a directory for the disk");
    let disk = Disk::new(Image::new());
    let mounted = disk.mount(dir.path());
    let volume = TestVolume::in_place(&dir.path().join("volume"), &["--chunk-size", "16K"]);
    let volume_id = volume.id();
    let start = disk.image();
    drop(disk.take_trace());
    let mut workload = Workload::new(&disk, volume, seed);
    script(&mut workload);
    workload.end();
    let notes = std::mem::take(&mut workload.notes);
    drop(workload);
    drop(mounted);
    Recording {
        seed,
        start,
        trace: disk.take_trace(),
        notes,
        volume_id,
    }
}

impl Recording {
    /// Returns `count` cuts in the order of the trace: after every sync with all lost that was not
    /// synced, and random ones.
    fn cuts(&self, count: usize) -> Vec<Cut> {
        let ops = self.trace.ops.iter().enumerate();
        let syncs = ops.filter(|(_, op)| matches!(op, Op::Sync { .. }));
        let mut cuts: Vec<Cut> = syncs.map(|(n, _)| (n + 1, Choice::Nothing)).collect();
        let mut dice = Dice::new(self.seed);
        while cuts.len() < count {
            let at = dice.size(disk::long(self.trace.ops.len() + 1));
            let choice = match dice.below(8) {
                0 => Choice::Everything,
                _ => Choice::Random(dice.next()),
            };
            cuts.push((at, choice));
        }
        cuts.sort_unstable();
        cuts
    }

    /// Opens the volume after each cut; returns the first failure.
    fn check(&self, cuts: &[Cut]) -> Option<String> {
        let dir = tempfile::tempdir().expect("a directory for the disk");
        let mut platter = Platter::new(self.start.clone());
        let mut history = History::new(self.notes.clone());
        cuts.iter().enumerate().find_map(|(n, (at, choice))| {
            platter.advance(&self.trace, *at);
            history.advance(*at);
            let image = platter.cut(&self.trace, *choice);
            let described = record::describe(&image);
            let _mounted = Disk::new(image).mount(dir.path());
            let volume = dir.path().join("volume");
            verify::forget_boot(&self.volume_id);
            let contents = match n % MOUNT_EVERY {
                0 => verify::mount_and_read(&volume),
                _ => verify::open_and_read(&volume),
            };
            let compare = |(tree, files)| history.refute(&tree, &files).map_or(Ok(()), Err);
            let why = contents.and_then(compare).err()?;
            Some(format!(
                "seed {}, cut at {at} of {}, {choice:?}: {why}\n{described}",
                self.seed,
                self.trace.ops.len()
            ))
        })
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        verify::forget_boot(&self.volume_id);
    }
}

#[test]
fn a_sync_that_is_missing_is_seen() {
    let recording = record(2, |w| {
        for _ in 0..2 {
            (0..120).for_each(|_| w.step());
            w.remount();
        }
    });
    let cuts = recording.cuts(1000);
    let unseen: Vec<&str> = mutate::FORGETS
        .iter()
        .filter(|forgets| {
            let (mutated, syncs) = recording.forgetting(forgets.path);
            let seen = mutated.check(&cuts);
            let first = seen.as_ref().and_then(|why| why.lines().next());
            let first = first.unwrap_or("nothing");
            report(&format!(
                "powercut: without {syncs} syncs of {}: {first}",
                forgets.what
            ));
            seen.is_none()
        })
        .map(|forgets| forgets.what)
        .collect();
    assert!(
        unseen.is_empty(),
        "nobody sees that these are not synced: {unseen:?}"
    );
}

#[test]
fn every_cut_of_the_power_leaves_what_was_promised() {
    let mut states = 0;
    for seed in 0..length(2, 20) {
        let start = Instant::now();
        let recording = record(seed, |w| {
            for _ in 0..3 {
                (0..200).for_each(|_| w.step());
                w.remount();
            }
        });
        let recorded = start.elapsed();
        let cuts = recording.cuts(1000);
        let failure = recording.check(&cuts);
        states += cuts.len();
        report(&format!(
            "powercut: seed {seed}, {} operations recorded in {recorded:.1?}, {} cuts in {:.1?}",
            recording.trace.ops.len(),
            cuts.len(),
            start.elapsed() - recorded
        ));
        assert!(failure.is_none(), "{}", failure.unwrap_or_default());
    }
    assert!(states >= length(2_000, 20_000), "{states} states");
}
