//! What a power cut leaves on the disk.
//!
//! The model follows what has been found out about journaling file systems and disks by tools that
//! do the same: ALICE (which orders applications may rely on), CrashMonkey (every persistence point,
//! and what lies between), dm-log-writes and LazyFS (writes that no sync has covered get lost or
//! torn). It promises what POSIX and fsync(2) promise and nothing else:
//!
//! * fsync or fdatasync of a file makes durable what was done to its contents and its size before,
//!   holes and allocations included. It says nothing about the file's name.
//! * fsync of a directory makes its entries durable: every create, rename and remove in it. A rename
//!   is one thing, in both directories or in none.
//! * What was not synced may have reached the disk or not. Of contents each 512-byte sector by itself
//!   (of a hole each 4 KiB block), in any order; the size may have reached it without the data, which
//!   then reads as zeros.
//! * Entries that were not synced survive as a prefix of their order (file systems with one journal:
//!   ext4, XFS), or each on its own, but never against an earlier one of the same name or the same
//!   file (file systems that log single inodes: Btrfs, F2FS, fast commits of ext4). Those log the
//!   names of a file with its fsync; RocksDB needs one of the two, for it renames CURRENT before it
//!   syncs the directory that has the manifest.
//! * What is durable changes by itself never.
//!
//! Beyond it go only disks that lie about having written, or lose what they had.

use std::collections::{BTreeMap, HashSet};

use super::disk::{Image, Ino, Op, PAGE, Trace, long, size};
use crate::dice::Dice;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// What becomes of all that was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Choice {
    /// It is lost.
    Nothing,
    /// It is all there.
    Everything,
    /// Dice with this seed decide.
    Random(u64),
}

/// How much of a list of operations survives.
#[derive(Clone, Copy)]
enum Survives {
    None,
    All,
    Prefix,
    Subset,
    Torn,
}

/// The durable state of a disk, and what has been done since that no sync has covered.
pub struct Platter {
    durable: Image,
    /// Positions in the trace.
    contents: BTreeMap<Ino, Vec<usize>>,
    names: Vec<usize>,
    /// Those of `names` whose file was synced since.
    logged: HashSet<usize>,
    /// Operations of the trace that were seen.
    pub at: usize,
}

impl Platter {
    /// Begins with a disk on which everything is durable.
    pub fn new(durable: Image) -> Self {
        Self {
            durable,
            contents: BTreeMap::new(),
            names: Vec::new(),
            logged: HashSet::new(),
            at: 0,
        }
    }

    /// Goes on to the position `to` of the trace.
    pub fn advance(&mut self, trace: &Trace, to: usize) {
        for (n, op) in trace.ops.iter().enumerate().take(to).skip(self.at) {
            if let Some(ino) = op.changes() {
                self.contents.entry(ino).or_default().push(n);
            } else if let Op::Sync { ino } = op {
                for n in self.contents.remove(ino).unwrap_or_default() {
                    self.durable.apply(&trace.ops[n], trace);
                }
                self.sync_names(trace, *ino);
                let names = self.names.iter().copied();
                let its = names.filter(|n| trace.ops[*n].names().is_some_and(|(_, i)| i == *ino));
                self.logged.extend(its);
            } else {
                self.names.push(n);
            }
        }
        self.at = to;
    }

    /// Makes the entries of a directory durable, with what they cannot be without.
    fn sync_names(&mut self, trace: &Trace, dir: Ino) {
        let mut dirs = HashSet::from([dir]);
        let mut synced = HashSet::new();
        for n in self.names.iter().rev() {
            let (slots, _) = trace.ops[*n].names().expect("only those are here");
            if slots.iter().any(|s| dirs.contains(&s.dir)) {
                dirs.extend(slots.iter().map(|s| s.dir));
                synced.insert(*n);
            }
        }
        for n in self.names.iter().filter(|n| synced.contains(n)) {
            let op = &trace.ops[*n];
            let replaced = match op {
                Op::Rename { to, .. } => self.durable.find(to),
                _ => None,
            };
            self.durable.apply(op, trace);
            let gone = match op {
                Op::Remove { ino, .. } => Some(*ino),
                _ => replaced,
            };
            if let Some(gone) = gone {
                self.durable.forget(gone);
                self.contents.remove(&gone);
            }
        }
        self.names.retain(|n| !synced.contains(n));
        self.logged.retain(|n| !synced.contains(n));
    }

    /// Returns the entries that survive where single inodes are logged, with what they follow on.
    fn logged(&self, trace: &Trace) -> HashSet<usize> {
        let (mut kept, mut slots, mut files) = (HashSet::new(), HashSet::new(), HashSet::new());
        for n in self.names.iter().rev() {
            let (its, ino) = trace.ops[*n].names().expect("only those are here");
            let is_before = files.contains(&ino) || its.iter().any(|s| slots.contains(s));
            if is_before || self.logged.contains(n) {
                kept.insert(*n);
                slots.extend(its);
                files.insert(ino);
            }
        }
        kept
    }

