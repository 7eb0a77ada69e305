//! One method per request: count, decode, call `fs`, encode the reply.
//!
//! What stands here beyond that is what the kernel needs to be told (its source says so, and tests
//! with a real mount):
//! * open, opendir and flush are answered ENOSYS once, then the kernel does them alone and never
//!   sends a release; fsync and fsyncdir never are: ENOSYS there would mean success for ever;
//! * lseek is ENOSYS: the kernel does not write dirty pages back first, and then treats all of a
//!   file as data;
//! * a name that does not exist is an entry with inode 0, so that the kernel remembers it.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags, INodeNo,
    InitFlags, IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr,
    Request, TimeOrNow,
};

use crate::base::sync::Arc;
use crate::base::{Ino, PAGE_BYTES};
use crate::fs::{Caller, Fs, FsError, SetAttr, WriteFlags};

use super::attributes::{KEEP, file_attr, file_type, generation, negative, set_time, timestamp};
use super::error::Missing;
use super::replies::{errno, reply_attr, reply_empty, reply_entry, reply_written, reply_xattr};
use super::requests::{RequestCounts, RequestKind};

/// What we cannot do without. All of it is older than Linux 5.11.
///
/// Never to be asked for: ATOMIC_O_TRUNC (with opens that never reach us the truncation would not
/// either), AUTO_INVAL_DATA (we are the only writer), SETXATTR_EXT (fuser does not decode it),
/// ALLOW_IDMAP (ids are not mapped back).
const NEEDED: InitFlags = InitFlags::FUSE_WRITEBACK_CACHE
    .union(InitFlags::FUSE_PARALLEL_DIROPS)
    .union(InitFlags::FUSE_DO_READDIRPLUS)
    .union(InitFlags::FUSE_READDIRPLUS_AUTO)
    .union(InitFlags::FUSE_ASYNC_DIO)
    .union(InitFlags::FUSE_CACHE_SYMLINKS)
    .union(InitFlags::FUSE_HANDLE_KILLPRIV_V2)
    .union(InitFlags::FUSE_POSIX_ACL)
    .union(InitFlags::FUSE_DONT_MASK)
    .union(InitFlags::FUSE_MAX_PAGES)
    .union(InitFlags::FUSE_EXPORT_SUPPORT)
    .union(InitFlags::FUSE_NO_OPEN_SUPPORT)
    .union(InitFlags::FUSE_NO_OPENDIR_SUPPORT);

/// Bytes of the largest WRITE: what the kernel's 256 pages of a request hold. fuser's default would
/// let every thread keep 16 MiB.
const MAX_WRITE_BYTES: u32 = 1 << 20;

/// Requests the kernel sends ahead of their use (read-ahead, write-back) before it waits.
const MAX_BACKGROUND: u16 = 64;

/// Longest name, in bytes.
const NAME_MAX: u32 = 255;

/// Size of a block in statfs, in bytes.
const STATFS_BLOCK_BYTES: u32 = 4096;
const _: () = assert!(STATFS_BLOCK_BYTES as usize == PAGE_BYTES);

