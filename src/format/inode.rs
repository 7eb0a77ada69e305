//! The inode record.

use crate::base::{Ino, InodeGen, Timestamp};

use super::bytes::{DecodeError, Reader};
use super::xattr;

/// Longest inode payload with inline xattrs: those that do not fit go to records of their own. Only
/// the target of a long symlink, and file capabilities, make it longer.
pub const INODE_MAX_BYTES: usize = 4096;

/// Bits of [`Inode::flags`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InodeFlags;

impl InodeFlags {
    /// The file has extent records; without it all its data is pages.
    pub const EXTENTS: u32 = 1;
    /// The inode has xattr records of its own beside the inline ones.
    pub const XATTRS: u32 = 2;
}

/// An inode.
///
/// Layout: see `encode`; times as `secs i64 | nanos u32`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inode {
    /// Type and permission bits, as in `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names of it; of a directory 2 and one more per subdirectory.
    pub nlink: u32,
    /// Committed size in bytes; of a directory its number of entries; of a symlink its target's length.
    pub size_bytes: u64,
    /// Pages of 4096 logical bytes that are not holes: what the quota counts for it.
    pub used_pages: u64,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of data.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// Creation.
    pub btime: Timestamp,
    /// Device number, as the kernel encodes it.
    pub rdev: u32,
    /// [`InodeFlags`].
    pub flags: u32,
    /// The generation it was created in.
    pub generation: InodeGen,
    /// The parent of a directory; otherwise the inode itself.
    pub parent: Ino,
    /// Target of a symlink that fits here.
    pub target: Vec<u8>,
    /// Small xattrs, sorted by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

fn put_time(out: &mut Vec<u8>, t: Timestamp) {
    out.extend_from_slice(&t.secs.to_le_bytes());
    out.extend_from_slice(&t.nanos.to_le_bytes());
}

fn get_time(r: &mut Reader<'_>) -> Result<Timestamp, DecodeError> {
    let (secs, nanos) = (r.i64()?, r.u32()?);
    if nanos >= 1_000_000_000 {
        return Err(r.error());
    }
    Ok(Timestamp { secs, nanos })
}

fn put_bytes(out: &mut Vec<u8>, b: &[u8]) {
    let len = u16::try_from(b.len()).expect("inline values are bounded by the inode record");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(b);
}

fn get_bytes(r: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    let len = usize::from(u16::from_le_bytes(r.array()?));
    Ok(r.bytes(len)?.to_vec())
}

impl Inode {
    /// Returns true if it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }

    /// Returns true if it is a regular file.
    #[must_use]
    pub fn is_regular(&self) -> bool {
        self.mode & 0o170_000 == 0o100_000
    }

    /// Returns the payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + self.target.len());
        for n in [self.mode, self.uid, self.gid, self.nlink] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        out.extend_from_slice(&self.size_bytes.to_le_bytes());
        out.extend_from_slice(&self.used_pages.to_le_bytes());
        for t in [self.atime, self.mtime, self.ctime, self.btime] {
            put_time(&mut out, t);
        }
        out.extend_from_slice(&self.rdev.to_le_bytes());
        out.extend_from_slice(&self.flags.to_le_bytes());
        out.extend_from_slice(&self.generation.0.to_le_bytes());
        out.extend_from_slice(&self.parent.0.to_le_bytes());
        put_bytes(&mut out, &self.target);
        for (name, value) in &self.xattrs {
            put_bytes(&mut out, name);
            put_bytes(&mut out, value);
        }
        out
    }

    /// Returns the inode in a payload.
    ///
    /// # Errors
    /// When the layout is wrong, or the xattrs are not in order.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(payload, "inode");
        let mut inode = Self {
            mode: r.u32()?,
            uid: r.u32()?,
            gid: r.u32()?,
            nlink: r.u32()?,
            size_bytes: r.u64()?,
            used_pages: r.u64()?,
            atime: get_time(&mut r)?,
            mtime: get_time(&mut r)?,
            ctime: get_time(&mut r)?,
            btime: get_time(&mut r)?,
            rdev: r.u32()?,
            flags: r.u32()?,
            generation: InodeGen(r.u64()?),
            parent: Ino(r.u64()?),
            target: get_bytes(&mut r)?,
            xattrs: Vec::new(),
        };
        while !r.is_empty() {
            let name = get_bytes(&mut r)?;
            let is_next = inode.xattrs.last().is_none_or(|(last, _)| *last < name);
            if !is_next || !xattr::is_name(&name) {
                return Err(r.error());
            }
            inode.xattrs.push((name, get_bytes(&mut r)?));
        }
        r.end()?;
        Ok(inode)
    }
}
