//! Content store: blocks named by content, reference counts, frames, compression, packs, the cleaner.
//!
//! A chunk is hashed, compressed and sealed on its caller's thread (`store`, `codec`, `frames`); the pack
//! thread (`landing`) brings it to the medium; an operation gives it a record (`reference`). The
//! cleaner (`cleaner`, `copy`) gives the space of what has died back. `pack` and `state` hold what is
//! known of packs and of blocks that somebody holds, `resume` finds it again at the next start.
//!
//! Invariants
//! * a record names only bytes that are on the medium;
//! * a location that has died never lives again: the same content is appended anew;
//! * no byte that a sync has covered is written again;
//! * a block whose pack cannot be written stays readable from memory while it is held.
//!
//! Locks: an operation, then the one mutex of the state, then nothing. Nothing is hashed, sealed,
//! read or written under it.

mod cache;
mod cleaner;
mod codec;
mod copy;
mod frames;
mod landing;
mod opener;
mod pack;
mod ranges;
mod read;
mod reference;
mod reserve;
mod resume;
mod state;
mod store;

#[cfg(test)]
mod tests;

use thiserror::Error;

use crate::base::ContentId;
use crate::base::sync::{Arc, AtomicU64, AtomicUsize, Condvar, Mutex, Ordering};
use crate::format::blockref::FRAMES_MAX;
use crate::format::record::Kind;
use crate::sealed::{PACK_MAX_BYTES, SealedError, SealedPacks};
use crate::txn::{Op, Txn, TxnError};

use cache::FrameCache;
use cleaner::Cleaning;
use frames::Workspaces;
use landing::Lander;
use reserve::Reserve;
use state::{State, Stop};

pub use codec::Compression;
pub use opener::Opener;
pub use store::Stored;

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

impl BlockError {
    fn closed() -> Self {
        Self::Store {
            message: "the content store is closed".into(),
            no_space: false,
        }
    }
}

/// Turns a failure of the packs into its error.
fn failed(e: SealedError) -> BlockError {
    match TxnError::from(e) {
        TxnError::Sealed {
            message, no_space, ..
        } => BlockError::Store { message, no_space },
        other => other.into(),
    }
}

impl From<SealedError> for BlockError {
    fn from(e: SealedError) -> Self {
        Self::Txn(TxnError::from(e))
    }
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

/// What the callers and the threads of a content store share.
struct Shared {
    txn: Arc<Txn>,
    packs: SealedPacks,
    settings: BlockSettings,
    /// Plaintext bytes of a whole frame, as a power of two: an eighth of a chunk.
    frame_shift: u8,
    /// Bytes of a pack at most.
    pack_bytes: u32,
    state: Mutex<State>,
    wake_packs: Condvar,
    wake_cleaner: Condvar,
    workspaces: Workspaces,
    cache: FrameCache,
    reserve: Reserve,
    cleaning: Mutex<Cleaning>,
    unlanded_bytes: AtomicUsize,
    /// Blocks sent to the packs so far: whether there is foreground work.
    stores: AtomicU64,
    /// No pack file had this number or a higher one at the start.
    first_free_pack: u32,
}

impl Shared {
    fn chunk_len(&self) -> usize {
        FRAMES_MAX << self.frame_shift
    }
}

type Threads = Vec<std::thread::JoinHandle<()>>;

/// The blocks of one open volume.
///
/// Dropped without [`Blocks::close`], it ends as a crash would: what has not landed is lost.
pub struct Blocks {
    shared: Arc<Shared>,
    pack_thread: Mutex<Threads>,
    cleaner: Mutex<Threads>,
}

impl Blocks {
    /// Opens the content store of a volume and, with keys that may write, starts its threads.
    ///
    /// # Errors
    /// When the records or the packs cannot be read.
    ///
    /// # Panics
    /// When the chunk size is not a power of two from 16 KiB to 1 MiB.
    pub fn open(
        txn: Arc<Txn>,
        packs: SealedPacks,
        settings: BlockSettings,
    ) -> Result<Arc<Self>, BlockError> {
        Self::open_sized(txn, packs, settings, PACK_MAX_BYTES)
    }

