//! Recordings of a store that does one thing wrong: the proof must see each of them.
//!
//! What a store forgets to sync is taken out of the trace; what it does too early or too late is
//! moved there. The store itself stays as it is.

use std::collections::HashMap;

use super::cut::Choice;
use super::disk::{Ino, Op, ROOT, Trace, long};
use super::expect::Act;
use super::recording::{Cut, Recording};
use super::scripts::{self, Kind};
use crate::harness::report;

/// A disk has no file of this number.
const NOBODY: Ino = 0;

/// Tells by the path in the volume whether a file or directory is meant.
type Wanted = fn(&str) -> bool;

/// What a store may forget to sync.
const FORGETS: &[(&str, Wanted)] = &[
    ("the packs", |p| p.starts_with("packs/")),
    ("the directory of the packs", |p| p == "packs"),
    ("the log", |p| p.ends_with(".log")),
    ("the directory of the database", |p| p == "kv"),
    ("the sorted files", |p| p.ends_with(".sst")),
    ("the manifest", |p| p.contains("MANIFEST")),
    ("the file that becomes CURRENT", |p| p.ends_with(".dbtmp")),
];

/// Returns the path in the volume of everything that was ever there: the first name it had.
fn paths(trace: &Trace) -> HashMap<Ino, String> {
    let mut paths = HashMap::from([(ROOT, String::new())]);
    for op in &trace.ops {
        if let Op::Create { slot, ino, .. } = op {
            let at = paths.get(&slot.dir).map_or("", String::as_str);
            let path = match at {
                "" | "volume" => slot.name.clone(),
                _ => format!("{at}/{}", slot.name),
            };
            paths.insert(*ino, path);
        }
    }
    paths
}

/// Returns the positions of the syncs of some files.
fn syncs(trace: &Trace, wanted: impl Fn(&str) -> bool) -> Vec<usize> {
    let paths = paths(trace);
    let is_wanted = |op: &Op| match op {
        Op::Sync { ino } => paths.get(ino).is_some_and(|p| wanted(p)),
        _ => false,
    };
    let ops = trace.ops.iter().enumerate();
    ops.filter(|(_, op)| is_wanted(op))
        .map(|(n, _)| n)
        .collect()
}

impl Recording {
    /// Leaves these syncs out; the positions of all others stay.
    fn forget(&mut self, syncs: &[usize]) {
        for n in syncs {
            self.trace.ops[*n] = Op::Sync { ino: NOBODY };
        }
    }

    /// Moves one operation so that it comes right before the one at `to`.
    fn advance(&mut self, from: usize, to: usize) {
        let op = self.trace.ops.remove(from);
        self.trace.ops.insert(to, op);
        self.renumber(|at| at + usize::from(to < at && at <= from));
    }

    /// Moves one operation so that it comes right after the one at `to`.
    fn delay(&mut self, from: usize, to: usize) {
        let op = self.trace.ops.remove(from);
        self.trace.ops.insert(to, op);
        self.renumber(|at| at - usize::from(from < at && at <= to + 1));
    }

    fn renumber(&mut self, new: impl Fn(usize) -> usize) {
        for note in &mut self.notes {
            note.begin.at = new(note.begin.at);
            note.end.at = new(note.end.at);
        }
    }

    /// Looks at the plain cuts between two positions.
    fn fails_between(&self, from: usize, to: usize) -> Option<String> {
        let choices = [Choice::Nothing, Choice::Everything];
        let cuts = (from..=to).flat_map(|at| choices.map(|choice| Cut { at, choice }));
        let cuts: Vec<Cut> = cuts.collect();
        self.check(&cuts).map(|(_, why)| first_line(&why))
    }
}

fn first_line(why: &str) -> String {
    why.lines().next().unwrap_or_default().to_owned()
}

/// Says where a byte of a pack is written again that a sync has covered.
pub fn rewritten(trace: &Trace) -> Option<String> {
    let paths = paths(trace);
    let (mut written, mut synced) = (HashMap::new(), HashMap::new());
    trace.ops.iter().enumerate().find_map(|(n, op)| {
        match op {
            Op::Write { ino, offset, data } => {
                let path = paths.get(ino).filter(|p| p.starts_with("packs/0"))?;
                let covered = synced.get(ino).copied().unwrap_or(0);
                if *offset < covered {
                    let why =
                        format!("operation {n} writes {path} at {offset}, synced to {covered}");
                    return Some(why);
                }
                let end = written.entry(*ino).or_insert(0);
                *end = (*end).max(offset + long(data.len));
            }
            Op::Sync { ino } => {
                if let Some(end) = written.get(ino) {
                    synced.insert(*ino, *end);
                }
            }
            _ => {}
        }
        None
    })
}

