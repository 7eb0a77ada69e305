//! A FUSE file system over a disk in memory that records every operation.
//!
//! Requests reach it as the store issues them: without the kernel's write-back cache each write(2)
//! is one operation before it returns, O_SYNC comes as a sync after it, sync_file_range(2) as
//! nothing, for it makes nothing durable. What the model does not know (hard links, ranges of zeros,
//! exchanges of names) is refused, so that a store that begins to use it fails here and is not
//! recorded wrongly. It can also be made to refuse calls, as a broken disk does.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, KernelConfig, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyStatfs, ReplyWrite,
    Request, Session, TimeOrNow, WriteFlags,
};
use rustix::mount::UnmountFlags;

use super::disk::{Image, Ino, Node, Op, Slot, Trace, long};
use super::notes::Moment;

/// The kernel may keep all it knows: nothing changes but through it.
const KEEP: Duration = Duration::from_secs(1 << 30);

/// Size of the disk, in blocks of 4096 bytes: 4 GiB, so that nothing is saved for want of space.
const BLOCKS: u64 = 1 << 20;

/// Largest write, in bytes.
const MAX_WRITE_BYTES: u32 = 1 << 20;

/// What a broken disk may refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Read,
    Write,
    Sync,
}

/// Tells which calls are refused: what, of which file, and which of its bytes.
type Defect = Box<dyn Fn(Verb, Ino, Range<u64>) -> bool + Send>;

struct Recorder {
    image: Image,
    trace: Trace,
    next: Ino,
    ticks: u64,
    defect: Option<Defect>,
}

/// A disk that records what is done to it.
#[derive(Clone)]
pub struct Disk(Arc<Mutex<Recorder>>);

impl Disk {
    /// Begins with what lies on `image`, and an empty trace.
    pub fn new(image: Image) -> Self {
        let next = image.next_ino();
        Self(Arc::new(Mutex::new(Recorder {
            image,
            trace: Trace::default(),
            next,
            ticks: 0,
            defect: None,
        })))
    }

    /// From now on calls for which `defect` is true fail with EIO.
    pub fn refuse(&self, defect: impl Fn(Verb, Ino, Range<u64>) -> bool + Send + 'static) {
        self.lock().defect = Some(Box::new(defect));
    }

    /// The disk works again.
    pub fn mend(&self) {
        self.lock().defect = None;
    }

    fn lock(&self) -> MutexGuard<'_, Recorder> {
        self.0.lock().expect("nobody fails while recording")
    }

    /// Returns the present.
    pub fn moment(&self) -> Moment {
        let mut recorder = self.lock();
        recorder.ticks += 1;
        Moment {
            at: recorder.trace.ops.len(),
            tick: recorder.ticks,
        }
    }

    /// Calls `f` with what was recorded so far.
    pub fn with_trace<T>(&self, f: impl FnOnce(&Trace) -> T) -> T {
        f(&self.lock().trace)
    }

    /// Takes the trace.
    pub fn take_trace(&self) -> Trace {
        std::mem::take(&mut self.lock().trace)
    }

    /// Mounts the disk on a directory.
    pub fn mount(&self, dir: &Path) -> Mounted {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("recorder".into())];
        config.n_threads = Some(2);
        let session = Session::new(Recording(self.clone()), dir, &config).expect("FUSE mounts");
        let serve = move || session.run().expect("the session runs");
        Mounted {
            dir: dir.to_path_buf(),
            thread: Some(std::thread::spawn(serve)),
        }
    }
}

/// A mounted disk; unmounted when dropped.
pub struct Mounted {
    dir: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        if let Err(e) = rustix::mount::unmount(&self.dir, flags) {
            eprintln!("{} stays mounted: {e}", self.dir.display());
            return;
        }
        // What still has files open there ends with the test; nobody waits for it when it fails.
        if let Some(thread) = self.thread.take().filter(|_| !std::thread::panicking()) {
            thread.join().expect("the session has ended");
        }
    }
}

impl Recorder {
    /// Does an operation and records it.
    fn apply(&mut self, op: Op) {
        self.image.apply(&op, &self.trace);
        self.trace.ops.push(op);
    }

