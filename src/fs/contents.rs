//! Contents of files and durability, handed to `data` and the transactions.

use crate::base::Ino;
use crate::base::sync::{Arc, Ordering};
use crate::txn::Txn;

use super::{Caller, Done, Fs, FsError, WriteFlags};

/// Calls `done` once everything begun so far is durable.
fn commit(txn: &Txn, done: Done<()>) {
    txn.commit(Box::new(move |r| {
        done(r.map(drop).map_err(FsError::from));
    }));
}

impl Fs {
    /// Appends up to `len` bytes to `out`; fewer only at the end of the file.
    ///
    /// # Errors
    /// When the inode does not exist, is a directory, or its contents cannot be read.
    pub fn read(&self, ino: Ino, offset: u64, len: u32, out: &mut Vec<u8>) -> Result<(), FsError> {
        let inode = self.data.live(ino)?;
        check_regular(&inode)?;
        self.data.read(ino, offset, len, out)?;
        self.accessed(ino, &inode);
        Ok(())
    }

    /// Writes all of `data`; `done` is called when there is room for more.
    ///
    /// # Errors
    /// When the inode does not exist or is a directory, the file would be too large, or there is no
    /// room.
    pub fn write(
        &self,
        caller: Caller,
        ino: Ino,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
        done: Done<u32>,
    ) {
        // What the kernel has cached was written before: it must not undo what came since.
        let ready = match flags.cached {
            true => Ok(()),
            false => self.before_change(ino, flags.kill_suidgid),
        };
        match ready {
            Ok(()) => self.data.write(caller, ino, offset, data, flags, done),
            Err(e) => done(Err(e)),
        }
    }

    fn before_change(&self, ino: Ino, kill_suidgid: bool) -> Result<(), FsError> {
        check_regular(&*self.core.inode(ino)?)?;
        self.drop_privileges(ino, kill_suidgid)
    }

    /// Allocates, punches or zeroes a range; `mode` as of fallocate(2).
    ///
    /// # Errors
    /// When the mode is not supported, the inode is no regular file, or there is no room.
    pub fn fallocate(
        &self,
        caller: Caller,
        ino: Ino,
        offset: u64,
        len: u64,
        mode: i32,
        done: Done<()>,
    ) {
        match self.before_change(ino, caller.uid != 0) {
            Ok(()) => self.data.fallocate(caller, ino, offset, len, mode, done),
            Err(e) => done(Err(e)),
        }
    }

    /// Copies a range between files, or inside one; whole chunks are shared.
    ///
    /// # Errors
    /// When an inode is no regular file, or there is no room.
    pub fn copy_file_range(
        &self,
        caller: Caller,
        from: (Ino, u64),
        to: (Ino, u64),
        len: u64,
        done: Done<u32>,
    ) {
        let ready = self.core.inode(from.0).and_then(|i| check_regular(&i));
        match ready.and_then(|()| self.before_change(to.0, caller.uid != 0)) {
            Ok(()) => self.data.copy_file_range(caller, from, to, len, done),
            Err(e) => done(Err(e)),
        }
    }

    /// Makes a file, or the changes of a directory, durable, with every name that leads to it.
    ///
    /// # Errors
    /// When its data cannot be stored, or the volume is poisoned.
    pub fn fsync(&self, ino: Ino, _datasync: bool, done: Done<()>) {
        let txn = Arc::clone(&self.core.txn);
        let flushed = move |r| match r {
            Ok(()) => commit(&txn, done),
            Err(e) => done(Err(e)),
        };
        self.data.flush(ino, Box::new(flushed));
    }

    /// Makes everything acknowledged so far durable.
    ///
    /// # Errors
    /// When data cannot be stored, or the volume is poisoned.
    pub fn sync_all(&self, done: Done<()>) {
        let txn = Arc::clone(&self.core.txn);
        let flushed = move |r| match r {
            Ok(()) => commit(&txn, done),
            Err(e) => done(Err(e)),
        };
        self.data.flush_all(Box::new(flushed));
    }

    /// Ends the file system: orphans die, all data lands, everything is committed with a checkpoint
    /// root, and the threads of all layers below end; waits. A second call does nothing.
    ///
    /// # Errors
    /// When data could not be stored or the last commit fails; what was durable before stays so.
    pub fn shutdown(&self) -> Result<(), FsError> {
        if self.is_closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.blocks.end_cleaning();
        let flushed = self.data.shutdown();
        let landed = self.blocks.close().map_err(FsError::from);
        let committed = self.core.txn.close().map_err(FsError::from);
        flushed.and(landed).and(committed)
    }
}

fn check_regular(inode: &crate::meta::Inode) -> Result<(), FsError> {
    if inode.is_directory() {
        return Err(FsError::IsDirectory);
    }
    if !inode.is_regular() {
        return Err(FsError::Invalid);
    }
    Ok(())
}
