//! Every record of a volume agrees with every other: a whole check, for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::Volume;
use super::volume::CHUNK;
use crate::base::{ContentId, Ino, PAGE_BYTES, PackNo, PageIx};
use crate::format::account::PackAccount;
use crate::format::blockref::BlockRef;
use crate::format::key::{Key, Letter};
use crate::format::punch::{decode_ids, decode_ranges};
use crate::meta::{Dirent, Extents, GROUP_CHUNKS, Inode, InodeFlags, decode_dirents};

const LETTERS: [Letter; 10] = [
    Letter::Block,
    Letter::Dirent,
    Letter::Extents,
    Letter::Punch,
    Letter::Inode,
    Letter::PackList,
    Letter::Orphan,
    Letter::Page,
    Letter::Account,
    Letter::Xattr,
];

/// Pages of a chunk.
const PAGES: u64 = (CHUNK / PAGE_BYTES) as u64;

/// The records of one moment, and those that something has accounted for.
struct Check<'a> {
    v: &'a Volume,
    records: BTreeMap<Key, Vec<u8>>,
    known: BTreeSet<Key>,
    /// References to blocks, by the extents of all files.
    references: BTreeMap<ContentId, u64>,
    used_pages: u64,
    /// As the records of the blocks count them.
    referenced_bytes: u64,
    unique_bytes: u64,
    leaks: bool,
}

/// Checks a volume on which nothing is open, dirty or being removed.
/// `leaks`: blocks may count references that nobody has, which costs their space and no data.
pub(in crate::fs) fn check(v: &Volume, leaks: bool) {
    // Nobody else changes anything while the operation lives.
    let mut op = v.core.txn.begin().unwrap();
    let mut records = BTreeMap::new();
    for letter in LETTERS {
        let from = Key::new(letter, &[]);
        records.extend(op.scan(&from, &from.prefix_end(), usize::MAX).unwrap());
    }
    let mut check = Check {
        v,
        records,
        known: BTreeSet::new(),
        references: BTreeMap::new(),
        used_pages: 0,
        referenced_bytes: 0,
        unique_bytes: 0,
        leaks,
    };
    check.tree();
    check.blocks();
    let unknown: Vec<&Key> = check
        .records
        .keys()
        .filter(|k| !check.known.contains::<Key>(k))
        .collect();
    assert!(unknown.is_empty(), "records of nobody: {unknown:?}");
    let root = op.root();
    assert_eq!(root.used_pages, check.used_pages);
    assert_eq!(root.referenced_bytes, check.referenced_bytes);
    assert_eq!(root.unique_bytes, check.unique_bytes);
    let inodes = check.starting_with(&Key::new(Letter::Inode, &[])).len();
    assert_eq!(root.inodes, inodes as u64);
}

