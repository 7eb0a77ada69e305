//! The scripts of the workloads: each makes the store do something else to its disk.

use std::collections::HashSet;

use super::disk::{Ino, Op, Slot, Trace, long};
use super::expect::Filling;
use super::workload::{OWN, Workload};

/// Bytes of a large file: a pack takes eight.
const LARGE_BYTES: usize = 8 << 20;

/// Large files of the script of packs: more than one pack.
const LARGE_FILES: usize = 9;

/// Pages of a file that are written in one go, each in a chunk of its own.
const SPREAD_PAGES: u64 = 250;

/// A workload with what it is meant to make the store do.
pub struct Script {
    pub name: &'static str,
    pub run: fn(&mut Workload),
    /// What must be seen in the trace, and how often at least.
    pub expects: &'static [(Kind, usize)],
    /// Disks that are looked at, short and long: those of large volumes take longer.
    pub cuts: (usize, usize),
}

pub const SCRIPTS: &[Script] = &[
    Script {
        name: "mixed",
        run: mixed,
        expects: &[
            (Kind::Sync, 100),
            (Kind::Log, 4),
            (Kind::Table, 4),
            (Kind::Manifest, 4),
        ],
        cuts: (1200, 1500),
    },
    Script {
        name: "logs",
        run: logs,
        expects: &[(Kind::Sync, 100), (Kind::Log, 4), (Kind::Table, 3)],
        cuts: (500, 800),
    },
    Script {
        name: "packs",
        run: packs,
        expects: &[
            (Kind::Pack, 2),
            (Kind::Punch, 1),
            (Kind::PackRemoval, 1),
            (Kind::Sync, 60),
        ],
        cuts: (300, 500),
    },
];

/// What can be counted in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sync,
    /// A log begins.
    Log,
    /// A log takes the place of one that is of no use any more.
    RecycledLog,
    Table,
    Manifest,
    Pack,
    Punch,
    PackRemoval,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Sync,
        Self::Log,
        Self::RecycledLog,
        Self::Table,
        Self::Manifest,
        Self::Pack,
        Self::Punch,
        Self::PackRemoval,
    ];

    /// Returns the positions of its operations.
    pub fn positions(self, trace: &Trace) -> Vec<usize> {
        let packs = trace.ops.iter().filter_map(|op| match op {
            Op::Create { slot, ino, .. } if is_pack(slot) => Some(*ino),
            _ => None,
        });
        let packs: HashSet<Ino> = packs.collect();
        let ops = trace.ops.iter().enumerate();
        let same = ops.filter(|(_, op)| Self::of(op, &packs) == Some(self));
        same.map(|(n, _)| n).collect()
    }

    fn of(op: &Op, packs: &HashSet<Ino>) -> Option<Self> {
        match op {
            Op::Sync { .. } => Some(Self::Sync),
            // The database punches too, what it has allocated ahead.
            Op::Punch { ino, .. } if packs.contains(ino) => Some(Self::Punch),
            Op::Create { slot, .. } if slot.name.ends_with(".log") => Some(Self::Log),
            Op::Create { slot, .. } if slot.name.ends_with(".sst") => Some(Self::Table),
            Op::Create { slot, .. } if slot.name.starts_with("MANIFEST") => Some(Self::Manifest),
            Op::Create { slot, .. } if is_pack(slot) => Some(Self::Pack),
            Op::Rename { to, .. } if to.name.ends_with(".log") => Some(Self::RecycledLog),
            Op::Remove { slot, .. } if is_pack(slot) => Some(Self::PackRemoval),
            _ => None,
        }
    }

    pub fn count(self, trace: &Trace) -> usize {
        self.positions(trace).len()
    }
}

fn is_pack(slot: &Slot) -> bool {
    slot.name.len() == 8 && slot.name.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Says what a trace holds.
pub fn summary(trace: &Trace) -> String {
    let counts = Kind::ALL.map(|k| format!("{k:?} {}", k.count(trace)));
    format!("{} operations ({})", trace.ops.len(), counts.join(", "))
}

/// Everything a little, beside two writers, in three mounts.
fn mixed(w: &mut Workload) {
    for _ in 0..3 {
        w.beside_writers(2, |w| (0..150).for_each(|_| w.step()));
        (0..30).for_each(|_| w.step());
        w.remount();
    }
}

/// Writes that fill the log and the write buffers, so that logs and files follow each other while
/// programs wait for their syncs.
fn logs(w: &mut Workload) {
    let id = w.make_file("own-pages");
    for round in 0..30 {
        for n in 0..SPREAD_PAGES {
            let data = Filling {
                seed: w.dice.next(),
                len: 4096,
            };
            w.write_at("own-pages", id, n * 16384, data);
        }
        w.sync_file("own-pages", id);
        w.beside_writers(usize::from(round % 5 == 0), |w| {
            (0..8).for_each(|_| w.step());
        });
        if round == 20 {
            w.remount();
        }
    }
}

/// Streams that fill packs, whose blocks then die, so that the cleaner punches, copies and removes.
fn packs(w: &mut Workload) {
    let name = |n: usize| format!("{OWN}large{n}");
    for n in 0..LARGE_FILES {
        let id = w.make_file(&name(n));
        let data = Filling {
            seed: long(n),
            len: LARGE_BYTES,
        };
        w.write_at(&name(n), id, 0, data);
        w.sync_file(&name(n), id);
        (0..4).for_each(|_| w.step());
    }
    // A copy of what is there already.
    let twin = w.make_file("own-twin");
    let data = Filling {
        seed: 1,
        len: LARGE_BYTES,
    };
    w.write_at("own-twin", twin, 0, data);
    w.sync_file("own-twin", twin);
    (2..5).for_each(|n| w.remove_path(&name(n)));
    w.sync_all();
    w.wait_for(Kind::Punch);
    w.beside_writers(1, |w| (0..40).for_each(|_| w.step()));
    // What little lives is copied forward, and the first pack goes.
    (5..LARGE_FILES).for_each(|n| w.remove_path(&name(n)));
    w.remove_path(&name(0));
    w.sync_all();
    w.wait_for(Kind::PackRemoval);
    w.beside_writers(1, |w| (0..40).for_each(|_| w.step()));
    w.remount();
    (0..20).for_each(|_| w.step());
}
