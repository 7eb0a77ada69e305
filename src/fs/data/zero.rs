//! Ranges that become zeros, by fallocate: in bounded steps, for a range can be 8 EiB long, and over
//! what a file holds only, for most of that is a hole.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::base::{ChunkIx, Ino};
use crate::fs::{Done, FsError};
use crate::meta::{Extents, GROUP_CHUNKS, InodeFlags};

use super::Data;
use super::file::{Base, File};

/// Extent groups that one step looks at: 128 MiB of a file at the default chunk size.
pub(super) const STEP_GROUPS: usize = 16;

impl Data {
    /// Goes on with a range whose beginning is zeros but in no group yet; then calls `done`.
    pub(super) fn zero_rest(&self, ino: Ino, rest: Range<u64>, done: Done<()>) {
        let me = self.me.clone();
        let flushed = move |r: Result<(), FsError>| match (r, me.upgrade()) {
            (Ok(()), Some(data)) => {
                let jobs = data.jobs.clone();
                data.pace(Box::new(move || jobs.zero(ino, rest, done)));
            }
            (Ok(()), None) => done(Err(FsError::Io("C-STORE"))),
            (Err(e), _) => done(Err(e)),
        };
        self.flush(ino, Box::new(flushed));
    }

    /// Takes the next step of a range.
    pub(super) fn zero_next(&self, ino: Ino, range: Range<u64>, done: Done<()>) {
        let stepped = self.with_file(ino, |f| self.zero_step(ino, f, range));
        match stepped.and_then(|r| r) {
            Ok(None) => self.pace(Box::new(move || done(Ok(())))),
            Ok(Some(rest)) => self.zero_rest(ino, rest, done),
            Err(e) => done(Err(e)),
        }
    }

    /// Makes the beginning of a range read as zeros and returns the rest of it. Whole chunks lose what
    /// they hold.
    pub(super) fn zero_step(
        &self,
        ino: Ino,
        f: &mut File,
        range: Range<u64>,
    ) -> Result<Option<Range<u64>>, FsError> {
        let end = range.end.min(f.size);
        if range.start >= end {
            return Ok(None);
        }
        let chunks = self.geometry.chunk_of(range.start)..self.geometry.chunk_after(end);
        let (filled, rest) = self.filled_chunks(ino, f, chunks)?;
        for ix in filled {
            let (start, next) = (
                self.geometry.start(ix),
                self.geometry.start(ChunkIx(ix.0 + 1)),
            );
            let (from, to) = (start.max(range.start), next.min(end));
            if from == start && (to == next || to == f.size) {
                self.put_whole(ino, f, ix, Base::Hole)?;
                continue;
            }
            let len = usize::try_from(to - from).map_err(|_| FsError::Invalid)?;
            let zeros = vec![0; len];
            for part in self.geometry.parts(from, len) {
                self.put_pages(ino, f, part, &zeros)?;
            }
        }
        Ok(rest.map(|ix| self.geometry.start(ix)..range.end))
    }

    /// Returns the first chunks of a range that hold something, and where to look on.
    fn filled_chunks(
        &self,
        ino: Ino,
        f: &File,
        chunks: Range<ChunkIx>,
    ) -> Result<(BTreeSet<ChunkIx>, Option<ChunkIx>), FsError> {
        let inode = self.core.inode(ino)?;
        let mut filled = BTreeSet::new();
        let mut rest = None;
        if inode.flags & InodeFlags::EXTENTS == 0 {
            // All of it are pages of the first chunk.
            filled.insert(ChunkIx(0));
        } else {
            let groups = self.geometry.slot(chunks.start).0..self.geometry.slot(chunks.end).0 + 1;
            let mut found = self.extent_groups(&*self.core.txn, ino, groups, STEP_GROUPS + 1)?;
            if found.len() > STEP_GROUPS {
                rest = found
                    .pop()
                    .map(|(group, _)| self.geometry.chunk_at(group, 0));
            }
            for (group, payload) in found {
                let e = Extents::decode(&payload)?;
                let holds = |slot: &usize| e.block(*slot).is_some() || e.has_pages(*slot);
                let slots = (0..GROUP_CHUNKS).filter(holds);
                filled.extend(slots.map(|slot| self.geometry.chunk_at(group, slot)));
            }
        }
        let looked_at = chunks.start..rest.unwrap_or(chunks.end);
        filled.retain(|ix| looked_at.contains(ix) && !f.is_void(*ix));
        let dirty = f.chunks.range(looked_at).filter(|(_, c)| !c.is_empty());
        filled.extend(dirty.map(|(ix, _)| *ix));
        Ok((filled, rest))
    }
}
