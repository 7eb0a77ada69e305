//! What every operation needs: transactions, record names, the cache of decoded inodes, the clock.

use crate::base::sync::{Arc, Mutex};
use crate::base::{Clock, Ino, Timestamp};
use crate::format::key::Key;
use crate::meta::{Inode, Names};
use crate::txn::{Op, Txn};

use super::FsError;
use super::cache::RecordCache;

/// Inodes kept in each half of the cache: about 400 bytes each.
const INODES_HALF: usize = 16 << 10;

/// How far the kernel's stamps may be ahead of the clock: one tick, at most 10 ms.
const TICK_NANOS: u32 = 10_000_000;

/// The shared middle of a file system.
pub(super) struct Core {
    pub(super) txn: Arc<Txn>,
    pub(super) names: Names,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) read_only: bool,
    /// The newest change time that the kernel has told.
    told: Mutex<Timestamp>,
    inodes: RecordCache<Ino, Inode>,
}

impl Core {
    pub(super) fn new(txn: Arc<Txn>, clock: Arc<dyn Clock>, read_only: bool) -> Self {
        let names = Names::new(Arc::clone(txn.records().keyset()));
        Self {
            txn,
            names,
            clock,
            read_only,
            told: Mutex::default(),
            inodes: RecordCache::new(INODES_HALF),
        }
    }

    /// Returns the time of day, never before a stamp that the kernel has set meanwhile: its clock of
    /// files goes by ticks as ours, but may be up to one tick ahead of what it shows.
    pub(super) fn now(&self) -> Timestamp {
        let now = self.clock.now();
        let told = *self.told.lock();
        if told > now && told <= now.after(TICK_NANOS) {
            told
        } else {
            now
        }
    }

    /// Notes a change time that the kernel has set.
    pub(super) fn told(&self, ctime: Timestamp) {
        let far = self.clock.now().after(TICK_NANOS);
        let mut told = self.told.lock();
        // One that is far ahead is of a clock that has been set back.
        if ctime > *told || *told > far {
            *told = ctime;
        }
    }

    /// Begins an operation that changes the volume.
    ///
    /// # Errors
    /// When the mount is read-only or the volume poisoned.
    pub(super) fn begin(&self) -> Result<Op<'_>, FsError> {
        if self.read_only {
            return Err(FsError::ReadOnly);
        }
        Ok(self.txn.begin()?)
    }

    /// Returns an inode as the newest operation left it; size and times of dirty data are not in it
    /// (`Data::overlay` adds them).
    ///
    /// # Errors
    /// When there is none, or the store fails.
    pub(super) fn inode(&self, ino: Ino) -> Result<Arc<Inode>, FsError> {
        let mark = self.inodes.mark();
        if let Some(i) = self.inodes.get(ino) {
            return Ok(i);
        }
        let payload = self.txn.get(&self.names.inode(ino))?;
        let inode = Arc::new(Inode::decode(&payload.ok_or(FsError::NoEntry)?)?);
        self.inodes.insert_if_unchanged(ino, &inode, mark);
        Ok(inode)
    }

    /// Returns an inode inside an operation.
    ///
    /// # Errors
    /// When there is none, or the store fails.
    pub(super) fn inode_in(&self, op: &Op<'_>, ino: Ino) -> Result<Arc<Inode>, FsError> {
        // Only operations change the cache, and this one excludes all others: it is up to date.
        if let Some(i) = self.inodes.get(ino) {
            return Ok(i);
        }
        let payload = op.get(&self.names.inode(ino))?;
        let inode = Arc::new(Inode::decode(&payload.ok_or(FsError::NoEntry)?)?);
        self.inodes.set(ino, Some(&inode));
        Ok(inode)
    }

    /// Returns a directory inside an operation, to change it.
    ///
    /// # Errors
    /// When it is none, was removed, or the store fails.
    pub(super) fn directory_in(&self, op: &Op<'_>, ino: Ino) -> Result<Inode, FsError> {
        let inode = self.inode_in(op, ino)?;
        if !inode.is_directory() {
            return Err(FsError::NotDirectory);
        }
        if inode.nlink == 0 {
            return Err(FsError::NoEntry);
        }
        Ok(Inode::clone(&inode))
    }

    /// Brings inodes that are not in the cache into it, with one read of the store.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) fn prefetch(&self, inos: impl Iterator<Item = Ino>) -> Result<(), FsError> {
        let mark = self.inodes.mark();
        let missing: Vec<Ino> = inos.filter(|i| self.inodes.get(*i).is_none()).collect();
        let keys: Vec<Key> = missing.iter().map(|i| self.names.inode(*i)).collect();
        for (ino, payload) in missing.into_iter().zip(self.txn.multi_get(&keys)?) {
            if let Some(payload) = payload {
                let inode = Arc::new(Inode::decode(&payload)?);
                self.inodes.insert_if_unchanged(ino, &inode, mark);
            }
        }
        Ok(())
    }

    /// Sets an inode that exists.
    pub(super) fn put_inode(&self, op: &mut Op<'_>, ino: Ino, inode: Inode) -> Arc<Inode> {
        op.put(self.names.inode(ino), inode.encode());
        let inode = Arc::new(inode);
        self.inodes.set(ino, Some(&inode));
        inode
    }

    /// Sets an inode whose number was never used.
    pub(super) fn put_new_inode(&self, op: &mut Op<'_>, ino: Ino, inode: Inode) -> Arc<Inode> {
        op.put_new(self.names.inode(ino), inode.encode());
        let inode = Arc::new(inode);
        self.inodes.set(ino, Some(&inode));
        inode
    }

    /// Removes an inode.
    pub(super) fn delete_inode(&self, op: &mut Op<'_>, ino: Ino) {
        op.delete(self.names.inode(ino));
        self.inodes.set(ino, None);
    }
}
