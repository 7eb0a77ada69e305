//! The packs with the sealing of frames inside: the same verbs, for blocks.
//!
//! A pack is a stream of sealed blocks without headers or borders (DESIGN 5.3). [`PackWriter`]
//! appends to one: whole buffers go to the file as they fill, each sync ends on a border of direct
//! I/O, and what a sync has covered is never written again.

use std::collections::HashMap;
use std::io::ErrorKind;

use crate::base::sync::{Arc, Mutex};
use crate::base::{AlignedBuf, ContentId, DIRECT_IO_ALIGN, Epoch, OsRng, PackNo, Rng};
use crate::crypto::{FramePlace, FramePlain, Keyset};
use crate::format::punch::Range;
use crate::kv::{KvError, Packs};

use super::SealedError;

/// Bytes of a pack at most.
pub const PACK_MAX_BYTES: u32 = 64 << 20;

/// Bytes gathered for one write: large enough for direct I/O to reach the medium's speed.
const BUFFER_BYTES: usize = 1 << 20;

const _: () = assert!(BUFFER_BYTES.is_multiple_of(DIRECT_IO_ALIGN));

/// The packs of one volume.
#[derive(Clone)]
pub struct SealedPacks {
    packs: Arc<dyn Packs>,
    keyset: Arc<Keyset>,
    syncs: Arc<Syncs>,
}

/// The packs that were synced, and whether that has failed. A medium reports a failure to one caller
/// only and forgets it then: whoever else has written to the pack must be told too, so one sync of a
/// pack waits for another.
type Syncs = Mutex<HashMap<PackNo, Arc<Mutex<bool>>>>;

impl SealedPacks {
    /// Returns the packs of a store under these keys.
    #[must_use]
    pub fn new(packs: Arc<dyn Packs>, keyset: Arc<Keyset>) -> Self {
        Self {
            packs,
            keyset,
            syncs: Arc::default(),
        }
    }

    /// Returns true with keys that may write.
    #[must_use]
    pub fn can_write(&self) -> bool {
        self.keyset.can_write()
    }

    /// Returns the epoch that new frames are sealed in.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.keyset.active_epoch()
    }

    /// Returns the name of a chunk.
    #[must_use]
    pub fn content_id(&self, chunk: &[u8]) -> ContentId {
        self.keyset.content_id(chunk)
    }

    /// Appends the sealed frames of a block to `out`.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn seal(
        &self,
        id: &ContentId,
        frames: &[FramePlain<'_>],
        out: &mut Vec<u8>,
    ) -> Result<(), SealedError> {
        let sealed = self.keyset.seal_frames(id, frames, out);
        sealed.map_err(|source| SealedError::Frame { id: *id, source })
    }

    /// Opens a frame in place and returns its encoded bytes.
    ///
    /// # Errors
    /// When it is not that frame of that block.
    pub fn open<'a>(
        &self,
        place: FramePlace<'_>,
        sealed: &'a mut [u8],
    ) -> Result<&'a [u8], SealedError> {
        let id = *place.id;
        let opened = self.keyset.open_frame(place, sealed);
        opened.map_err(|source| SealedError::Frame { id, source })
    }

    /// Fills `out` with the sealed bytes at `offset` of a pack.
    ///
    /// # Errors
    /// When the pack is shorter or cannot be read.
    pub fn read(&self, pack: PackNo, offset: u32, out: &mut [u8]) -> Result<(), SealedError> {
        Ok(self.packs.read_at(pack, u64::from(offset), out)?)
    }

    /// Creates a pack and returns its writer.
    ///
    /// # Errors
    /// When it exists or cannot be created.
    pub fn create(&self, pack: PackNo) -> Result<PackWriter, SealedError> {
        self.packs.create(pack)?;
        Ok(self.resume(pack, 0))
    }

    /// Returns the writer of a pack that ends at `end`, a border of direct I/O.
    #[must_use]
    pub fn resume(&self, pack: PackNo, end: u32) -> PackWriter {
        PackWriter {
            packs: self.clone(),
            pack,
            synced: end,
            flushed: end,
            buffer: AlignedBuf::with_capacity(BUFFER_BYTES),
        }
    }

    /// Gives a range of whole 4096-byte blocks back. Returns false where the file system cannot.
    ///
    /// # Errors
    /// When it could but failed.
    pub fn punch(&self, pack: PackNo, range: Range) -> Result<bool, SealedError> {
        let (offset, len) = (u64::from(range.offset), u64::from(range.len));
        Ok(self.packs.punch(pack, offset, len)?)
    }

    /// Returns after all changes of a pack survive a power loss.
    ///
    /// # Errors
    /// When the medium reports a failure, or has reported one for this pack before: what was written
    /// until then may be lost.
    pub fn sync(&self, pack: PackNo) -> Result<(), SealedError> {
        let turn = self.turn(pack);
        let mut has_failed = turn.lock();
        if *has_failed {
            let source = std::io::Error::other("a sync of it has failed before");
            let op = "sync";
            return Err(KvError::Pack { pack, op, source }.into());
        }
        let synced = self.packs.sync(pack);
        *has_failed = synced.is_err();
        Ok(synced?)
    }

    /// Cuts away what a failed sync may have lost.
    fn cut_unsynced(&self, pack: PackNo, synced: u32) -> Result<(), SealedError> {
        let turn = self.turn(pack);
        let mut has_failed = turn.lock();
        self.packs.truncate(pack, u64::from(synced))?;
        *has_failed = false;
        Ok(())
    }

    fn turn(&self, pack: PackNo) -> Arc<Mutex<bool>> {
        Arc::clone(self.syncs.lock().entry(pack).or_default())
    }

    /// Removes a pack.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, pack: PackNo) -> Result<(), SealedError> {
        self.syncs.lock().remove(&pack);
        Ok(self.packs.remove(pack)?)
    }

    /// Returns every pack with its length in bytes, ascending.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self) -> Result<Vec<(PackNo, u64)>, SealedError> {
        Ok(self.packs.list()?)
    }

    /// Returns the bytes the store's file system has free for us.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn free_bytes(&self) -> Result<u64, SealedError> {
        Ok(self.packs.free_bytes()?)
    }

    /// Returns the size of the store's file system, in bytes.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn size_bytes(&self) -> Result<u64, SealedError> {
        Ok(self.packs.size_bytes()?)
    }

    /// Sets the space kept back to `bytes`.
    ///
    /// # Errors
    /// When the space is not there.
    pub fn set_reserve(&self, bytes: u64) -> Result<(), SealedError> {
        Ok(self.packs.set_reserve(bytes)?)
    }
}

