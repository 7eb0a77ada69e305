//! From faults to findings: which files they touch, and what those are called.
//!
//! Names are looked up only for what was found: one more pass over the extents if a block is damaged,
//! and one over the names. Both are bounded by the faults that are kept.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::Ino;
use crate::base::sync::Mutex;
use crate::format::key::Letter;
use crate::meta::decode_dirents;

use super::CheckError;
use super::fault::{Fault, Subject};
use super::finding::Finding;
use super::inodes::Inodes;
use super::pass::{Pass, hash_of};
use super::tree::parent_place;
use super::{owners, places};

/// Names of one inode that are told.
const NAMES_MAX: usize = 4;

/// Longest path that is told whole, in bytes: as long as the kernel takes one.
const PATH_MAX_BYTES: usize = 4096;

/// The entries that lead to some inodes: of each its directory and name.
type Known = BTreeMap<u64, Vec<(u64, Vec<u8>)>>;

/// Gives faults their names.
pub(super) fn name(
    pass: &Pass<'_>,
    inodes: &Inodes,
    faults: Vec<Fault>,
) -> Result<Vec<Finding>, CheckError> {
    let faults = owners::find(pass, inodes, faults);
    let faults = places::find(pass, inodes, faults)?;
    let known = known(pass, inodes, &faults)?;
    Ok(faults
        .into_iter()
        .map(|fault| {
            let paths = paths(inodes, &known, &fault.subject);
            Finding {
                code: fault.code,
                subject: describe(&fault.subject),
                range: fault.range(),
                detail: fault.detail,
                paths,
            }
        })
        .collect())
}

/// Reads the names of all inodes that faults are about, and of the directories they lie in.
fn known(pass: &Pass<'_>, inodes: &Inodes, faults: &[Fault]) -> Result<Known, CheckError> {
    let mut wanted: BTreeSet<u64> = BTreeSet::new();
    for fault in faults {
        if let Subject::Inode(ino) | Subject::Data(ino, ..) | Subject::Name(Some(ino), _) =
            fault.subject
        {
            wanted.insert(ino.0);
        }
    }
    let mut known = Known::new();
    // First the names of the files: where they lie is told by the keys of their names.
    let mut next = wanted;
    while !next.is_empty() {
        let found: Mutex<Known> = Mutex::default();
        pass.over(
            Letter::Dirent,
            |(): &mut (), key, record| {
                for e in decode_dirents(&record.payload)? {
                    if !next.contains(&e.ino.0) {
                        continue;
                    }
                    let Some(dir) = inodes.dir(&hash_of(key)).and_then(|i| inodes.dirs.get(i))
                    else {
                        continue;
                    };
                    let mut found = found.lock();
                    let entries = found.entry(e.ino.0).or_default();
                    if entries.len() < NAMES_MAX {
                        entries.push((inodes.row_of(dir).ino, e.name));
                    }
                }
                Ok(())
            },
            |(), _| {},
        )?;
        let found = found.into_inner();
        // Then those of all directories above them at once.
        let mut above = BTreeSet::new();
        for (dir, _) in found.values().flatten() {
            ancestors(inodes, *dir, &mut above);
        }
        for ino in next {
            ancestors(inodes, ino, &mut above);
            known.entry(ino).or_default();
        }
        known.extend(found);
        next = above
            .into_iter()
            .filter(|i| !known.contains_key(i))
            .collect();
    }
    Ok(known)
}

/// Adds a directory and all above it.
fn ancestors(inodes: &Inodes, ino: u64, out: &mut BTreeSet<u64>) {
    let mut at = inodes.get(Ino(ino));
    while let Some(row) = at {
        let Some(dir) = inodes.dir_of(row).and_then(|i| inodes.dirs.get(i)) else {
            return;
        };
        if row.ino == Ino::ROOT.0 || !out.insert(row.ino) {
            return;
        }
        let parent = parent_place(dir).and_then(|i| inodes.dirs.get(i));
        at = parent.map(|d| inodes.row_of(d));
    }
}

fn paths(inodes: &Inodes, known: &Known, subject: &Subject) -> Vec<String> {
    let (ino, last) = match subject {
        Subject::Inode(ino) | Subject::Data(ino, ..) => (ino, None),
        Subject::Name(Some(dir), name) => (dir, Some(name)),
        _ => return Vec::new(),
    };
    if *ino == Ino::ROOT {
        return vec![last.map_or_else(|| "/".to_owned(), |name| format!("/{}", text(name)))];
    }
    let entries = known.get(&ino.0).map(Vec::as_slice).unwrap_or_default();
    let mut out: Vec<String> = entries
        .iter()
        .map(|(dir, name)| {
            let mut parts = vec![text(name)];
            parts.extend(last.map(|n| text(n)));
            path(inodes, known, *dir, &parts)
        })
        .collect();
    out.sort();
    out
}

/// Returns the path of names below a directory; `...` stands for what cannot be reached.
fn path(inodes: &Inodes, known: &Known, dir: u64, last: &[String]) -> String {
    let mut parts: Vec<String> = last.iter().rev().cloned().collect();
    let (mut at, mut steps) = (dir, 0);
    while at != Ino::ROOT.0 {
        let entry = known.get(&at).and_then(|entries| entries.last());
        steps += 1;
        match entry {
            Some((above, name)) if steps <= inodes.dirs.len() => {
                parts.push(text(name));
                at = *above;
            }
            _ => {
                parts.push("...".into());
                parts.reverse();
                return shortened(parts.join("/"));
            }
        }
    }
    parts.reverse();
    shortened(format!("/{}", parts.join("/")))
}

/// Returns the end of a path that is longer than anybody reads.
fn shortened(path: String) -> String {
    let excess = path.len().saturating_sub(PATH_MAX_BYTES);
    match path
        .char_indices()
        .find(|(at, _)| excess > 0 && *at >= excess)
    {
        Some((at, _)) => format!("...{}", path.get(at..).unwrap_or_default()),
        None => path,
    }
}

/// Returns a name as text: what is no text, and what steers a terminal, as `\xNN`.
fn text(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || c == '\\' {
                let mut bytes = [0; 4];
                let bytes = c.encode_utf8(&mut bytes).bytes();
                bytes.for_each(|b| out.push_str(&format!("\\x{b:02x}")));
            } else {
                out.push(c);
            }
        }
        for b in chunk.invalid() {
            out.push_str(&format!("\\x{b:02x}"));
        }
    }
    out
}

pub(super) fn describe(subject: &Subject) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    match subject {
        Subject::Volume => "the volume".into(),
        Subject::Record(key) => format!("record {key:?}"),
        Subject::Foreign(key) => format!("key {}", hex(key)),
        Subject::Inode(ino) | Subject::Data(ino, ..) => format!("inode {ino}"),
        Subject::Name(Some(dir), name) => format!("name {} in directory {dir}", text(name)),
        Subject::Name(None, name) => format!("name {}", text(name)),
        Subject::Block(id) => format!("block {}", hex(id)),
        Subject::Pack(no) => format!("pack {no}"),
    }
}
