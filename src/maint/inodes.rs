//! The table of all inodes: what they say, and what the passes count for them.
//!
//! A row has 64 bytes, a directory 80 more. The key of an inode holds only a hash of the upper bits of
//! its number: a file tells its number itself, and a group of 256 numbers that holds only directories
//! is found by trying the numbers that were given so far.

use crate::base::Ino;
use crate::base::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::crypto::PrfDomain;
use crate::format::key::{Key, Letter};
use crate::fs::FileKind;
use crate::meta::{Inode, InodeFlags, Orphan};

use super::CheckError;
use super::fault::Subject;
use super::finding::Code;
use super::pass::{Decoded, Pass, hash_of};

/// Groups of 256 inode numbers that are tried at most: 2^36 inodes, about two minutes.
const GROUPS_MAX: u64 = 1 << 28;

/// An inode.
#[derive(Default)]
pub(super) struct Row {
    pub(super) ino: u64,
    pub(super) generation: u64,
    pub(super) size_bytes: u64,
    pub(super) used_pages: u64,
    pub(super) nlink: u32,
    pub(super) mode: u32,
    /// Of a directory, its place in [`Inodes::dirs`] and one more.
    dir: u32,
    pub(super) flags: u8,
    pub(super) orphan: OrphanState,
    /// Its record, or one of its own, is damaged: what is counted for it proves nothing.
    opaque: AtomicBool,
    /// Its record is not authentic or malformed: nothing that it says is known.
    pub(super) is_damaged: bool,
    /// Names that lead to it.
    pub(super) names: AtomicU32,
    /// Chunks of it that hold data.
    pub(super) filled: AtomicU64,
}

/// What an orphan record says of an inode.
#[derive(Default, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OrphanState {
    #[default]
    None,
    /// Stored data is being cut.
    Cut,
    /// It has no name and is about to go.
    Dead,
}

/// A directory.
pub(super) struct Dir {
    /// Its row.
    pub(super) row: u32,
    /// The first half of the keys of its entries.
    pub(super) hash: [u8; 16],
    pub(super) parent: u64,
    /// Entries found.
    pub(super) entries: AtomicU64,
    /// Entries found that lead to directories.
    pub(super) subdirs: AtomicU32,
    /// The directory that names it, by its place and one more; the last one met if there are several.
    pub(super) named_by: AtomicU32,
}

impl Row {
    pub(super) fn kind(&self) -> Option<FileKind> {
        FileKind::from_mode(self.mode)
    }

    pub(super) fn is_regular(&self) -> bool {
        !self.is_damaged && self.kind() == Some(FileKind::Regular)
    }

    pub(super) fn has_extents(&self) -> bool {
        u32::from(self.flags) & InodeFlags::EXTENTS != 0
    }

    /// Returns true if extents may belong to it.
    pub(super) fn may_have_extents(&self) -> bool {
        self.is_regular() && self.has_extents() || self.is_damaged
    }

    /// Returns how many of the `len` bytes at `offset` lie before the end, if that is known.
    pub(super) fn len_at(&self, offset: u64, len: u64) -> u64 {
        match self.is_damaged {
            true => len,
            false => len.min(self.size_bytes.saturating_sub(offset)),
        }
    }

    pub(super) fn has_xattrs(&self) -> bool {
        u32::from(self.flags) & InodeFlags::XATTRS != 0
    }

    pub(super) fn is_opaque(&self) -> bool {
        self.is_damaged || self.opaque.load(Ordering::Relaxed)
    }

    pub(super) fn set_opaque(&self) {
        self.opaque.store(true, Ordering::Relaxed);
    }
}

/// All inodes by their number.
pub(super) struct Inodes {
    pub(super) rows: Vec<Row>,
    /// All directories by the hash in the keys of their entries.
    pub(super) dirs: Vec<Dir>,
}

/// A record of the first pass: its row without a number, the low byte of that, and its parent.
struct Raw {
    low: u8,
    parent: u64,
    row: Row,
}

/// Inodes whose numbers differ only in the low byte.
struct Group {
    hash: [u8; 16],
    /// The upper bits of their numbers, once they are known.
    number: Option<u64>,
    raws: Vec<Raw>,
}

impl Inodes {
    /// Reads all inodes.
    pub(super) fn load(pass: &Pass<'_>, next_ino: u64) -> Result<Self, CheckError> {
        let pieces = pass.over(
            Letter::Inode,
            |groups: &mut Vec<Group>, key, record| add(pass, groups, key, &record.payload),
            |groups, key| {
                let row = Row {
                    is_damaged: true,
                    ..Row::default()
                };
                let parent = 0;
                let low = low_of(key);
                group(groups, key).raws.push(Raw { low, parent, row });
            },
        )?;
        let mut groups: Vec<Group> = pieces.into_iter().flatten().collect();
        resolve(pass, &mut groups, next_ino)?;
        let count = groups.iter().map(|g| g.raws.len()).sum();
        let (mut rows, mut parents) = (Vec::with_capacity(count), Vec::new());
        for group in groups {
            take(pass, group, next_ino, &mut rows, &mut parents);
        }
        rows.sort_unstable_by_key(|r: &Row| r.ino);
        let mut inodes = Self {
            rows,
            dirs: Vec::new(),
        };
        inodes.load_dirs(pass, &parents);
        inodes.load_orphans(pass)?;
        Ok(inodes)
    }