/// Appends to one pack.
///
/// Invariants: `synced <= flushed`; both are borders of direct I/O; no byte before `synced` is
/// written again.
pub struct PackWriter {
    packs: SealedPacks,
    pack: PackNo,
    synced: u32,
    flushed: u32,
    buffer: AlignedBuf,
}

impl PackWriter {
    /// Returns the pack.
    #[must_use]
    pub fn pack(&self) -> PackNo {
        self.pack
    }

    /// Returns the byte after the last one appended.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.flushed + len_u32(self.buffer.len())
    }

    /// Returns the byte after the last one that survives a power loss.
    #[must_use]
    pub fn synced(&self) -> u32 {
        self.synced
    }

    /// Appends a sealed block and returns its offset.
    ///
    /// # Errors
    /// When a buffer could not be written; call [`Self::roll_back`] or forget the writer then.
    pub fn append(&mut self, sealed: &[u8]) -> Result<u32, SealedError> {
        let offset = self.end();
        let mut rest = sealed;
        while !rest.is_empty() {
            let taken = self.buffer.append(rest);
            rest = rest.get(taken..).unwrap_or_default();
            if self.buffer.room() == 0 {
                self.flush()?;
            }
        }
        Ok(offset)
    }

    fn flush(&mut self) -> Result<(), SealedError> {
        let offset = u64::from(self.flushed);
        self.packs.packs.write_at(self.pack, offset, &self.buffer)?;
        self.flushed += len_u32(self.buffer.len());
        self.buffer.clear();
        Ok(())
    }

    /// Makes everything appended survive a power loss, and returns the random bytes after it up to
    /// the next border, if any were needed.
    ///
    /// # Errors
    /// When the medium reports a failure: what was appended since the last sync is unknown then.
    pub fn sync(&mut self) -> Result<Option<Range>, SealedError> {
        let end = self.buffer.len();
        let padded = end.next_multiple_of(DIRECT_IO_ALIGN);
        let gap = Range {
            offset: self.end(),
            len: len_u32(padded - end),
        };
        if !self.buffer.is_empty() {
            self.buffer.resize(padded);
            // Zeros would show where a sync ended.
            OsRng.fill(self.buffer.get_mut(end..).unwrap_or_default())?;
            self.flush()?;
        }
        if self.flushed > self.synced {
            self.packs.sync(self.pack)?;
            self.synced = self.flushed;
        }
        Ok((gap.len > 0).then_some(gap))
    }

    /// Forgets what was appended since the last sync and gives its space back.
    ///
    /// # Errors
    /// When the file cannot be cut; the writer is of no use then.
    pub fn roll_back(&mut self) -> Result<(), SealedError> {
        self.buffer.clear();
        self.flushed = self.synced;
        self.packs.cut_unsynced(self.pack, self.synced)
    }
}

fn len_u32(len: usize) -> u32 {
    u32::try_from(len).expect("a buffer has 1 MiB")
}

impl SealedError {
    /// Returns true if the bytes asked for are not there: the pack is gone or too short.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        match self {
            Self::Kv(KvError::Pack { source, .. }) => matches!(
                source.kind(),
                ErrorKind::NotFound | ErrorKind::UnexpectedEof
            ),
            _ => false,
        }
    }
}
