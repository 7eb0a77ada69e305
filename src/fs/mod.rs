//! POSIX semantics over records and blocks.
//!
//! `core` holds what every operation needs: transactions, names, the inode cache, the clock. `data`
//! holds file contents: dirty buffers, flush, fold, truncation, orphans, space. The other files are
//! the operations, one family each.
//!
//! Invariants
//! * an operation is one [`crate::txn::Op`]: all of it lands in one group, or nothing;
//! * everything that can fail in it comes before its first change, for nothing is rolled back;
//! * the attributes returned are right at that moment, size and times of dirty data included: the
//!   kernel keeps them without time limit.
//!
//! Locks, in this order: a file's data lock (`data`), the open group (`txn::Op`), the caches and
//! counters.

mod acl;
mod attr;
mod cache;
mod contents;
mod core;
mod create;
mod data;
mod entries;
mod error;
mod list;
mod lookup;
mod lookups;
mod remove;
mod rename;
mod types;
mod xattr;

#[cfg(test)]
mod tests;

pub use error::FsError;
pub use types::{
    Attr, Caller, DirEntry, Done, FileKind, FsSettings, SetAttr, SetTime, StatFs, WriteFlags,
};

use crate::base::sync::{Arc, AtomicBool, Mutex, Weak};
use crate::base::{Clock, Ino, InodeGen, Timestamp};
use crate::block::Blocks;
use crate::meta::{Inode, Names};
use crate::txn::{Op, Txn};

use self::core::Core;
use data::Data;
use lookups::Lookups;

/// An open file system.
///
/// Requests name inodes, never handles. No call waits for the disk's writes: what may have to wait
/// takes a [`Done`].
pub struct Fs {
    me: Weak<Self>,
    core: Arc<Core>,
    data: Arc<Data>,
    blocks: Arc<Blocks>,
    lookups: Lookups,
    mode_lost: Mutex<Option<ModeLost>>,
    is_closed: AtomicBool,
}

/// Told the inode whose mode has lost privileges in a request that does not return attributes.
pub type ModeLost = Arc<dyn Fn(Ino) + Send + Sync>;

impl Fs {
    /// Opens the file system of a volume; also resumes the removals and truncations a crash left.
    ///
    /// # Errors
    /// When there is no root directory, or the store cannot be read.
    pub fn open(
        txn: Arc<Txn>,
        blocks: Arc<Blocks>,
        clock: Arc<dyn Clock>,
        settings: FsSettings,
    ) -> Result<Arc<Self>, FsError> {
        let core = Arc::new(Core::new(txn, clock, settings.read_only));
        Self::with_core(core, blocks, settings.quota_bytes)
    }

    fn with_core(
        core: Arc<Core>,
        blocks: Arc<Blocks>,
        quota_bytes: Option<u64>,
    ) -> Result<Arc<Self>, FsError> {
        if !core.inode(Ino::ROOT)?.is_directory() {
            return Err(FsError::NotDirectory);
        }
        let data = Data::open(Arc::clone(&core), Arc::clone(&blocks), quota_bytes)?;
        Ok(Arc::new_cyclic(|me| Self {
            me: me.clone(),
            core,
            data,
            blocks,
            lookups: Lookups::new(),
            mode_lost: Mutex::new(None),
            is_closed: AtomicBool::new(false),
        }))
    }

    /// Makes the root directory of a new volume.
    pub fn create_root(
        op: &mut Op<'_>,
        names: &Names,
        now: Timestamp,
        uid: u32,
        gid: u32,
        mode: u32,
    ) {
        let root = Inode {
            mode: libc::S_IFDIR | mode & 0o7777,
            uid,
            gid,
            nlink: 2,
            size_bytes: 0,
            used_pages: 0,
            atime: now,
            mtime: now,
            ctime: now,
            btime: now,
            rdev: 0,
            flags: 0,
            generation: InodeGen(op.group()),
            parent: Ino::ROOT,
            target: Vec::new(),
            xattrs: Vec::new(),
        };
        op.put_new(names.inode(Ino::ROOT), root.encode());
        op.root().inodes += 1;
    }
}