fn forgotten_syncs_are_seen(recording: &Recording) {
    let cuts = recording.cuts(1000);
    for (what, path) in FORGETS {
        let mut wrong = recording.clone();
        let syncs = syncs(&wrong.trace, path);
        wrong.forget(&syncs);
        let seen = wrong.check(&cuts).map(|(_, why)| first_line(&why));
        let seen = seen.unwrap_or_else(|| panic!("nobody sees that {what} are not synced"));
        report(&format!(
            "powercut: {} syncs of {what} missing: {seen}",
            syncs.len()
        ));
    }
}

/// The root must not be ahead of the packs: their sync comes after that of the log here.
fn a_root_ahead_of_its_packs_is_seen(recording: &Recording) {
    let packs = syncs(&recording.trace, |p| p.starts_with("packs/"));
    let logs = syncs(&recording.trace, |p| p.ends_with(".log"));
    let seen = packs.iter().find_map(|pack| {
        let log = *logs.iter().find(|log| *log > pack)?;
        let mut wrong = recording.clone();
        wrong.delay(*pack, log);
        wrong.fails_between(log, log)
    });
    let seen = seen.expect("somebody sees a root that is ahead of its packs");
    report(&format!("powercut: packs synced after the log: {seen}"));
}

/// Space that is given back before the deletion of what lay there is synced.
fn early_destruction_is_seen(recording: &Recording, kind: Kind) {
    let at = kind.positions(&recording.trace).pop();
    let at = at.expect("the script makes the store do it");
    let op = &recording.trace.ops[at];
    let removals = recording.notes.iter();
    let removals = removals.filter(|n| matches!(n.act, Act::Remove { .. }) && n.end.at <= at);
    let removal = removals.map(|n| n.begin.at).min();
    let removal = removal.expect("the script removes files");
    let logs = syncs(&recording.trace, |p| p.ends_with(".log"));
    let logs = logs.into_iter().filter(|log| (removal..at).contains(log));
    let seen = logs.rev().enumerate().find_map(|(n, log)| {
        let mut wrong = recording.clone();
        wrong.advance(at, log);
        if let Op::Punch { ino, .. } = op {
            let is_its = |op: &Op| matches!(op, Op::Sync { ino: i } if i == ino);
            let sync = wrong.trace.ops.iter().skip(at).position(is_its);
            wrong.advance(at + sync.expect("a hole is synced"), log + 1);
        }
        Some((n + 1, wrong.fails_between(log + 1, log + 2)?))
    });
    let (n, seen) = seen.unwrap_or_else(|| panic!("nobody sees that {kind:?} comes too early"));
    report(&format!(
        "powercut: {kind:?} {n} syncs of the log too early: {seen}"
    ));
}

/// Each of these mistakes of a store is seen.
#[test]
fn a_store_that_does_it_wrong_is_seen() {
    let packs = scripts::SCRIPTS.iter().find(|s| s.name == "packs");
    let recording = Recording::of(2, packs.expect("there is one").run);
    forgotten_syncs_are_seen(&recording);
    a_root_ahead_of_its_packs_is_seen(&recording);
    early_destruction_is_seen(&recording, Kind::Punch);
    early_destruction_is_seen(&recording, Kind::PackRemoval);
    assert_eq!(rewritten(&recording.trace), None);
    let mut wrong = recording.trace.clone();
    let is_pack = |ino| {
        paths(&wrong)
            .get(ino)
            .is_some_and(|p| p.starts_with("packs/0"))
    };
    let reuse = wrong
        .ops
        .iter()
        .rposition(|op| matches!(op, Op::Write { ino, .. } if is_pack(ino)));
    if let Some(Op::Write { offset, .. }) = reuse.and_then(|n| wrong.ops.get_mut(n)) {
        *offset = 0;
    }
    assert!(
        rewritten(&wrong).is_some(),
        "a range that is used again is seen"
    );
}