thread_local! {
    /// What a thread reads into before it replies: one buffer for all its requests.
    static READ_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The file system as fuser calls it.
pub(super) struct Adapter {
    fs: Arc<Fs>,
    counts: Arc<RequestCounts>,
}

impl Adapter {
    pub(super) fn new(fs: Arc<Fs>, counts: Arc<RequestCounts>) -> Self {
        Self { fs, counts }
    }

    fn count(&self, kind: RequestKind) {
        self.counts.add(kind);
    }
}

fn ino(n: INodeNo) -> Ino {
    Ino(n.0)
}

fn caller(req: &Request) -> Caller {
    Caller {
        uid: req.uid(),
        gid: req.gid(),
    }
}

impl Filesystem for Adapter {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        agree(config)
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.count(RequestKind::Lookup);
        match self.fs.lookup(ino(parent), name.as_bytes()) {
            Err(FsError::NoEntry) => {
                let none = negative();
                reply.entry(&KEEP, &none, fuser::Generation(0));
            }
            result => reply_entry(reply, result),
        }
    }

    fn forget(&self, _req: &Request, at: INodeNo, nlookup: u64) {
        self.count(RequestKind::Forget);
        self.fs.forget(ino(at), nlookup);
    }

    fn getattr(&self, _req: &Request, at: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        self.count(RequestKind::Getattr);
        reply_attr(reply, self.fs.getattr(ino(at)));
    }

    fn setattr(
        &self,
        req: &Request,
        at: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        self.count(RequestKind::Setattr);
        let set = SetAttr {
            mode,
            uid,
            gid,
            size_bytes: size,
            atime: atime.map(set_time),
            mtime: mtime.map(set_time),
            ctime: ctime.map(timestamp),
        };
        let done = Box::new(move |result| reply_attr(reply, result));
        self.fs.setattr(caller(req), ino(at), &set, done);
    }

    fn readlink(&self, _req: &Request, at: INodeNo, reply: ReplyData) {
        self.count(RequestKind::Readlink);
        match self.fs.readlink(ino(at)) {
            Ok(target) => reply.data(&target),
            Err(e) => reply.error(errno(&e)),
        }
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        self.count(RequestKind::Mknod);
        let (parent, name) = (ino(parent), name.as_bytes());
        let made = self.fs.mknod(caller(req), parent, name, mode, umask, rdev);
        reply_entry(reply, made);
    }

    fn mkdir(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        self.count(RequestKind::Mkdir);
        let (parent, name) = (ino(parent), name.as_bytes());
        let made = self.fs.mkdir(caller(req), parent, name, mode, umask);
        reply_entry(reply, made);
    }

    fn unlink(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.count(RequestKind::Unlink);
        reply_empty(reply, self.fs.unlink(ino(parent), name.as_bytes()));
    }

    fn rmdir(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.count(RequestKind::Rmdir);
        reply_empty(reply, self.fs.rmdir(ino(parent), name.as_bytes()));
    }

    fn symlink(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        self.count(RequestKind::Symlink);
        let target = target.as_os_str().as_bytes();
        let (parent, name) = (ino(parent), name.as_bytes());
        reply_entry(reply, self.fs.symlink(caller(req), parent, name, target));
    }

    fn rename(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        self.count(RequestKind::Rename);
        let from = (ino(parent), name.as_bytes());
        let to = (ino(new_parent), new_name.as_bytes());
        let done = Box::new(move |result| reply_empty(reply, result));
        self.fs.rename(caller(req), from, to, flags.bits(), done);
    }

    fn link(
        &self,
        _req: &Request,
        at: INodeNo,
        new_parent: INodeNo,
        new_name: &OsStr,
        reply: ReplyEntry,
    ) {
        self.count(RequestKind::Link);
        let linked = self.fs.link(ino(at), ino(new_parent), new_name.as_bytes());
        reply_entry(reply, linked);
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        self.count(RequestKind::Create);
        let (parent, name) = (ino(parent), name.as_bytes());
        let mode = mode & !libc::S_IFMT | libc::S_IFREG;
        match self.fs.mknod(caller(req), parent, name, mode, umask, 0) {
            Ok(attr) => reply.created(
                &KEEP,
                &file_attr(&attr),
                generation(&attr),
                FileHandle(0),
                FopenFlags::FOPEN_KEEP_CACHE,
            ),
            Err(e) => reply.error(errno(&e)),
        }
    }

    fn open(&self, _req: &Request, _at: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.count(RequestKind::Open);
        reply.error(Errno::ENOSYS);
    }

    fn read(
        &self,
        _req: &Request,
        at: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.count(RequestKind::Read);
        READ_BUFFER.with_borrow_mut(|buffer| {
            buffer.clear();
            match self.fs.read(ino(at), offset, size, buffer) {
                Ok(()) => reply.data(buffer),
                Err(e) => reply.error(errno(&e)),
            }
        });
    }

    fn write(
        &self,
        req: &Request,
        at: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: fuser::WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.count(RequestKind::Write);
        let flags = WriteFlags {
            cached: write_flags.contains(fuser::WriteFlags::FUSE_WRITE_CACHE),
            kill_suidgid: write_flags.contains(fuser::WriteFlags::FUSE_WRITE_KILL_SUIDGID),
        };
        let done = Box::new(move |result| reply_written(reply, result));
        self.fs
            .write(caller(req), ino(at), offset, data, flags, done);
    }

    fn flush(
        &self,
        _req: &Request,
        _at: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        self.count(RequestKind::Flush);
        reply.error(Errno::ENOSYS);
    }

    /// Comes only for a file created before the first open.
    fn release(
        &self,
        _req: &Request,
        _at: INodeNo,
        _fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.count(RequestKind::Release);
        reply.ok();
    }

    fn fsync(
        &self,
        _req: &Request,
        at: INodeNo,
        _fh: FileHandle,
        datasync: bool,
        reply: ReplyEmpty,
    ) {
        self.count(RequestKind::Fsync);
        let done = Box::new(move |result| reply_empty(reply, result));
        self.fs.fsync(ino(at), datasync, done);
    }

    fn opendir(&self, _req: &Request, _at: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.count(RequestKind::Opendir);
        reply.error(Errno::ENOSYS);
    }

    fn readdir(
        &self,
        _req: &Request,
        at: INodeNo,
        _fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        self.count(RequestKind::Readdir);
        let listed = self.fs.readdir(ino(at), offset, &mut |entry| {
            let name = OsStr::from_bytes(entry.name);
            let kind = file_type(entry.kind);
            !reply.add(INodeNo(entry.ino.0), entry.next_cookie, kind, name)
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(errno(&e)),
        }
    }

    fn readdirplus(
        &self,
        _req: &Request,
        at: INodeNo,
        _fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        self.count(RequestKind::Readdirplus);
        let listed = self.fs.readdirplus(ino(at), offset, &mut |entry, attr| {
            !reply.add(
                INodeNo(entry.ino.0),
                entry.next_cookie,
                OsStr::from_bytes(entry.name),
                &KEEP,
                &file_attr(attr),
                generation(attr),
            )
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(errno(&e)),
        }
    }

    /// Never comes: the kernel opens directories alone.
    fn releasedir(
        &self,
        _req: &Request,
        _at: INodeNo,
        _fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.count(RequestKind::Releasedir);
        reply.ok();
    }

    /// Makes all durable that was done so far: the names in a directory among it.
    fn fsyncdir(
        &self,
        _req: &Request,
        at: INodeNo,
        _fh: FileHandle,
        datasync: bool,
        reply: ReplyEmpty,
    ) {
        self.count(RequestKind::Fsyncdir);
        let done = Box::new(move |result| reply_empty(reply, result));
        self.fs.fsync(ino(at), datasync, done);
    }

    fn statfs(&self, _req: &Request, _at: INodeNo, reply: ReplyStatfs) {
        self.count(RequestKind::Statfs);
        match self.fs.statfs() {
            Ok(s) => reply.statfs(
                s.blocks,
                s.free_blocks,
                s.free_blocks,
                s.files,
                s.free_files,
                STATFS_BLOCK_BYTES,
                NAME_MAX,
                STATFS_BLOCK_BYTES,
            ),
            Err(e) => reply.error(errno(&e)),
        }
    }

    fn setxattr(
        &self,
        req: &Request,
        at: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        self.count(RequestKind::Setxattr);
        let name = name.as_bytes();
        let set = self.fs.setxattr(caller(req), ino(at), name, value, flags);
        reply_empty(reply, set);
    }

    fn getxattr(&self, _req: &Request, at: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        self.count(RequestKind::Getxattr);
        let value = self.fs.getxattr(ino(at), name.as_bytes());
        reply_xattr(reply, size, value);
    }

    fn listxattr(&self, _req: &Request, at: INodeNo, size: u32, reply: ReplyXattr) {
        self.count(RequestKind::Listxattr);
        reply_xattr(reply, size, self.fs.listxattr(ino(at)));
    }

    fn removexattr(&self, req: &Request, at: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.count(RequestKind::Removexattr);
        let removed = self.fs.removexattr(caller(req), ino(at), name.as_bytes());
        reply_empty(reply, removed);
    }

    fn fallocate(
        &self,
        req: &Request,
        at: INodeNo,
        _fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        self.count(RequestKind::Fallocate);
        let done = Box::new(move |result| reply_empty(reply, result));
        self.fs
            .fallocate(caller(req), ino(at), offset, length, mode, done);
    }

    fn copy_file_range(
        &self,
        req: &Request,
        at_in: INodeNo,
        _fh_in: FileHandle,
        offset_in: u64,
        at_out: INodeNo,
        _fh_out: FileHandle,
        offset_out: u64,
        len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        self.count(RequestKind::CopyFileRange);
        let from = (ino(at_in), offset_in);
        let to = (ino(at_out), offset_out);
        let done = Box::new(move |result| reply_written(reply, result));
        self.fs.copy_file_range(caller(req), from, to, len, done);
    }

    fn lseek(
        &self,
        _req: &Request,
        _at: INodeNo,
        _fh: FileHandle,
        _offset: i64,
        _whence: i32,
        reply: ReplyLseek,
    ) {
        self.count(RequestKind::Lseek);
        reply.error(Errno::ENOSYS);
    }

    fn ioctl(
        &self,
        _req: &Request,
        _at: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        _cmd: u32,
        _in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        self.count(RequestKind::Unsupported);
        reply.error(Errno::ENOTTY);
    }

    fn poll(
        &self,
        _req: &Request,
        _at: INodeNo,
        _fh: FileHandle,
        _notifier: PollNotifier,
        _events: PollEvents,
        _flags: PollFlags,
        reply: ReplyPoll,
    ) {
        self.count(RequestKind::Unsupported);
        reply.error(Errno::ENOSYS);
    }
}

/// Tells the kernel how we want to be asked.
pub(super) fn agree(config: &mut KernelConfig) -> io::Result<()> {
    config.add_capabilities(NEEDED).map_err(|missing| {
        let names = missing.iter_names().map(|(name, _)| name);
        io::Error::other(Missing(names.collect::<Vec<_>>().join(", ")))
    })?;
    config
        .set_max_write(MAX_WRITE_BYTES)
        .expect("1 MiB is below fuser's 16 MiB");
    config
        .set_max_background(MAX_BACKGROUND)
        .expect("any number but 0 will do");
    Ok(())
}