    /// Returns a disk as the power cut may leave it here.
    pub fn cut(&self, trace: &Trace, choice: Choice) -> Image {
        let mut image = self.durable.clone();
        let mut dice = match choice {
            Choice::Nothing => return image,
            Choice::Everything => {
                let all = self.names.iter().chain(self.contents.values().flatten());
                all.for_each(|n| image.apply(&trace.ops[*n], trace));
                return image;
            }
            Choice::Random(seed) => Dice::new(seed),
        };
        // A quarter of the disks is only late: everything up to one moment is there.
        if dice.below(4) == 0 {
            let moment = self.moment(&mut dice);
            let all = self.names.iter().chain(self.contents.values().flatten());
            let kept = all.filter(|n| **n < moment);
            kept.for_each(|n| image.apply(&trace.ops[*n], trace));
            return image;
        }
        self.keep_names(trace, &mut image, &mut dice);
        for ops in self.contents.values() {
            keep_contents(trace, ops, &mut image, &mut dice);
        }
        image
    }

    fn moment(&self, dice: &mut Dice) -> usize {
        let all = self.names.iter().chain(self.contents.values().flatten());
        let first = all.min().copied().unwrap_or(self.at);
        first + dice.size(long(self.at - first + 1))
    }

    fn keep_names(&self, trace: &Trace, image: &mut Image, dice: &mut Dice) {
        let how = [
            Survives::None,
            Survives::All,
            Survives::Prefix,
            Survives::Subset,
        ][dice.size(4)];
        let kept = match how {
            Survives::None => 0,
            Survives::Prefix => dice.size(long(self.names.len() + 1)),
            _ => self.names.len(),
        };
        let logged = self.logged(trace);
        let (mut lost_slots, mut lost_files) = (HashSet::new(), HashSet::new());
        for n in self.names.iter().take(kept) {
            let op = &trace.ops[*n];
            let (slots, ino) = op.names().expect("only those are here");
            let follows = lost_files.contains(&ino) || slots.iter().any(|s| lost_slots.contains(s));
            let is_lost = matches!(how, Survives::Subset) && dice.below(2) == 0;
            if follows || is_lost && !logged.contains(n) {
                lost_files.insert(ino);
                lost_slots.extend(slots);
            } else {
                image.apply(op, trace);
            }
        }
    }
}

/// Does to a file what survives of `ops`.
fn keep_contents(trace: &Trace, ops: &[usize], image: &mut Image, dice: &mut Dice) {
    let how = [
        Survives::None,
        Survives::All,
        Survives::Prefix,
        Survives::Subset,
        Survives::Torn,
    ][dice.size(5)];
    let kept = match how {
        Survives::None => 0,
        Survives::Prefix => dice.size(long(ops.len() + 1)),
        _ => ops.len(),
    };
    for n in ops.iter().take(kept) {
        let op = &trace.ops[*n];
        match how {
            Survives::Subset if dice.below(2) == 0 => {}
            Survives::Torn => tear(trace, op, image, dice),
            _ => image.apply(op, trace),
        }
    }
    // The one after a prefix was on its way.
    if let (Survives::Prefix, Some(n)) = (how, ops.get(kept)) {
        tear(trace, &trace.ops[*n], image, dice);
    }
}

/// Does a part of an operation: some of its sectors.
fn tear(trace: &Trace, op: &Op, image: &mut Image, dice: &mut Dice) {
    match op {
        Op::Write { ino, offset, data } => {
            let data = trace.data(*data);
            let file = image.file(*ino);
            if dice.below(8) == 0 {
                file.len = file.len.max(offset + long(data.len()));
            }
            // Half of them are torn in one place, as by a disk that writes in order.
            let parts = units(*offset, long(data.len()), SECTOR);
            let in_order = dice.below(2) == 0;
            let end = dice.size(long(parts.len() + 1));
            for (n, (at, len)) in parts.into_iter().enumerate() {
                let survives = if in_order {
                    n < end
                } else {
                    dice.below(2) == 0
                };
                if survives {
                    let from = size(at - offset);
                    file.write(at, &data[from..from + size(len)]);
                }
            }
        }
        Op::Punch { ino, offset, len } => {
            for (at, len) in units(*offset, *len, PAGE) {
                if dice.below(2) == 0 {
                    image.file(*ino).zero(at, len);
                }
            }
        }
        _ if dice.below(2) == 0 => image.apply(op, trace),
        _ => {}
    }
}

/// Cuts a range at multiples of `unit`.
fn units(offset: u64, len: u64, unit: usize) -> Vec<(u64, u64)> {
    let (unit, end) = (long(unit), offset + len);
    let mut out = Vec::new();
    let mut at = offset;
    while at < end {
        let next = end.min((at / unit + 1) * unit);
        out.push((at, next - at));
        at = next;
    }
    out
}
