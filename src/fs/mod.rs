//! POSIX semantics over records and blocks.
//!
//! `core` holds what every operation needs: transactions, names, the inode cache, the clock. `data`
//! holds file contents: dirty buffers, flush, fold, truncation, orphans, space. The other files are
//! the operations, one family each.
//!
//! Locks, in this order: a file's data lock (`data`), the open group (`txn::Op`), the caches.

mod cache;
mod core;
mod data;
mod error;
mod types;

pub use error::FsError;
pub use types::{Attr, Caller, DirEntry, Done, FileKind, SetAttr, SetTime, StatFs, WriteFlags};

use crate::base::Ino;

/// An open file system.
///
/// Requests name inodes, never handles. No call waits for the disk's writes: what may have to wait
/// takes a [`Done`].
pub struct Fs {}

#[expect(
    unused_variables,
    missing_docs,
    clippy::missing_errors_doc,
    clippy::needless_pass_by_value,
    clippy::ptr_arg,
    reason = "face only, filled next"
)]
impl Fs {
    /// Counts a lookup when it succeeds.
    pub fn lookup(&self, parent: Ino, name: &[u8]) -> Result<Attr, FsError> {
        unimplemented!()
    }
    pub fn forget(&self, ino: Ino, count: u64) {
        unimplemented!()
    }
    pub fn getattr(&self, ino: Ino) -> Result<Attr, FsError> {
        unimplemented!()
    }
    pub fn setattr(&self, caller: Caller, ino: Ino, set: &SetAttr, done: Done<Attr>) {
        unimplemented!()
    }
    pub fn readlink(&self, ino: Ino) -> Result<Vec<u8>, FsError> {
        unimplemented!()
    }
    /// `mode` with type bits; also makes regular files for create. Counts a lookup.
    pub fn mknod(
        &self,
        caller: Caller,
        parent: Ino,
        name: &[u8],
        mode: u32,
        umask: u32,
        rdev: u32,
    ) -> Result<Attr, FsError> {
        unimplemented!()
    }
    pub fn mkdir(
        &self,
        caller: Caller,
        parent: Ino,
        name: &[u8],
        mode: u32,
        umask: u32,
    ) -> Result<Attr, FsError> {
        unimplemented!()
    }
    pub fn symlink(
        &self,
        caller: Caller,
        parent: Ino,
        name: &[u8],
        target: &[u8],
    ) -> Result<Attr, FsError> {
        unimplemented!()
    }
    pub fn unlink(&self, parent: Ino, name: &[u8]) -> Result<(), FsError> {
        unimplemented!()
    }
    pub fn rmdir(&self, parent: Ino, name: &[u8]) -> Result<(), FsError> {
        unimplemented!()
    }
    /// `flags`: RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT of renameat2(2).
    pub fn rename(
        &self,
        caller: Caller,
        from: (Ino, &[u8]),
        to: (Ino, &[u8]),
        flags: u32,
        done: Done<()>,
    ) {
        unimplemented!()
    }
    pub fn link(&self, ino: Ino, parent: Ino, name: &[u8]) -> Result<Attr, FsError> {
        unimplemented!()
    }
    /// Appends up to `len` bytes to `out`; fewer only at the end of the file.
    pub fn read(&self, ino: Ino, offset: u64, len: u32, out: &mut Vec<u8>) -> Result<(), FsError> {
        unimplemented!()
    }
    pub fn write(
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
    pub fn fsync(&self, ino: Ino, datasync: bool, done: Done<()>) {
        unimplemented!()
    }
    /// Lists from `cookie` (0 = start, `.` and `..` included) until `each` returns false.
    pub fn readdir(
        &self,
        ino: Ino,
        cookie: u64,
        each: &mut dyn FnMut(&DirEntry<'_>) -> bool,
    ) -> Result<(), FsError> {
        unimplemented!()
    }
    /// The same with attributes; each entry taken (true) but `.` and `..` counts a lookup.
    pub fn readdirplus(
        &self,
        ino: Ino,
        cookie: u64,
        each: &mut dyn FnMut(&DirEntry<'_>, &Attr) -> bool,
    ) -> Result<(), FsError> {
        unimplemented!()
    }
    pub fn statfs(&self) -> Result<StatFs, FsError> {
        unimplemented!()
    }
    pub fn setxattr(
        &self,
        caller: Caller,
        ino: Ino,
        name: &[u8],
        value: &[u8],
        flags: i32,
    ) -> Result<(), FsError> {
        unimplemented!()
    }
    pub fn getxattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>, FsError> {
        unimplemented!()
    }
    /// Names, each ended by NUL.
    pub fn listxattr(&self, ino: Ino) -> Result<Vec<u8>, FsError> {
        unimplemented!()
    }
    pub fn removexattr(&self, caller: Caller, ino: Ino, name: &[u8]) -> Result<(), FsError> {
        unimplemented!()
    }
    pub fn fallocate(
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
    pub fn copy_file_range(
        &self,
        caller: Caller,
        from: (Ino, u64),
        to: (Ino, u64),
        len: u64,
        done: Done<u32>,
    ) {
        unimplemented!()
    }
    /// Makes everything acknowledged so far durable.
    pub fn sync_all(&self, done: Done<()>) {
        unimplemented!()
    }
    /// Ends the file system: orphans die, everything is committed with a checkpoint root; waits.
    pub fn shutdown(&self) -> Result<(), FsError> {
        unimplemented!()
    }
}
