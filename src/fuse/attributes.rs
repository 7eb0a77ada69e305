//! Attributes and times between `fs` and the kernel.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, Generation, INodeNo, TimeOrNow};

use crate::base::{Ino, InodeGen, Timestamp};
use crate::fs::{Attr, FileKind, SetTime};

/// How long the kernel may keep names and attributes: 34 years. Every change passes through the
/// kernel, so what it knows is never old.
pub(super) const KEEP: Duration = Duration::from_secs(1 << 30);

/// Preferred size of a read or write: one chunk of the default size.
const BLOCK_BYTES: u32 = 128 << 10;

/// Returns attributes as the kernel wants them.
pub(super) fn file_attr(attr: &Attr) -> FileAttr {
    let perm = attr.perm & 0o7777;
    FileAttr {
        ino: INodeNo(attr.ino.0),
        size: attr.size_bytes,
        blocks: attr.blocks_512,
        atime: attr.atime.into(),
        mtime: attr.mtime.into(),
        ctime: attr.ctime.into(),
        crtime: attr.btime.into(),
        kind: file_type(attr.kind),
        perm: u16::try_from(perm).expect("12 bits fit 16"),
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

/// Returns the attributes of the name that does not exist: inode 0.
pub(super) fn negative() -> FileAttr {
    file_attr(&Attr {
        ino: Ino(0),
        generation: InodeGen(0),
        size_bytes: 0,
        blocks_512: 0,
        atime: Timestamp::default(),
        mtime: Timestamp::default(),
        ctime: Timestamp::default(),
        btime: Timestamp::default(),
        kind: FileKind::Regular,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
    })
}

/// Returns the generation of an inode as the kernel wants it.
pub(super) fn generation(attr: &Attr) -> Generation {
    Generation(attr.generation.0)
}

/// Returns the type of an inode as the kernel wants it.
pub(super) fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::Regular => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
        FileKind::CharDevice => FileType::CharDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
    }
}

/// Returns a time of a request.
///
/// The kernel sends whole seconds rounded down and nanoseconds after them. fuser 0.18 subtracts
/// both before 1970, where the nanoseconds must be added: this takes its sum apart again.
pub(super) fn timestamp(t: SystemTime) -> Timestamp {
    match UNIX_EPOCH.duration_since(t) {
        Ok(before) => Timestamp {
            secs: 0_i64.saturating_sub_unsigned(before.as_secs()),
            nanos: before.subsec_nanos(),
        },
        Err(_) => t.into(),
    }
}

/// Returns a time to set.
pub(super) fn set_time(t: TimeOrNow) -> SetTime {
    match t {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(t) => SetTime::At(timestamp(t)),
    }
}