    /// As [`Self::open`], with packs of another size.
    pub(crate) fn open_sized(
        txn: Arc<Txn>,
        packs: SealedPacks,
        settings: BlockSettings,
        pack_bytes: u32,
    ) -> Result<Arc<Self>, BlockError> {
        let chunk = settings.chunk_bytes;
        assert!(chunk.is_power_of_two() && (16 << 10..=1 << 20).contains(&chunk));
        let frame_shift = u8::try_from(chunk.ilog2() - FRAMES_MAX.ilog2()).expect("11 to 17");
        let mut found = resume::find(&txn, &packs)?;
        let can_write = txn.records().can_write();
        let (writer, reserve) = if can_write {
            let writer = match resume::settle(&txn, &packs, &mut found, pack_bytes) {
                // The scan of the digests was quicker: the volume is there for reading.
                Err(BlockError::Txn(TxnError::Poisoned(_))) => None,
                other => other?,
            };
            (writer, Reserve::take(&packs).map_err(failed)?)
        } else {
            (None, Reserve::none())
        };
        let blocks = txn.count(Kind::BlockRef);
        let shared = Arc::new(Shared {
            txn,
            packs,
            settings,
            frame_shift,
            pack_bytes,
            state: Mutex::new(State::new(found.packs, blocks)),
            wake_packs: Condvar::new(),
            wake_cleaner: Condvar::new(),
            workspaces: Workspaces::default(),
            cache: FrameCache::new(settings.cache_bytes),
            reserve,
            cleaning: Mutex::new(Cleaning::new(found.strays)),
            unlanded_bytes: AtomicUsize::new(0),
            stores: AtomicU64::new(0),
            first_free_pack: found.first_free,
        });
        let weak = Arc::downgrade(&shared);
        shared.txn.on_full(Box::new(move || {
            weak.upgrade().is_some_and(|s| s.reserve.release(&s.packs))
        }));
        let (mut pack_thread, mut cleaner) = (Vec::new(), Vec::new());
        if can_write {
            let lander = Lander::new(Arc::clone(&shared), writer);
            pack_thread.push(spawn("coffer-packs", move || lander.run()));
            let s = Arc::clone(&shared);
            cleaner.push(spawn("coffer-cleaner", move || s.run_cleaner()));
        }
        Ok(Arc::new(Self {
            shared,
            pack_thread: Mutex::new(pack_thread),
            cleaner: Mutex::new(cleaner),
        }))
    }

    /// Cleans at once what can be cleaned now.
    #[cfg(test)]
    pub(crate) fn clean(&self) -> Result<(), BlockError> {
        self.shared.clean()
    }

    /// Returns the fixed properties of the store.
    #[must_use]
    pub fn settings(&self) -> BlockSettings {
        self.shared.settings
    }

    /// Hashes, deduplicates, compresses, seals and appends a chunk (1 byte to a whole chunk; what a
    /// block lacks to a whole chunk reads as zeros). Runs on the caller's thread but never waits for
    /// the disk. Inside an operation only for content of which the caller holds a [`Stored`].
    ///
    /// # Errors
    /// When the store cannot be asked, or there is no randomness.
    ///
    /// # Panics
    /// When the chunk is empty or longer than a chunk.
    pub fn store(&self, chunk: &[u8]) -> Result<Stored, BlockError> {
        self.shared.store(chunk)
    }

    /// Returns the bytes appended and not landed: part of the dirty bound.
    #[must_use]
    pub fn unlanded_bytes(&self) -> usize {
        self.shared.unlanded_bytes.load(Ordering::Acquire)
    }

    /// Returns true if nothing of the block is on its way: it is on the medium, or its landing has
    /// failed and [`Self::reference`] will say so.
    #[must_use]
    pub fn is_landed(&self, stored: &Stored) -> bool {
        let state = self.shared.state.lock();
        let hold = state.holds.get(&stored.id());
        !hold.is_some_and(|h| matches!(h.stage, state::Stage::InFlight(_)))
    }