    fn check(&self, verb: Verb, ino: Ino, bytes: Range<u64>) -> Result<(), Errno> {
        let refuses = self.defect.as_ref().is_some_and(|d| d(verb, ino, bytes));
        if refuses { Err(Errno::EIO) } else { Ok(()) }
    }

    fn sync(&mut self, ino: Ino) -> Result<(), Errno> {
        self.check(Verb::Sync, ino, 0..u64::MAX)?;
        self.apply(Op::Sync { ino });
        Ok(())
    }

    fn create(&mut self, slot: Slot, is_dir: bool) -> Result<FileAttr, Errno> {
        if self.image.find(&slot).is_some() {
            return Err(Errno::EEXIST);
        }
        let ino = self.next;
        self.next += 1;
        self.apply(Op::Create { slot, ino, is_dir });
        self.attr(ino)
    }

    fn remove(&mut self, slot: Slot, is_dir: bool) -> Result<(), Errno> {
        let ino = self.image.find(&slot).ok_or(Errno::ENOENT)?;
        match self.image.node(ino) {
            Some(Node::Dir(_)) if !is_dir => return Err(Errno::EISDIR),
            Some(Node::Dir(entries)) if !entries.is_empty() => return Err(Errno::ENOTEMPTY),
            Some(Node::File(_)) if is_dir => return Err(Errno::ENOTDIR),
            _ => {}
        }
        self.apply(Op::Remove { slot, ino });
        Ok(())
    }

    fn rename(&mut self, from: Slot, to: Slot) -> Result<(), Errno> {
        let ino = self.image.find(&from).ok_or(Errno::ENOENT)?;
        let is_dir = |ino| matches!(self.image.node(ino), Some(Node::Dir(_)));
        // A volume has no directories that move.
        if is_dir(ino) || self.image.find(&to).is_some_and(is_dir) {
            return Err(Errno::ENOTSUP);
        }
        self.apply(Op::Rename { from, to, ino });
        Ok(())
    }

    fn allocate(&mut self, ino: Ino, offset: u64, len: u64, mode: i32) -> Result<(), Errno> {
        const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        match mode {
            PUNCH => self.apply(Op::Punch { ino, offset, len }),
            0 => self.apply(Op::Extend {
                ino,
                len: offset + len,
            }),
            // Space without a size: nothing that could be seen.
            libc::FALLOC_FL_KEEP_SIZE => {}
            _ => return Err(Errno::ENOTSUP),
        }
        Ok(())
    }

