//! The inodes to which damaged records belong: their keys hold only hashes of the numbers.

use std::collections::BTreeMap;

use crate::base::{Ino, PAGE_BYTES, PageIx};
use crate::format::key::{Key, Letter};
use crate::meta::{GROUP_CHUNKS, Names};

use super::fault::{Fault, Subject};
use super::inodes::Inodes;
use super::pass::{Pass, hash_of, number_of, pack_of};

/// The inodes whose records have these hashes in their keys, by letter and hash.
type Owners = BTreeMap<(u8, [u8; 16]), Vec<u64>>;

/// Returns the hash of a number in the keys of one letter.
type Hash<'a> = &'a dyn Fn(Ino) -> [u8; 16];

/// Lets faults of records be about the files those belong to, where that can be found.
pub(super) fn find(pass: &Pass<'_>, inodes: &Inodes, mut faults: Vec<Fault>) -> Vec<Fault> {
    let mut owners = Owners::new();
    for fault in &faults {
        if let Subject::Record(key) = &fault.subject
            && let Some(letter) = letter_of(key)
        {
            owners.insert((letter as u8, hash_in(key)), Vec::new());
        }
    }
    look_up(&pass.names, inodes, &mut owners);
    for fault in &mut faults {
        if let Subject::Record(key) = fault.subject
            && let Some(subject) = owner(pass, inodes, &owners, &key)
        {
            fault.detail = match fault.detail.is_empty() {
                true => format!("record {key:?}"),
                false => format!("record {key:?}: {}", fault.detail),
            };
            fault.subject = subject;
        }
    }
    faults
}

fn letter_of(key: &Key) -> Option<Letter> {
    key.as_bytes().first().copied().and_then(Letter::from_byte)
}

/// Returns the hash in a key, of keys that have one.
fn hash_in(key: &Key) -> [u8; 16] {
    match key.as_bytes().len() {
        17.. => hash_of(key),
        _ => [0; 16],
    }
}

/// Tries the numbers of all inodes, for the letters that are asked for.
fn look_up(names: &Names, inodes: &Inodes, owners: &mut Owners) {
    let hashes: [(Letter, Hash<'_>); 5] = [
        (Letter::Inode, &|ino| hash_of(&names.inode(ino))),
        (Letter::Extents, &|ino| hash_of(&names.extents(ino, 0))),
        (Letter::Page, &|ino| hash_of(&names.page(ino, PageIx(0)))),
        (Letter::Xattr, &|ino| hash_of(&names.xattr(ino, b""))),
        (Letter::Orphan, &|ino| hash_of(&names.orphan(ino))),
    ];
    for (letter, hash) in hashes {
        let letter = letter as u8;
        let mut asked = owners.range((letter, [0; 16])..(letter + 1, [0; 16]));
        if asked.next().is_none() {
            continue;
        }
        for row in &inodes.rows {
            if let Some(inos) = owners.get_mut(&(letter, hash(Ino(row.ino)))) {
                inos.push(row.ino);
            }
        }
    }
}

/// Returns what the record at a key is about.
fn owner(pass: &Pass<'_>, inodes: &Inodes, owners: &Owners, key: &Key) -> Option<Subject> {
    let letter = letter_of(key)?;
    let inos = owners.get(&(letter as u8, hash_in(key)));
    let first = || inos?.first().map(|i| Ino(*i));
    let part = |unit: u64| {
        Some(Subject::Data(
            first()?,
            number_of(key).saturating_mul(unit),
            unit,
        ))
    };
    match letter {
        Letter::Inode => {
            let low = key.as_bytes().last().copied().map(u64::from);
            let ino = inos?.iter().find(|i| Some(**i & 0xff) == low)?;
            Some(Subject::Inode(Ino(*ino)))
        }
        Letter::Extents => {
            let chunk_bytes = u64::from(pass.target.chunk_bytes);
            part(chunk_bytes.saturating_mul(GROUP_CHUNKS as u64))
        }
        Letter::Page => part(PAGE_BYTES as u64),
        Letter::Xattr | Letter::Orphan => first().map(Subject::Inode),
        Letter::Dirent => {
            let dir = inodes.dir(&hash_of(key)).and_then(|i| inodes.dirs.get(i))?;
            Some(Subject::Inode(Ino(inodes.row_of(dir).ino)))
        }
        Letter::Account | Letter::PackList | Letter::Punch => Some(Subject::Pack(pack_of(key).0)),
        Letter::Block | Letter::Root => None,
    }
}