    /// Returns the row of an inode.
    pub(super) fn get(&self, ino: Ino) -> Option<&Row> {
        self.index(ino).and_then(|i| self.rows.get(i))
    }

    pub(super) fn index(&self, ino: Ino) -> Option<usize> {
        self.rows.binary_search_by_key(&ino.0, |r| r.ino).ok()
    }

    /// Returns the directory whose entries have keys with this hash.
    pub(super) fn dir(&self, hash: &[u8; 16]) -> Option<usize> {
        self.dirs.binary_search_by_key(hash, |d| d.hash).ok()
    }

    /// Returns the place in `dirs` of a row.
    pub(super) fn dir_of(&self, row: &Row) -> Option<usize> {
        usize::try_from(row.dir).ok()?.checked_sub(1)
    }

    /// Returns the row of a directory.
    pub(super) fn row_of(&self, dir: &Dir) -> &Row {
        let row = usize::try_from(dir.row).ok().and_then(|i| self.rows.get(i));
        row.expect("a directory has a row")
    }

    /// Returns the rows that `choose` takes with a hash of their number, by that.
    pub(super) fn hashed(
        &self,
        choose: impl Fn(&Row) -> bool,
        hash: impl Fn(Ino) -> [u8; 16],
    ) -> Vec<([u8; 16], u32)> {
        let chosen = self.rows.iter().zip(0..).filter(|(r, _)| choose(r));
        let mut out: Vec<_> = chosen.map(|(r, i)| (hash(Ino(r.ino)), i)).collect();
        out.sort_unstable();
        out
    }

    /// Returns the row with a hash among those of [`Self::hashed`].
    pub(super) fn find(&self, table: &[([u8; 16], u32)], hash: &[u8; 16]) -> Option<(&Row, u32)> {
        let at = table.binary_search_by_key(hash, |(h, _)| *h).ok()?;
        let (_, index) = table.get(at)?;
        let row = self.rows.get(usize::try_from(*index).ok()?)?;
        Some((row, *index))
    }

    fn load_dirs(&mut self, pass: &Pass<'_>, parents: &[(u64, u64)]) {
        for (ino, parent) in parents {
            let Some(row) = self.index(Ino(*ino)) else {
                continue;
            };
            self.dirs.push(Dir {
                row: u32::try_from(row).expect("fewer than 2^32 inodes fit in memory"),
                hash: hash_of(&pass.names.dirent(Ino(*ino), &[0; 16])),
                parent: *parent,
                entries: AtomicU64::new(0),
                subdirs: AtomicU32::new(0),
                named_by: AtomicU32::new(0),
            });
        }
        self.dirs.sort_unstable_by_key(|d| d.hash);
        for (dir, place) in self.dirs.iter().zip(1..) {
            let row = usize::try_from(dir.row).ok();
            if let Some(row) = row.and_then(|i| self.rows.get_mut(i)) {
                row.dir = place;
            }
        }
    }

    fn load_orphans(&mut self, pass: &Pass<'_>) -> Result<(), CheckError> {
        let pieces = pass.over(
            Letter::Orphan,
            |found: &mut Vec<(Key, Orphan)>, key, record| {
                found.push((*key, Orphan::decode(&record.payload)?));
                Ok(())
            },
            |_, _| {},
        )?;
        for (key, orphan) in pieces.into_iter().flatten() {
            let index = self.index(orphan.ino);
            let row = index.and_then(|i| self.rows.get_mut(i));
            match row {
                _ if pass.names.orphan(orphan.ino) != key => {
                    let detail =
                        format!("it names inode {}, whose record lies elsewhere", orphan.ino);
                    pass.note(Code::Orphan, Subject::Record(key), detail);
                }
                // A removal that was finished takes its record with it.
                None => {
                    let detail = "the inode does not exist";
                    pass.note(Code::Orphan, Subject::Inode(orphan.ino), detail);
                }
                Some(row) => {
                    row.orphan = match orphan.dead {
                        true => OrphanState::Dead,
                        false => OrphanState::Cut,
                    };
                }
            }
        }
        Ok(())
    }
}

fn low_of(key: &Key) -> u8 {
    key.as_bytes().last().copied().unwrap_or(0)
}

