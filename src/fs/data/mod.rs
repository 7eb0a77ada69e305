//! Contents of files: dirty buffers, flush, fold, truncation, the end of orphans, space.

use crate::base::Ino;
use crate::base::sync::Arc;
use crate::block::Blocks;
use crate::meta::Inode;
use crate::txn::Op;

use super::core::Core;
use super::{Caller, Done, FsError, StatFs, WriteFlags};

/// The contents of all files of a volume.
pub(super) struct Data {}

#[expect(
    unused_variables,
    missing_docs,
    clippy::missing_errors_doc,
    reason = "face only, filled next"
)]
impl Data {
    /// Also resumes the orphans and truncations a crash left.
    pub(super) fn open(core: Arc<Core>, blocks: Arc<Blocks>) -> Result<Arc<Self>, FsError> {
        unimplemented!()
    }
    /// Puts live size and times of data that is still dirty over a committed inode.
    pub(super) fn overlay(&self, ino: Ino, inode: &mut Inode) {
        unimplemented!()
    }
    /// The kernel or a user has set mtime and ctime: those of dirty data no longer count.
    pub(super) fn times_set(&self, ino: Ino) {
        unimplemented!()
    }
    pub(super) fn read(
        &self,
        ino: Ino,
        offset: u64,
        len: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), FsError> {
        unimplemented!()
    }
    pub(super) fn write(
        &self,
        caller: Caller,
        ino: Ino,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
        done: Done<u32>,
    ) {
        unimplemented!()
    }
    /// Brings what is dirty in a file into a group; then calls `done`, maybe before it returns. What
    /// `done` changes lands in the same group or a later one.
    pub(super) fn flush(&self, ino: Ino, done: Done<()>) {
        unimplemented!()
    }
    /// The same for all files.
    pub(super) fn flush_all(&self, done: Done<()>) {
        unimplemented!()
    }
    /// Sets the size and mtime/ctime; the other attributes are not touched.
    pub(super) fn truncate(&self, ino: Ino, size_bytes: u64) -> Result<(), FsError> {
        unimplemented!()
    }
    pub(super) fn fallocate(
        &self,
        caller: Caller,
        ino: Ino,
        offset: u64,
        len: u64,
        mode: i32,
        done: Done<()>,
    ) {
        unimplemented!()
    }
    pub(super) fn copy_file_range(
        &self,
        caller: Caller,
        from: (Ino, u64),
        to: (Ino, u64),
        len: u64,
        done: Done<u32>,
    ) {
        unimplemented!()
    }
    /// An inode of any type has lost its last name in this operation (`nlink` 0 is already put). If
    /// `held`, the kernel still knows it: it is kept as an orphan until [`Self::forgotten`].
    /// Otherwise it goes now, or soon.
    pub(super) fn unlinked(&self, op: &mut Op<'_>, ino: Ino, held: bool) -> Result<(), FsError> {
        unimplemented!()
    }
    /// The kernel has forgotten an inode: if it is an orphan it goes now, or soon. Cheap if it is none.
    pub(super) fn forgotten(&self, ino: Ino) {
        unimplemented!()
    }
    /// Fails with `NoSpace` when the store's file system has no room left for new metadata. For
    /// operations that make names or inodes, not for those that remove.
    pub(super) fn admit_metadata(&self) -> Result<(), FsError> {
        unimplemented!()
    }
    pub(super) fn statfs(&self) -> Result<StatFs, FsError> {
        unimplemented!()
    }
    /// All orphans go, all data is brought into a group; ends the threads; waits.
    pub(super) fn shutdown(&self) -> Result<(), FsError> {
        unimplemented!()
    }
}
