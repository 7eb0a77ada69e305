//! Contents: extents, pages and attributes belong to inodes, and lie where those look for them.

use crate::base::sync::{AtomicU64, Ordering};
use crate::base::{Ino, PAGE_BYTES, PageIx};
use crate::format::key::{Key, Letter};
use crate::meta::{Extents, GROUP_CHUNKS, PageRecord, XattrRecord};

use super::CheckError;
use super::blocks::Blocks;
use super::fault::Subject;
use super::finding::Code;
use super::inodes::{Inodes, OrphanState, Row};
use super::pass::{Decoded, Pass, hash_of, number_of};

const PAGE: u64 = PAGE_BYTES as u64;

/// The chunks of an extent record that have pages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Paged {
    row: u32,
    group: u64,
    chunks: u64,
}

/// What stays the same from one page record to the next of the same file.
#[derive(Default)]
struct Run {
    ino: u64,
    hash: [u8; 16],
    row: Option<u32>,
}

/// Looks at all contents; returns how many pages there are.
pub(super) fn check(pass: &Pass<'_>, inodes: &Inodes, blocks: &Blocks) -> Result<u64, CheckError> {
    let contents = Contents {
        pass,
        inodes,
        blocks,
        chunk_bytes: u64::from(pass.target.chunk_bytes),
    };
    let paged = contents.extents()?;
    let pages = contents.pages(&paged)?;
    drop(paged);
    contents.xattrs()?;
    inodes.rows.iter().for_each(|row| contents.used(row));
    Ok(pages)
}

struct Contents<'c, 'a> {
    pass: &'c Pass<'a>,
    inodes: &'c Inodes,
    blocks: &'c Blocks,
    chunk_bytes: u64,
}

impl Contents<'_, '_> {
    /// Looks at all extents; returns which chunks may have pages.
    fn extents(&self) -> Result<Vec<Paged>, CheckError> {
        let names = &self.pass.names;
        let table = self
            .inodes
            .hashed(Row::may_have_extents, |ino| hash_of(&names.extents(ino, 0)));
        let pieces = self.pass.over(
            Letter::Extents,
            |paged: &mut Vec<Paged>, key, record| {
                let extents = Extents::decode(&record.payload)?;
                let found = self.inodes.find(&table, &hash_of(key));
                let Some((row, index)) = found else {
                    self.pass
                        .note(Code::ExtentsOfNobody, Subject::Record(*key), "");
                    // They count as references all the same: nothing is to be lost twice.
                    self.refer(None, 0, &extents);
                    return Ok(());
                };
                let group = number_of(key);
                self.group(row, group, &extents);
                if extents.pages != 0 {
                    paged.push(Paged {
                        row: index,
                        group,
                        chunks: extents.pages,
                    });
                }
                Ok(())
            },
            |_, key| {
                if let Some((row, _)) = self.inodes.find(&table, &hash_of(key)) {
                    row.set_opaque();
                }
            },
        )?;
        let mut paged: Vec<Paged> = pieces.into_iter().flatten().collect();
        paged.sort_unstable();
        Ok(paged)
    }

    /// Looks at the chunks of one extent record.
    fn group(&self, row: &Row, group: u64, extents: &Extents) {
        let n = GROUP_CHUNKS as u64;
        let first = group.saturating_mul(n);
        let mut filled = 0;
        let end = self.chunks(row);
        let mut beyond = None;
        for slot in 0..GROUP_CHUNKS {
            if extents.block(slot).is_none() && !extents.has_pages(slot) {
                continue;
            }
            filled += 1;
            let chunk = first.saturating_add(slot as u64);
            if chunk >= end {
                beyond.get_or_insert(chunk);
            }
        }
        row.filled.fetch_add(filled, Ordering::Relaxed);
        if let Some(chunk) = beyond {
            self.beyond(row, chunk.saturating_mul(self.chunk_bytes));
        }
        self.refer(Some(row), first, extents);
    }

    /// Returns the chunks that a file may have.
    fn chunks(&self, row: &Row) -> u64 {
        match row.orphan {
            // What is being removed may still lie there.
            _ if row.is_damaged => u64::MAX,
            OrphanState::Cut | OrphanState::Dead => u64::MAX,
            OrphanState::None => row.size_bytes.div_ceil(self.chunk_bytes),
        }
    }

    fn beyond(&self, row: &Row, offset: u64) {
        let size = row.size_bytes;
        let detail = format!("data at {offset}, the file ends at {size}");
        let subject = Subject::Inode(Ino(row.ino));
        self.pass.note(Code::BeyondTheEnd, subject, detail);
    }

    /// Counts the references of an extent record, and notes the chunks whose block does not exist,
    /// neighbours together.
    fn refer(&self, row: Option<&Row>, first: u64, extents: &Extents) {
        let mut lost: Option<(u64, u64)> = None;
        for slot in 0..=GROUP_CHUNKS {
            let id = extents.block(slot);
            let is_lost = id.is_some_and(|id| !self.blocks.refer(&id));
            let chunk = first.saturating_add(slot as u64);
            match (&mut lost, is_lost) {
                (Some((_, count)), true) => *count += 1,
                (None, true) => lost = Some((chunk, 1)),
                (_, false) => {
                    if let (Some((chunk, count)), Some(row)) = (lost.take(), row) {
                        self.lost(row, chunk, count);
                    }
                }
            }
        }
    }

