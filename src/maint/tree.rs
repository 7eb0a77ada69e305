//! Names and directories: every name leads to an inode and back, and everything can be reached.

use crate::base::sync::{AtomicU64, Ordering};
use crate::base::{Ino, InodeGen};
use crate::format::key::{Key, Letter};
use crate::fs::FileKind;
use crate::meta::{Dirent, decode_dirents};

use super::CheckError;
use super::fault::Subject;
use super::finding::Code;
use super::inodes::{Dir, Inodes, OrphanState, Row};
use super::pass::{Decoded, Pass, hash_of};

/// Whether a directory leads to the root directory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Unknown,
    /// Being followed just now.
    Open,
    Yes,
    No,
}

/// Looks at all names; returns how many there are.
pub(super) fn check(pass: &Pass<'_>, inodes: &Inodes) -> Result<u64, CheckError> {
    let names = AtomicU64::new(0);
    pass.over(
        Letter::Dirent,
        |(): &mut (), key, record| {
            let entries = decode_dirents(&record.payload)?;
            names.fetch_add(entries.len() as u64, Ordering::Relaxed);
            look(pass, inodes, key, &entries)
        },
        |(), key| {
            if let Some(dir) = inodes.dir(&hash_of(key)).and_then(|i| inodes.dirs.get(i)) {
                inodes.row_of(dir).set_opaque();
            }
        },
    )?;
    if inodes
        .get(Ino::ROOT)
        .is_none_or(|r| r.kind() != Some(FileKind::Directory))
    {
        pass.note(Code::NoRootDirectory, Subject::Volume, "");
    }
    inodes.rows.iter().for_each(|row| file(pass, row));
    inodes
        .dirs
        .iter()
        .for_each(|dir| directory(pass, inodes, dir));
    reach(pass, inodes);
    Ok(names.into_inner())
}

/// Looks at the entries of one directory whose names have one hash.
fn look(pass: &Pass<'_>, inodes: &Inodes, key: &Key, entries: &[Dirent]) -> Decoded {
    let place = inodes.dir(&hash_of(key));
    let dir = place.and_then(|i| inodes.dirs.get(i));
    let ino = dir.map(|d| Ino(inodes.row_of(d).ino));
    let mut seen: Vec<&[u8]> = Vec::with_capacity(1);
    for e in entries {
        let name = e.name.as_slice();
        let subject = || Subject::Name(ino, e.name.clone());
        let Some((dir, dir_ino)) = dir.zip(ino) else {
            let detail = format!("it leads to inode {}", e.ino);
            pass.note(Code::NamesOfNobody, subject(), detail);
            continue;
        };
        let is_placed = pass
            .names
            .dirent(dir_ino, &pass.names.name_hash(dir_ino, name))
            == *key;
        let is_possible =
            !matches!(name, b"" | b"." | b"..") && !name.iter().any(|b| matches!(b, 0 | b'/'));
        if !is_placed || !is_possible || seen.contains(&name) {
            pass.note(Code::BadName, subject(), "");
        }
        seen.push(name);
        dir.entries.fetch_add(1, Ordering::Relaxed);
        let kind = FileKind::from_mode(u32::from(e.kind) << 12);
        let leads_to_dir = kind == Some(FileKind::Directory);
        dir.subdirs
            .fetch_add(u32::from(leads_to_dir), Ordering::Relaxed);
        let Some(row) = inodes.get(e.ino) else {
            let detail = format!("inode {} does not exist", e.ino);
            pass.note(Code::DanglingName, subject(), detail);
            continue;
        };
        row.names.fetch_add(1, Ordering::Relaxed);
        if let (Some(child), Some(place)) = (inodes.dir_of(row), place) {
            let child = inodes.dirs.get(child);
            let by = u32::try_from(place + 1).expect("fewer than 2^32 directories fit in memory");
            child.inspect(|c| c.named_by.store(by, Ordering::Relaxed));
        }
        if row.is_damaged {
            continue;
        }
        if kind != row.kind() || e.generation != InodeGen(row.generation) {
            let (says, is) = (u32::from(e.kind) << 12, row.mode & libc::S_IFMT);
            let detail = format!(
                "inode {}: type {says:o} and generation {}, the inode has {is:o} and {}",
                e.ino, e.generation, row.generation
            );
            pass.note(Code::NameMismatch, subject(), detail);
        }
    }
    Ok(())
}

