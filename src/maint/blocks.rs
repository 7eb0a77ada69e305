//! The table of all blocks: where they lie, and how many references they still lack.
//!
//! 44 bytes a block, 0.35 GiB for a TiB of chunks of 128 KiB. A block is known by the first half of
//! its content id: that two of a volume share it is as likely as forging a record.

use crate::base::sync::{AtomicBool, AtomicI64, Ordering};
use crate::base::{ContentId, PackNo};
use crate::format::blockref::{BlockRef, FRAMES_MAX};
use crate::format::bytes::DecodeError;
use crate::format::key::{Key, Letter};

use super::CheckError;
use super::fault::Subject;
use super::finding::Code;
use super::pass::{Pass, hash_of};

/// A block.
pub(super) struct Block {
    /// The first half of its content id.
    pub(super) id: [u8; 16],
    /// References that it counts, less those found.
    owed: AtomicI64,
    pub(super) pack: PackNo,
    pub(super) offset: u32,
    /// Sealed bytes; 0 if its record is damaged.
    pub(super) len: u32,
    pub(super) epoch: u32,
    /// The lists of its pack name it.
    pub(super) is_listed: AtomicBool,
}

impl Block {
    pub(super) fn is_damaged(&self) -> bool {
        self.len == 0
    }

    /// Returns the byte after its last one.
    pub(super) fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.len)
    }
}

/// All blocks by their id.
pub(super) struct Blocks {
    pub(super) rows: Vec<Block>,
}

/// Returns the half of an id by which a block is known.
pub(super) fn half(id: &ContentId) -> [u8; 16] {
    *id.0.first_chunk().expect("an id has 32 bytes")
}

/// Returns the content id in a key.
pub(super) fn id_of(key: &Key) -> ContentId {
    let id = key.as_bytes().last_chunk();
    ContentId(*id.expect("the shape of the key was checked"))
}

impl Blocks {
    /// Reads the records of all blocks.
    pub(super) fn load(pass: &Pass<'_>) -> Result<Self, CheckError> {
        let frame_bytes = pass.target.chunk_bytes as usize / FRAMES_MAX;
        let shift = frame_bytes.ilog2();
        let pieces = pass.over(
            Letter::Block,
            |rows: &mut Vec<Block>, key, record| {
                let block = BlockRef::decode(&record.payload)?;
                if u32::from(block.shape.frame_shift()) != shift {
                    let what = "block reference: frames of another size than the volume's";
                    return Err(DecodeError { what });
                }
                rows.push(Block {
                    id: hash_of(key),
                    owed: AtomicI64::new(i64::try_from(block.refs).unwrap_or(i64::MAX)),
                    pack: block.place.pack,
                    offset: block.place.offset,
                    len: block.shape.sealed_len(),
                    epoch: block.place.epoch.0,
                    is_listed: AtomicBool::new(false),
                });
                Ok(())
            },
            |rows, key| {
                rows.push(Block {
                    id: hash_of(key),
                    owed: AtomicI64::new(0),
                    pack: PackNo(0),
                    offset: 0,
                    len: 0,
                    epoch: 0,
                    is_listed: AtomicBool::new(true),
                });
            },
        )?;
        let mut rows = Vec::with_capacity(pieces.iter().map(Vec::len).sum());
        for mut piece in pieces {
            rows.append(&mut piece);
        }
        Ok(Self { rows })
    }

    /// Returns the block with an id.
    pub(super) fn get(&self, id: &ContentId) -> Option<&Block> {
        let at = self.rows.binary_search_by_key(&half(id), |b| b.id).ok()?;
        self.rows.get(at)
    }

    /// Counts a reference; false if there is no such block.
    pub(super) fn refer(&self, id: &ContentId) -> bool {
        let block = self.get(id).filter(|b| !b.is_damaged());
        block.is_some_and(|b| {
            b.owed.fetch_sub(1, Ordering::Relaxed);
            true
        })
    }

    /// Compares the references that blocks count with those found, once all extents were seen.
    pub(super) fn references(&self, pass: &Pass<'_>) -> Result<(), CheckError> {
        let wrong: Vec<[u8; 16]> = {
            let rows = self.rows.iter().filter(|b| !b.is_damaged());
            let wrong = rows.filter(|b| b.owed.load(Ordering::Relaxed) != 0);
            wrong.map(|b| b.id).collect()
        };
        if wrong.is_empty() {
            return Ok(());
        }
        // Their whole ids, and what they count.
        let is_incomplete = pass.is_incomplete(Letter::Extents);
        pass.over(
            Letter::Block,
            |(): &mut (), key, record| {
                if wrong.binary_search(&hash_of(key)).is_err() {
                    return Ok(());
                }
                let id = id_of(key);
                let refs = BlockRef::decode(&record.payload)?.refs;
                let owed = self.get(&id).map_or(0, |b| b.owed.load(Ordering::Relaxed));
                let found = i128::from(refs) - i128::from(owed);
                if owed > 0 && is_incomplete {
                    // They may stand in extents that cannot be read.
                } else if found == 0 {
                    pass.note(
                        Code::Unreferenced,
                        Subject::Block(half(&id)),
                        format!("{refs} counted"),
                    );
                } else {
                    let detail = format!("{refs} counted, {found} found");
                    pass.note(Code::References, Subject::Block(half(&id)), detail);
                }
                Ok(())
            },
            |(), _| {},
        )?;
        Ok(())
    }
}
