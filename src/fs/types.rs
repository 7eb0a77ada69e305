//! What goes in and out of file operations.

use crate::base::{Ino, InodeGen, Timestamp};

use super::FsError;

/// Receives the result of an operation that may have to wait; called once, from any thread.
pub type Done<T> = Box<dyn FnOnce(Result<T, FsError>) + Send>;

/// Who asks: the file-system ids of the calling process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// The type of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Regular file.
    Regular,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// FIFO.
    Fifo,
    /// Socket.
    Socket,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
}

impl FileKind {
    /// Returns the kind that the type bits of `mode` name, or none if they name nothing known.
    #[must_use]
    pub fn from_mode(mode: u32) -> Option<Self> {
        Some(match mode & libc::S_IFMT {
            libc::S_IFREG => Self::Regular,
            libc::S_IFDIR => Self::Directory,
            libc::S_IFLNK => Self::Symlink,
            libc::S_IFIFO => Self::Fifo,
            libc::S_IFSOCK => Self::Socket,
            libc::S_IFCHR => Self::CharDevice,
            libc::S_IFBLK => Self::BlockDevice,
            _ => return None,
        })
    }

    /// Returns the type bits of `mode`.
    #[must_use]
    pub fn mode_bits(self) -> u32 {
        match self {
            Self::Regular => libc::S_IFREG,
            Self::Directory => libc::S_IFDIR,
            Self::Symlink => libc::S_IFLNK,
            Self::Fifo => libc::S_IFIFO,
            Self::Socket => libc::S_IFSOCK,
            Self::CharDevice => libc::S_IFCHR,
            Self::BlockDevice => libc::S_IFBLK,
        }
    }
}

/// The attributes of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    /// Inode number.
    pub ino: Ino,
    /// Generation the inode was created in.
    pub generation: InodeGen,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Logical space in units of 512 bytes.
    pub blocks_512: u64,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of data.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// Creation.
    pub btime: Timestamp,
    /// Type.
    pub kind: FileKind,
    /// Permission bits with suid, sgid and sticky: 0..=0o7777.
    pub perm: u32,
    /// Number of links.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node, as the kernel encodes it.
    pub rdev: u32,
}

/// A time to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetTime {
    /// The time of the call.
    Now,
    /// This time.
    At(Timestamp),
}

/// The attributes to change; what is none stays.
#[derive(Debug, Clone, Copy, Default)]
pub struct SetAttr {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size in bytes.
    pub size_bytes: Option<u64>,
    /// Last access.
    pub atime: Option<SetTime>,
    /// Last change of data.
    pub mtime: Option<SetTime>,
    /// Last change of the inode.
    pub ctime: Option<Timestamp>,
}

/// How a write reached us.
#[derive(Debug, Clone, Copy, Default)]
pub struct WriteFlags {
    /// From the kernel's write-back cache: the times are the kernel's.
    pub cached: bool,
    /// Clear suid, and sgid with group execute.
    pub kill_suidgid: bool,
}

/// One entry of a directory listing.
#[derive(Debug, Clone, Copy)]
pub struct DirEntry<'a> {
    /// Inode number.
    pub ino: Ino,
    /// Type.
    pub kind: FileKind,
    /// Name, without a slash or NUL.
    pub name: &'a [u8],
    /// Where a listing goes on after this entry.
    pub next_cookie: u64,
}

/// How a file system is opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct FsSettings {
    /// Nothing is changed.
    pub read_only: bool,
    /// Logical bytes the files may hold together.
    pub quota_bytes: Option<u64>,
}

/// Space and inodes of the volume, or of its quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatFs {
    /// Total size in 4096-byte blocks.
    pub blocks: u64,
    /// Free blocks.
    pub free_blocks: u64,
    /// Inodes that could exist.
    pub files: u64,
    /// Inodes that could still be made.
    pub free_files: u64,
}
