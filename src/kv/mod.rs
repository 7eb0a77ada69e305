//! The key-value store and the packs: what lies on the disk below everything sealed.
//!
//! Two traits, each with one real adapter ([`rocks`], [`files`]); tests have one in memory and
//! wrappers that inject faults. Nothing here knows keys, records or plaintext; nothing above `sealed`, `txn` and
//! `volume` may name this layer. No RocksDB or file type crosses its border, batches and scans are
//! bounded, so that another engine can stand in its place.

#[cfg(test)]
pub mod faulty;
pub mod files;
#[cfg(test)]
pub mod memory;
pub mod rocks;
#[cfg(test)]
pub mod small_disk;

#[cfg(test)]
mod tests;

use thiserror::Error;

use crate::base::PackNo;
use crate::base::sync::Arc;

/// What a store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading and writing; what is absent is created.
    Create,
    /// Reading and writing of a store that exists.
    ReadWrite,
    /// Reading only: nothing in the store's directory is changed.
    ReadOnly,
}

/// What went wrong in the store.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KvError {
    /// The engine refused or failed; the text is the engine's own and holds no plaintext.
    #[error("the key-value store failed in {op}: {detail}")]
    Engine {
        /// The verb that failed.
        op: &'static str,
        /// The engine's message.
        detail: String,
    },
    /// The store is open elsewhere.
    #[error("the key-value store is in use by another process")]
    Busy,
    /// The store's file system is full.
    #[error("no space left on the store's file system in {op}")]
    NoSpace {
        /// The verb that failed.
        op: &'static str,
    },
    /// A pack operation failed.
    #[error("pack {pack}: {op} failed")]
    Pack {
        /// The pack.
        pack: PackNo,
        /// The verb that failed.
        op: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The directory of the store cannot be used.
    #[error("the store directory failed in {op}")]
    Io {
        /// The verb that failed.
        op: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// The key families; each is an ordered map of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Inodes, entries, extents, xattrs, block references, pack accounts, root.
    Meta,
    /// Page records.
    Page,
}

/// One change of a batch.
#[derive(Debug, Clone)]
pub enum Change {
    /// Sets a key.
    Put(Family, Vec<u8>, Vec<u8>),
    /// Removes a key; removing an absent one is no error.
    Delete(Family, Vec<u8>),
}

impl Change {
    /// Returns about how many bytes the change takes in the engine's batch.
    fn encoded_bytes(&self) -> usize {
        // A tag, the family's number and two lengths of at most five bytes.
        16 + match self {
            Self::Put(_, k, v) => k.len() + v.len(),
            Self::Delete(_, k) => k.len(),
        }
    }
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Reads of a consistent state.
pub trait KvRead: Send + Sync {
    /// Returns the value of a key.
    ///
    /// # Errors
    /// When the engine cannot read.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, KvError>;

    /// Returns the values of several keys, in their order.
    ///
    /// # Errors
    /// When the engine cannot read.
    fn multi_get(&self, family: Family, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, KvError>;

    /// Returns at most `limit` pairs with `from <= key < to`, in ascending byte order.
    ///
    /// # Errors
    /// When the engine cannot read.
    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<Pair>, KvError>;

    /// Calls `each` for every pair with `from <= key < to`, ascending, without keeping them, until it
    /// returns false. For whole-store passes: does not fill the engine's cache.
    ///
    /// # Errors
    /// When the engine cannot read.
    fn for_each(
        &self,
        family: Family,
        from: &[u8],
        to: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), KvError>;
}

/// A key-value store with atomic batches.
pub trait Kv: KvRead {
    /// Applies all changes or none. With `sync`, returns after they survive a power loss, together
    /// with all batches before them.
    ///
    /// # Errors
    /// When the batch is not known to be applied; the caller must then treat the store as failed.
    fn write(&self, batch: Vec<Change>, sync: bool) -> Result<(), KvError>;

    /// Asks whether the store takes writes again after one has found its file system full. A batch
    /// that has failed so may be written anew then.
    ///
    /// # Errors
    /// [`KvError::NoSpace`] while there is no space, and for some seconds after there is.
    fn recover(&self) -> Result<(), KvError>;

    /// Returns a consistent, read-only view of this moment.
    ///
    /// # Errors
    /// When the engine cannot take one.
    fn snapshot(&self) -> Result<Arc<dyn KvRead>, KvError>;

    /// Moves what is in memory to sorted files, so that the next open need not replay a log.
    ///
    /// # Errors
    /// When the engine cannot write.
    fn flush(&self) -> Result<(), KvError>;

    /// Begins to do what [`Self::flush`] does, without waiting; what was removed leaves the disk soon
    /// after. A failure shows in later calls.
    fn flush_later(&self);

    /// Rewrites the whole key range, so that deleted data leaves the disk.
    ///
    /// # Errors
    /// When the engine cannot write.
    fn compact(&self) -> Result<(), KvError>;

    /// Returns true if the store was opened for reading only.
    fn is_read_only(&self) -> bool {
        false
    }

    /// Returns the memory the engine uses for caches and buffers, in bytes.
    fn memory_bytes(&self) -> u64;
}

/// Append-only files of sealed blocks. Offsets and lengths are in bytes.
pub trait Packs: Send + Sync {
    /// Creates an empty pack and makes its directory entry durable.
    ///
    /// # Errors
    /// When it exists or cannot be created.
    fn create(&self, pack: PackNo) -> Result<(), KvError>;

    /// Writes `data` at `offset`. Both and `data`'s address are multiples of 4096.
    ///
    /// # Errors
    /// When not all of it could be written.
    fn write_at(&self, pack: PackNo, offset: u64, data: &[u8]) -> Result<(), KvError>;

    /// Returns after everything written to the pack survives a power loss.
    ///
    /// # Errors
    /// When the medium reports a failure; what was written since the last sync is then unknown.
    fn sync(&self, pack: PackNo) -> Result<(), KvError>;

    /// Fills `out` from `offset`; any alignment.
    ///
    /// # Errors
    /// When the pack is shorter or cannot be read.
    fn read_at(&self, pack: PackNo, offset: u64, out: &mut [u8]) -> Result<(), KvError>;

    /// Gives the space of whole 4096-byte blocks back; they read as zeros afterwards.
    /// Returns false where the file system cannot.
    ///
    /// # Errors
    /// When it could but failed.
    fn punch(&self, pack: PackNo, offset: u64, len: u64) -> Result<bool, KvError>;

    /// Cuts a pack to `len` bytes.
    ///
    /// # Errors
    /// When the pack cannot be changed.
    fn truncate(&self, pack: PackNo, len: u64) -> Result<(), KvError>;

    /// Removes a pack; its handle is closed once the last read has ended.
    ///
    /// # Errors
    /// When it cannot be removed.
    fn remove(&self, pack: PackNo) -> Result<(), KvError>;

    /// Returns every pack with its length, ascending.
    ///
    /// # Errors
    /// When the directory cannot be read.
    fn list(&self) -> Result<Vec<(PackNo, u64)>, KvError>;

    /// Returns the bytes the store's file system has free for us.
    ///
    /// # Errors
    /// When it cannot be asked.
    fn free_bytes(&self) -> Result<u64, KvError>;

    /// Returns the size of the store's file system, in bytes.
    ///
    /// # Errors
    /// When it cannot be asked.
    fn size_bytes(&self) -> Result<u64, KvError>;

    /// Sets the space kept back for deletes and the cleaner to `bytes` (0 releases it).
    ///
    /// # Errors
    /// When the space is not there.
    fn set_reserve(&self, bytes: u64) -> Result<(), KvError>;
}
