//! Content store: blocks named by content, reference counts, frames, compression, packs, the cleaner.

use thiserror::Error;

use crate::base::ContentId;
use crate::base::sync::Arc;
use crate::sealed::{SealedError, SealedPacks};
use crate::txn::{Op, Txn, TxnError};

/// Why a block could not be stored or read.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum BlockError {
    /// The transaction layer failed.
    #[error(transparent)]
    Txn(#[from] TxnError),
    /// The content of a block is not authentic, missing, or malformed; the code is stable.
    #[error("{code}: block {id}")]
    Damaged {
        /// C-AEAD, C-MISSING, C-IDMISMATCH or C-DECODE.
        code: &'static str,
        /// The block.
        id: ContentId,
    },
    /// The packs failed.
    #[error("{message}")]
    Store {
        /// The cause with its chain.
        message: String,
        /// The store's file system is full.
        no_space: bool,
    },
}

impl From<SealedError> for BlockError {
    fn from(e: SealedError) -> Self {
        Self::Txn(TxnError::from(e))
    }
}

/// How frames are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    None,
    /// lz4.
    #[default]
    Lz4,
    /// zstd, level 3.
    Zstd,
}

/// Fixed properties of the content store of a volume.
#[derive(Debug, Clone, Copy)]
pub struct BlockSettings {
    /// Plaintext bytes of a chunk, 16 KiB to 1 MiB, a power of two.
    pub chunk_bytes: u32,
    /// How new frames are compressed.
    pub compression: Compression,
    /// Bound of the cache of opened chunks, in bytes.
    pub cache_bytes: usize,
}

/// What the content store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlockStats {
    /// Blocks with at least one reference.
    pub blocks: u64,
    /// Bytes written to packs and neither punched nor removed.
    pub stored_bytes: u64,
    /// Sealed bytes of the live blocks.
    pub live_bytes: u64,
}

/// Called once, from any thread, when a landing is known.
pub type Landed = Box<dyn FnOnce(Result<(), BlockError>) + Send>;

/// A chunk handed to the store and not yet referenced by a commit: keeps its block from being
/// forgotten. Dropping it unreferenced gives the space back if nobody else holds it.
pub struct Stored {
    id: ContentId,
}

impl Stored {
    /// Returns the name of the block.
    #[must_use]
    pub fn id(&self) -> ContentId {
        self.id
    }
}

/// The blocks of one open volume.
pub struct Blocks {}

#[expect(
    unused_variables,
    missing_docs,
    clippy::missing_errors_doc,
    clippy::needless_pass_by_value,
    reason = "face only, filled next"
)]
impl Blocks {
    pub fn open(
        txn: Arc<Txn>,
        packs: SealedPacks,
        settings: BlockSettings,
    ) -> Result<Arc<Self>, BlockError> {
        unimplemented!()
    }
    #[must_use]
    pub fn settings(&self) -> BlockSettings {
        unimplemented!()
    }
    /// Hashes, deduplicates, compresses, seals and appends a chunk (1 byte to a whole chunk; what a
    /// block lacks to a whole chunk reads as zeros). Runs on the caller's thread but never waits for
    /// the disk.
    pub fn store(&self, chunk: &[u8]) -> Result<Stored, BlockError> {
        unimplemented!()
    }
    /// Bytes appended and not landed: part of the dirty bound.
    #[must_use]
    pub fn unlanded_bytes(&self) -> usize {
        unimplemented!()
    }
    #[must_use]
    pub fn is_landed(&self, stored: &Stored) -> bool {
        unimplemented!()
    }
    /// Asks for a sync of everything appended so far; calls `done` when it is on the medium.
    pub fn land(&self, done: Landed) {
        unimplemented!()
    }
    /// Takes one reference in this operation. The block has landed. False if it was released by a
    /// commit since it was stored: store it again.
    pub fn reference(&self, op: &mut Op<'_>, stored: &Stored) -> Result<bool, BlockError> {
        unimplemented!()
    }
    /// Takes one more reference of a block that has some.
    pub fn share(&self, op: &mut Op<'_>, id: &ContentId) -> Result<(), BlockError> {
        unimplemented!()
    }
    /// Gives one reference back; the last one kills the block.
    pub fn release(&self, op: &mut Op<'_>, id: &ContentId) -> Result<(), BlockError> {
        unimplemented!()
    }
    /// Fills `out` with the plaintext from `offset`; zeros beyond the block's end. Also serves blocks
    /// that are stored and not yet referenced or landed.
    pub fn read(&self, id: &ContentId, offset: u32, out: &mut [u8]) -> Result<(), BlockError> {
        unimplemented!()
    }
    #[must_use]
    pub fn stats(&self) -> BlockStats {
        unimplemented!()
    }
    /// Bytes that can still be appended before the store is full, the reserve kept back.
    pub fn free_bytes(&self) -> Result<u64, BlockError> {
        unimplemented!()
    }
    /// Lands everything and ends the threads; the last commit may come after it, no `store` may.
    pub fn close(&self) -> Result<(), BlockError> {
        unimplemented!()
    }
}