/// Compares the names of what is no directory with its link count.
fn file(pass: &Pass<'_>, row: &Row) {
    let names = row.names.load(Ordering::Relaxed);
    let note = |code, detail: String| pass.note(code, Subject::Inode(Ino(row.ino)), detail);
    if row.orphan == OrphanState::Dead && (names > 0 || row.nlink > 0) && !row.is_damaged {
        let nlink = row.nlink;
        let detail = format!("it is being removed, but has {names} names and link count {nlink}");
        return note(Code::Orphan, detail);
    }
    let is_dir = row.kind() == Some(FileKind::Directory);
    if is_dir || row.orphan == OrphanState::Dead {
        return;
    }
    if names == 0 {
        note(Code::NoName, format!("link count {}", row.nlink));
    } else if names != row.nlink && !row.is_damaged {
        note(
            Code::LinkCount,
            format!("link count {}, {names} names", row.nlink),
        );
    }
}

/// Compares what a directory says with its entries.
fn directory(pass: &Pass<'_>, inodes: &Inodes, dir: &Dir) {
    let row = inodes.row_of(dir);
    if row.is_damaged {
        return;
    }
    let note = |code, detail: String| pass.note(code, Subject::Inode(Ino(row.ino)), detail);
    let entries = dir.entries.load(Ordering::Relaxed);
    let subdirs = dir.subdirs.load(Ordering::Relaxed);
    if row.orphan == OrphanState::Dead {
        if entries > 0 {
            let detail = format!("it is being removed, but has {entries} entries");
            note(Code::Orphan, detail);
        }
        return;
    }
    // Entries that cannot be read are missing here, and that is known already.
    if !row.is_opaque() && !pass.is_incomplete(Letter::Dirent) {
        if row.size_bytes != entries {
            let says = row.size_bytes;
            note(
                Code::DirectorySize,
                format!("it says {says} entries, and has {entries}"),
            );
        }
        if u64::from(row.nlink) != 2 + u64::from(subdirs) {
            let detail = format!("link count {}, {subdirs} subdirectories", row.nlink);
            note(Code::DirectoryLinks, detail);
        }
    }
    let names = row.names.load(Ordering::Relaxed);
    if names > 1 {
        note(Code::DirectoryParent, format!("{names} names lead to it"));
    }
    let named_by = parent_place(dir).and_then(|i| inodes.dirs.get(i));
    let named_by = named_by.map(|d| inodes.row_of(d).ino);
    let is_root = row.ino == Ino::ROOT.0;
    let expected = if is_root { Some(row.ino) } else { named_by };
    if let Some(expected) = expected.filter(|p| *p != dir.parent) {
        let says = dir.parent;
        note(
            Code::DirectoryParent,
            format!("it says it lies in inode {says}, and lies in {expected}"),
        );
    }
    if is_root && names > 0 {
        note(
            Code::DirectoryParent,
            "a name leads to the root directory".into(),
        );
    }
}

/// Returns the place of the directory that names this one.
pub(super) fn parent_place(dir: &Dir) -> Option<usize> {
    usize::try_from(dir.named_by.load(Ordering::Relaxed))
        .ok()?
        .checked_sub(1)
}

/// Notes the tops of what cannot be reached from the root directory: a directory without a name, or
/// one of those that only lead to each other.
fn reach(pass: &Pass<'_>, inodes: &Inodes) {
    let mut state = vec![Reach::Unknown; inodes.dirs.len()];
    let mut path = Vec::new();
    for start in 0..inodes.dirs.len() {
        path.clear();
        let mut at = Some(start);
        let end = loop {
            let Some(place) = at else {
                break Reach::No;
            };
            let (Some(dir), Some(known)) = (inodes.dirs.get(place), state.get_mut(place)) else {
                break Reach::No;
            };
            let row = inodes.row_of(dir);
            match *known {
                Reach::Unknown if row.ino == Ino::ROOT.0 => {
                    *known = Reach::Yes;
                    break Reach::Yes;
                }
                Reach::Unknown => {
                    *known = Reach::Open;
                    path.push(place);
                    at = parent_place(dir);
                    let is_expected = row.orphan == OrphanState::Dead;
                    // What is damaged and has no name may be no directory at all.
                    let is_named = at.is_some() || row.is_damaged;
                    if !is_named && !is_expected {
                        pass.note(
                            Code::Unreachable,
                            Subject::Inode(Ino(row.ino)),
                            "no name leads to it",
                        );
                    }
                }
                Reach::Open => {
                    let detail = "it lies below itself";
                    pass.note(Code::Unreachable, Subject::Inode(Ino(row.ino)), detail);
                    break Reach::No;
                }
                other => break other,
            }
        };
        for place in &path {
            if let Some(known) = state.get_mut(*place) {
                *known = end;
            }
        }
    }
}