    fn attr(&self, ino: Ino) -> Result<FileAttr, Errno> {
        let (kind, len, perm) = match self.image.node(ino).ok_or(Errno::ENOENT)? {
            Node::Dir(_) => (FileType::Directory, 0, 0o700),
            Node::File(f) => (FileType::RegularFile, f.len, 0o600),
        };
        Ok(FileAttr {
            ino: INodeNo(ino),
            size: len,
            blocks: len.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

fn slot(dir: INodeNo, name: &OsStr) -> Result<Slot, Errno> {
    Ok(Slot {
        dir: dir.0,
        name: name.to_str().ok_or(Errno::EINVAL)?.to_owned(),
    })
}

/// The disk as fuser calls it.
struct Recording(Disk);

impl Recording {
    fn look<T>(&self, f: impl FnOnce(&Recorder) -> Result<T, Errno>) -> Result<T, Errno> {
        f(&self.0.lock())
    }

    fn change<T>(&self, f: impl FnOnce(&mut Recorder) -> Result<T, Errno>) -> Result<T, Errno> {
        f(&mut self.0.lock())
    }
}

fn reply_entry(reply: ReplyEntry, found: Result<FileAttr, Errno>) {
    match found {
        Ok(attr) => reply.entry(&KEEP, &attr, Generation(0)),
        Err(e) => reply.error(e),
    }
}

fn reply_empty(reply: ReplyEmpty, done: Result<(), Errno>) {
    match done {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(e),
    }
}

impl Filesystem for Recording {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let set = config.set_max_write(MAX_WRITE_BYTES);
        set.map(drop)
            .map_err(|_| io::ErrorKind::InvalidInput.into())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.look(|r| {
            let ino = r.image.find(&slot(parent, name)?).ok_or(Errno::ENOENT)?;
            r.attr(ino)
        });
        reply_entry(reply, found);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.look(|r| r.attr(ino.0)) {
            Ok(attr) => reply.attr(&KEEP, &attr),
            Err(e) => reply.error(e),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let set = self.change(|r| {
            if let Some(len) = size {
                r.apply(Op::Resize { ino: ino.0, len });
            }
            r.attr(ino.0)
        });
        match set {
            Ok(attr) => reply.attr(&KEEP, &attr),
            Err(e) => reply.error(e),
        }
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        let made = self.change(|r| r.create(slot(parent, name)?, true));
        reply_entry(reply, made);
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        match self.change(|r| r.create(slot(parent, name)?, false)) {
            Ok(attr) => reply.created(
                &KEEP,
                &attr,
                Generation(0),
                FileHandle(0),
                FopenFlags::empty(),
            ),
            Err(e) => reply.error(e),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let done = self.change(|r| r.remove(slot(parent, name)?, false));
        reply_empty(reply, done);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let done = self.change(|r| r.remove(slot(parent, name)?, true));
        reply_empty(reply, done);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let done = self.change(|r| {
            if !flags.is_empty() {
                return Err(Errno::EINVAL);
            }
            r.rename(slot(parent, name)?, slot(newparent, newname)?)
        });
        reply_empty(reply, done);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut out = Vec::new();
        let done = self.look(|r| match r.image.node(ino.0) {
            Some(Node::File(f)) => {
                r.check(Verb::Read, ino.0, offset..offset + u64::from(size))?;
                f.read(offset, super::disk::size(size.into()), &mut out);
                Ok(())
            }
            _ => Err(Errno::EIO),
        });
        match done {
            Ok(()) => reply.data(&out),
            Err(e) => reply.error(e),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.change(|r| {
            r.check(Verb::Write, ino.0, offset..offset + long(data.len()))?;
            let span = r.trace.keep(data);
            r.apply(Op::Write {
                ino: ino.0,
                offset,
                data: span,
            });
            Ok(())
        });
        match written {
            Ok(()) => reply.written(u32::try_from(data.len()).expect("a write has at most 1 MiB")),
            Err(e) => reply.error(e),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let done = self.change(|r| r.allocate(ino.0, offset, length, mode));
        reply_empty(reply, done);
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply_empty(reply, self.change(|r| r.sync(ino.0)));
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply_empty(reply, self.change(|r| r.sync(ino.0)));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = self.look(|r| match r.image.node(ino.0) {
            Some(Node::Dir(entries)) => Ok(listing(r, entries)),
            _ => Err(Errno::ENOTDIR),
        });
        let listed = match listed {
            Ok(listed) => listed,
            Err(e) => return reply.error(e),
        };
        // The cookie of an entry is the inode it names, which is above 1; that of . and .. below.
        for (cookie, kind, name) in listed.into_iter().filter(|(c, _, _)| *c > offset) {
            if reply.add(INodeNo(cookie), cookie, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let free = BLOCKS / 4 * 3;
        reply.statfs(BLOCKS, free, free, BLOCKS, free, 4096, 255, 4096);
    }
}

/// Returns the entries of a directory by their inodes.
fn listing(r: &Recorder, entries: &BTreeMap<String, Ino>) -> Vec<(u64, FileType, String)> {
    let kind = |ino| match r.image.node(ino) {
        Some(Node::Dir(_)) => FileType::Directory,
        _ => FileType::RegularFile,
    };
    let mut out: Vec<_> = entries
        .iter()
        .map(|(name, ino)| (*ino, kind(*ino), name.clone()))
        .collect();
    out.sort_by_key(|(ino, _, _)| *ino);
    out
}

/// Prints what a disk holds, for whoever looks into a failure.
pub fn describe(image: &Image) -> String {
    let files = image.paths();
    let lines = files.iter().map(|(path, f)| format!("{path} {}\n", f.len));
    format!("{}{} files", lines.collect::<String>(), long(files.len()))
}