    fn lost(&self, row: &Row, chunk: u64, count: u64) {
        let offset = chunk.saturating_mul(self.chunk_bytes);
        let len = count.saturating_mul(self.chunk_bytes);
        let len = row.len_at(offset, len);
        let subject = Subject::Data(Ino(row.ino), offset, len);
        let detail = match count {
            1 => "its block does not exist".to_owned(),
            n => format!("{n} blocks do not exist"),
        };
        self.pass.note(Code::BlockMissing, subject, detail);
    }

    /// Looks at all pages; returns how many there are.
    fn pages(&self, paged: &[Paged]) -> Result<u64, CheckError> {
        let pages = AtomicU64::new(0);
        self.pass.over(
            Letter::Page,
            |run: &mut Run, key, record| {
                pages.fetch_add(1, Ordering::Relaxed);
                self.page(run, paged, key, &PageRecord::decode(&record.payload)?)
            },
            |_, _| {
                pages.fetch_add(1, Ordering::Relaxed);
            },
        )?;
        Ok(pages.into_inner())
    }

    fn page(&self, run: &mut Run, paged: &[Paged], key: &Key, page: &PageRecord) -> Decoded {
        let is_new = run.ino != page.ino.0;
        if is_new {
            let index = self.inodes.index(page.ino);
            *run = Run {
                ino: page.ino.0,
                hash: hash_of(&self.pass.names.page(page.ino, PageIx(0))),
                row: index.and_then(|i| u32::try_from(i).ok()),
            };
        }
        let note = |code, detail: String| self.pass.note(code, Subject::Record(*key), detail);
        let (ino, at) = (page.ino, page.page);
        if hash_of(key) != run.hash || number_of(key) != at.0 {
            note(
                Code::PageOfNobody,
                format!("it says page {at} of inode {ino}"),
            );
            return Ok(());
        }
        let row = run
            .row
            .and_then(|i| Some((i, self.inodes.rows.get(usize::try_from(i).ok()?)?)));
        let Some((index, row)) = row.filter(|(_, r)| r.is_regular() || r.is_damaged) else {
            note(
                Code::PageOfNobody,
                format!("page {at} of inode {ino}, which is no file"),
            );
            return Ok(());
        };
        if row.is_damaged {
            return Ok(());
        }
        let chunk = at.0 / (self.chunk_bytes / PAGE);
        let (group, slot) = (chunk / GROUP_CHUNKS as u64, chunk % GROUP_CHUNKS as u64);
        let is_known = if row.has_extents() {
            let key = |p: &Paged| (p.row, p.group);
            let found = paged.binary_search_by_key(&(index, group), key).ok();
            found
                .and_then(|i| paged.get(i))
                .is_some_and(|p| p.chunks >> slot & 1 == 1)
        } else {
            if is_new && row.used_pages > 0 {
                // It has no extents to say so.
                row.filled.store(1, Ordering::Relaxed);
            }
            chunk == 0 && row.used_pages > 0
        };
        if !is_known && !row.is_opaque() {
            let (offset, len) = (at.0.saturating_mul(PAGE), PAGE);
            let subject = Subject::Data(ino, offset, len);
            self.pass
                .note(Code::HiddenPage, subject, format!("page {at}"));
        } else if at.0 >= row.size_bytes.div_ceil(PAGE) && row.orphan == OrphanState::None {
            self.beyond(row, at.0.saturating_mul(PAGE));
        }
        Ok(())
    }

    /// Looks at the attributes that have records of their own.
    fn xattrs(&self) -> Result<(), CheckError> {
        let names = &self.pass.names;
        let table = self.inodes.hashed(
            |row| row.has_xattrs() || row.is_damaged,
            |ino| hash_of(&names.xattr(ino, b"")),
        );
        self.pass.over(
            Letter::Xattr,
            |(): &mut (), key, record| {
                let xattr = XattrRecord::decode(&record.payload)?;
                let name = String::from_utf8_lossy(&xattr.name).into_owned();
                match self.inodes.find(&table, &hash_of(key)) {
                    None => self.pass.note(Code::Xattr, Subject::Record(*key), name),
                    Some((row, _)) if names.xattr(Ino(row.ino), &xattr.name) != *key => {
                        let detail = format!("{name} lies in the wrong place");
                        self.pass
                            .note(Code::Xattr, Subject::Inode(Ino(row.ino)), detail);
                    }
                    Some(_) => {}
                }
                Ok(())
            },
            |(), _| {},
        )?;
        Ok(())
    }

    /// Compares the pages that a file counts with those it has.
    fn used(&self, row: &Row) {
        if !row.is_regular() || row.is_opaque() {
            return;
        }
        let filled = row.filled.load(Ordering::Relaxed);
        let whole = filled.saturating_mul(self.chunk_bytes / PAGE);
        let size = row.size_bytes.div_ceil(PAGE);
        let mut fits = row.used_pages == whole.min(size);
        if row.orphan != OrphanState::None {
            // Until the end of a removal, what lies beyond the end counts too.
            fits |= row.used_pages == whole;
        }
        if !row.has_extents() && filled == 0 {
            // A truncation may have taken the last page of a file that says it has some.
            fits |= row.used_pages == (self.chunk_bytes / PAGE).min(size);
        }
        if !fits {
            let (says, has) = (row.used_pages, whole.min(size));
            let detail = format!("it counts {says} pages, and has {has}");
            let subject = Subject::Inode(Ino(row.ino));
            self.pass.note(Code::FileUsedPages, subject, detail);
        }
    }
}