/// Returns the group of a key, which is the last one or a new one: the keys come in their order.
fn group<'g>(groups: &'g mut Vec<Group>, key: &Key) -> &'g mut Group {
    let hash = hash_of(key);
    if groups.last().is_none_or(|g| g.hash != hash) {
        groups.push(Group {
            hash,
            number: None,
            raws: Vec::new(),
        });
    }
    groups.last_mut().expect("there is one now")
}

fn add(pass: &Pass<'_>, groups: &mut Vec<Group>, key: &Key, payload: &[u8]) -> Decoded {
    let inode = Inode::decode(payload)?;
    let group = group(groups, key);
    if !inode.is_directory() && group.number.is_none() && pass.names.inode(inode.parent) == *key {
        group.number = Some(inode.parent.0 >> 8);
    }
    group.raws.push(Raw {
        low: low_of(key),
        parent: inode.parent.0,
        row: Row {
            generation: inode.generation.0,
            size_bytes: inode.size_bytes,
            used_pages: inode.used_pages,
            nlink: inode.nlink,
            mode: inode.mode,
            flags: u8::try_from(inode.flags & 0xff).expect("eight bits"),
            is_damaged: false,
            ..Row::default()
        },
    });
    check_attributes(pass, key, &inode);
    Ok(())
}

fn check_attributes(pass: &Pass<'_>, key: &Key, inode: &Inode) {
    let note = |detail: String| pass.note(Code::Attributes, Subject::Record(*key), detail);
    let kind = FileKind::from_mode(inode.mode);
    if kind.is_none() {
        note(format!("type and permissions {:o}", inode.mode));
    }
    if inode.flags & !(InodeFlags::EXTENTS | InodeFlags::XATTRS) != 0 {
        note(format!("flags {:x}", inode.flags));
    }
    let target = inode.target.len() as u64;
    if kind == Some(FileKind::Symlink) && inode.size_bytes != target {
        let size = inode.size_bytes;
        note(format!("size {size} of a symlink with {target} bytes"));
    }
    if kind != Some(FileKind::Symlink) && target > 0 {
        note("a target of what is no symlink".into());
    }
    let is_sized = matches!(
        kind,
        Some(FileKind::Regular | FileKind::Directory | FileKind::Symlink) | None
    );
    if !is_sized && inode.size_bytes > 0 {
        note(format!("size {} of a special file", inode.size_bytes));
    }
    if kind != Some(FileKind::Regular) && inode.used_pages > 0 {
        note(format!("{} pages of what is no file", inode.used_pages));
    }
    if inode.generation.0 > pass.generation.0 {
        note(format!("created in generation {}", inode.generation));
    }
}

/// Finds the numbers of the groups that no file has told.
fn resolve(pass: &Pass<'_>, groups: &mut [Group], next_ino: u64) -> Result<(), CheckError> {
    let unknown = groups.iter().filter(|g| g.number.is_none());
    let mut left = unknown.count();
    let keyset = pass.target.records.keyset();
    let mut number = 0;
    while left > 0 && number <= (next_ino >> 8).min(GROUPS_MAX) {
        let hash = keyset.prf16(PrfDomain::Inode, &[&number.to_le_bytes()]);
        // The groups are in the order of their hashes.
        if let Ok(at) = groups.binary_search_by_key(&hash, |g| g.hash)
            && let Some(group) = groups.get_mut(at).filter(|g| g.number.is_none())
        {
            group.number = Some(number);
            left -= 1;
        }
        number += 1;
        if number % 4096 == 0 {
            pass.advance(0);
            pass.go_on()?;
        }
    }
    Ok(())
}

/// Gives the inodes of a group their numbers.
fn take(
    pass: &Pass<'_>,
    group: Group,
    next_ino: u64,
    rows: &mut Vec<Row>,
    parents: &mut Vec<(u64, u64)>,
) {
    let Some(number) = group.number else {
        for raw in group.raws {
            let key = Key::new(Letter::Inode, &[&group.hash, &[raw.low]]);
            let detail = "its number is not known";
            pass.note(Code::InodePlace, Subject::Record(key), detail);
        }
        return;
    };
    for mut raw in group.raws {
        let ino = number << 8 | u64::from(raw.low);
        raw.row.ino = ino;
        let is_dir = raw.row.kind() == Some(FileKind::Directory);
        if !is_dir && !raw.row.is_damaged && raw.parent != ino {
            let detail = format!("it says number {}", raw.parent);
            pass.note(Code::InodePlace, Subject::Inode(Ino(ino)), detail);
        }
        if ino >= next_ino {
            let detail = format!("inode {ino} exists, the next one would be {next_ino}");
            pass.note(Code::NextNumber, Subject::Inode(Ino(ino)), detail);
        }
        // What is damaged may be a directory, with names that lie there.
        if is_dir || raw.row.is_damaged {
            parents.push((ino, raw.parent));
        }
        rows.push(raw.row);
    }
}