impl Check<'_> {
    fn starting_with(&self, prefix: &Key) -> Vec<(Key, Vec<u8>)> {
        let range = self.records.range(*prefix..prefix.prefix_end());
        range.map(|(k, v)| (*k, v.clone())).collect()
    }

    /// Takes the record that something refers to.
    fn take(&mut self, key: Key) -> &[u8] {
        assert!(self.known.insert(key), "{key:?} belongs to two");
        self.records
            .get(&key)
            .unwrap_or_else(|| panic!("{key:?} is missing"))
    }

    /// Walks all names from the root directory.
    fn tree(&mut self) {
        let mut names: BTreeMap<Ino, Vec<Dirent>> = BTreeMap::new();
        let mut open = vec![(Ino::ROOT, Ino::ROOT)];
        while let Some((ino, parent)) = open.pop() {
            let dir = self.inode(ino);
            assert_eq!(dir.parent, parent, "parent of {ino}");
            let (mut count, mut subdirs) = (0, 0);
            for (key, payload) in self.starting_with(&self.v.core.names.dir(ino)) {
                self.take(key);
                for entry in decode_dirents(&payload).unwrap() {
                    count += 1;
                    if u32::from(entry.kind) << 12 == libc::S_IFDIR {
                        subdirs += 1;
                        open.push((entry.ino, ino));
                    }
                    names.entry(entry.ino).or_default().push(entry);
                }
            }
            assert_eq!(dir.size_bytes, count, "entries of {ino}");
            assert_eq!(dir.nlink, 2 + subdirs, "links of {ino}");
        }
        for (ino, entries) in names {
            let inode = self.any_inode(ino);
            for e in &entries {
                assert_eq!(e.generation, inode.generation, "generation of {ino}");
                assert_eq!(u32::from(e.kind), inode.mode >> 12, "kind of {ino}");
            }
            if inode.is_directory() {
                assert_eq!(entries.len(), 1, "names of directory {ino}");
            } else {
                self.inode(ino);
                assert_eq!(entries.len(), inode.nlink as usize, "names of {ino}");
            }
        }
    }

    fn any_inode(&self, ino: Ino) -> Inode {
        let key = self.v.core.names.inode(ino);
        let payload = self.records.get(&key);
        Inode::decode(payload.unwrap_or_else(|| panic!("{ino} is missing"))).unwrap()
    }

    /// Takes an inode with everything that is its own.
    fn inode(&mut self, ino: Ino) -> Inode {
        let inode = self.any_inode(ino);
        let names = self.v.core.names.clone();
        self.take(names.inode(ino));
        self.used_pages += inode.used_pages;
        let xattrs = self.starting_with(&names.xattrs(ino));
        let flagged = inode.flags & InodeFlags::XATTRS != 0;
        assert!(flagged || xattrs.is_empty(), "xattrs of {ino}");
        for (key, _) in xattrs {
            self.take(key);
        }
        self.contents(ino, &inode);
        inode
    }

    /// Takes the records of a range whose keys end in a number, with that.
    fn numbered(&mut self, range: Range<Key>) -> Vec<(u64, Vec<u8>)> {
        let found = self.records.range(range);
        let found: Vec<(Key, Vec<u8>)> = found.map(|(k, v)| (*k, v.clone())).collect();
        let mut numbered = Vec::new();
        for (key, payload) in found {
            self.take(key);
            let number = u64::from_be_bytes(*key.as_bytes().last_chunk().unwrap());
            numbered.push((number, payload));
        }
        numbered
    }

    fn contents(&mut self, ino: Ino, inode: &Inode) {
        let names = self.v.core.names.clone();
        let chunks = inode.size_bytes.div_ceil(CHUNK as u64);
        let mut pages: BTreeMap<u64, u64> = BTreeMap::new();
        let all = names.page(ino, PageIx(0))..names.page(ino, PageIx(u64::MAX));
        for (page, _) in self.numbered(all) {
            *pages.entry(page / PAGES).or_default() += 1;
        }
        let mut filled = 0;
        let has_extents = inode.flags & InodeFlags::EXTENTS != 0;
        for (group, payload) in self.numbered(names.extents(ino, 0)..names.extents(ino, u64::MAX)) {
            assert!(has_extents, "extents of {ino}");
            let extents = Extents::decode(&payload).unwrap();
            for slot in 0..GROUP_CHUNKS {
                let chunk = group * GROUP_CHUNKS as u64 + slot as u64;
                // A truncation may have taken the last page of a chunk that says it has some.
                let found = pages.remove(&chunk).unwrap_or(0);
                assert!(
                    extents.has_pages(slot) || found == 0,
                    "pages of {ino}, {chunk}"
                );
                if let Some(id) = extents.block(slot) {
                    *self.references.entry(id).or_default() += 1;
                }
                let holds = extents.has_pages(slot) || extents.block(slot).is_some();
                assert!(chunk < chunks || !holds, "{ino} has a chunk beyond its end");
                filled += u64::from(holds);
            }
        }
        if !has_extents {
            filled += u64::from(pages.remove(&0).is_some());
        }
        assert!(pages.is_empty(), "pages of {ino}: {pages:?}");
        if inode.is_regular() {
            let size_pages = inode.size_bytes.div_ceil(PAGE_BYTES as u64);
            let used = (filled * PAGES).min(size_pages);
            assert_eq!(inode.used_pages, used, "used pages of {ino}");
        }
    }

    /// Compares block references, pack accounts and lists with what the files refer to.
    fn blocks(&mut self) {
        let mut places: BTreeMap<PackNo, Vec<(u32, u32, ContentId)>> = BTreeMap::new();
        for (key, payload) in self.starting_with(&Key::new(Letter::Block, &[])) {
            self.take(key);
            let id = ContentId(*key.as_bytes().last_chunk().unwrap());
            let block = BlockRef::decode(&payload).unwrap();
            let counted = self.references.remove(&id).unwrap_or(0);
            let same = block.refs == counted || self.leaks && block.refs > counted;
            assert!(same, "{counted} of {} references of {id}", block.refs);
            self.referenced_bytes += block.refs * block.raw_bytes();
            self.unique_bytes += block.raw_bytes();
            let (at, len) = (block.place.offset, block.shape.sealed_len());
            places
                .entry(block.place.pack)
                .or_default()
                .push((at, at + len, id));
        }
        assert!(self.references.is_empty(), "blocks without a record");
        let packs: BTreeMap<PackNo, u64> = self.v.pack_lens();
        for (key, payload) in self.starting_with(&Key::new(Letter::Account, &[])) {
            self.take(key);
            let no = u32::from_be_bytes(*key.as_bytes().last_chunk().unwrap());
            let blocks = places.remove(&PackNo(no)).unwrap_or_default();
            let account = PackAccount::decode(&payload).unwrap();
            assert!(
                u64::from(account.written) <= packs[&PackNo(no)],
                "pack {no}"
            );
            self.pack(no, &account, blocks);
        }
        assert!(places.is_empty(), "blocks in packs without an account");
    }

    fn pack(&mut self, no: u32, account: &PackAccount, mut blocks: Vec<(u32, u32, ContentId)>) {
        let live: u32 = blocks.iter().map(|(at, end, _)| end - at).sum();
        assert_eq!(account.live, live, "live bytes of pack {no}");
        let mut listed = BTreeSet::new();
        for n in 0..account.lists {
            let ids = self.take(Key::pack_list(PackNo(no), n));
            listed.extend(decode_ids(ids).unwrap());
        }
        for (_, _, id) in &blocks {
            assert!(listed.contains(id), "{id} is not listed for pack {no}");
        }
        let prefix = Key::new(Letter::Punch, &[&no.to_be_bytes()]);
        for (key, payload) in self.starting_with(&prefix) {
            self.take(key);
            let dead = decode_ranges(&payload).unwrap();
            blocks.extend(dead.iter().map(|r| (r.offset, r.end(), ContentId([0; 32]))));
        }
        blocks.sort_unstable();
        let mut last = 0;
        for (at, end, _) in blocks {
            assert!(at >= last, "two owners of byte {at} of pack {no}");
            last = end;
        }
        assert!(
            last <= account.written,
            "a block beyond the end of pack {no}"
        );
    }
}