    /// Asks for a sync of everything appended so far; calls `done` when it is on the medium, or with
    /// the cause why it is not. A failure that nobody has asked for is told to the next who asks.
    pub fn land(&self, done: Landed) {
        self.shared.land(done);
    }

    /// Takes one reference in this operation. The block has landed. False if it was released by a
    /// commit since it was stored, or could not be landed: store it again; until it is dropped,
    /// [`Self::read`] serves it.
    ///
    /// # Errors
    /// When the record of the block cannot be read.
    pub fn reference(&self, op: &mut Op<'_>, stored: &Stored) -> Result<bool, BlockError> {
        self.shared.reference(op, stored)
    }

    /// Takes one more reference of a block that has some.
    ///
    /// # Errors
    /// When the record of the block cannot be read or is missing.
    pub fn share(&self, op: &mut Op<'_>, id: &ContentId) -> Result<(), BlockError> {
        self.shared.share(op, id)
    }

    /// Gives one reference back; the last one kills the block.
    ///
    /// # Errors
    /// When the record of the block cannot be read or is missing.
    pub fn release(&self, op: &mut Op<'_>, id: &ContentId) -> Result<(), BlockError> {
        self.shared.release(op, id)
    }

    /// Fills `out` with the plaintext from `offset`; zeros beyond the block's end. Also serves blocks
    /// that are stored and not yet referenced or landed.
    ///
    /// # Errors
    /// When the block is missing, not authentic or malformed, or the packs cannot be read.
    pub fn read(&self, id: &ContentId, offset: u32, out: &mut [u8]) -> Result<(), BlockError> {
        self.shared.read(id, offset, out)
    }

    /// Returns what the store holds in the latest state.
    #[must_use]
    pub fn stats(&self) -> BlockStats {
        let state = self.shared.state.lock();
        let live = state.packs.values().map(|p| u64::from(p.account.live));
        BlockStats {
            blocks: state.blocks,
            stored_bytes: state.packs.values().map(pack::Pack::stored_bytes).sum(),
            live_bytes: live.sum(),
        }
    }

    /// Returns the bytes that can still be appended before the store is full, the reserve kept back.
    ///
    /// # Errors
    /// When the file system cannot be asked.
    pub fn free_bytes(&self) -> Result<u64, BlockError> {
        let shared = &self.shared;
        let free = shared.reserve.free_bytes(&shared.packs).map_err(failed)?;
        Ok(free.saturating_sub(self.unlanded_bytes() as u64))
    }

    /// Ends the cleaner and gives up all space kept back, so that the last landings and commits have
    /// room: the volume is about to be closed.
    pub fn end_cleaning(&self) {
        self.stop(Stop::Cleaner);
        join(&self.cleaner);
        self.shared.reserve.give_up(&self.shared.packs);
    }

    /// Lands everything and ends the threads; the last commit may come after it, no `store` may.
    ///
    /// # Errors
    /// When something could not be landed.
    pub fn close(&self) -> Result<(), BlockError> {
        self.end_cleaning();
        self.stop(Stop::Close);
        join(&self.pack_thread);
        match self.shared.state.lock().failure.take() {
            None => Ok(()),
            Some(e) => Err(e),
        }
    }

    fn stop(&self, stop: Stop) {
        let mut state = self.shared.state.lock();
        state.stop = state.stop.max(stop);
        self.shared.wake_packs.notify_all();
        self.shared.wake_cleaner.notify_all();
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        self.stop(Stop::Abandon);
        join(&self.cleaner);
        join(&self.pack_thread);
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::thread::JoinHandle<()> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .expect("a thread can be started while the volume opens")
}

fn join(threads: &Mutex<Threads>) {
    for thread in threads.lock().drain(..) {
        // Whoever was told of a landing may have held the store last.
        if thread.thread().id() != std::thread::current().id() {
            drop(thread.join());
        }
    }
}
