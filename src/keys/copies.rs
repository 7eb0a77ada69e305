//! The two copies of a header on the disk.
//!
//! A change is written to the copy that is not in use, synced, and then over the other one, so that
//! what it removed is in neither. Both are written in place: a crash tears at most the copy being
//! written, its checksum tells, and the next unlocking for writing mends it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::crypto::header_checksum;
use crate::format::header::{CHECKSUM_BYTES, Header, HeaderError, MAX_BYTES};

use super::error::{CopyFault, KdfLimit, KeysError};

/// Flags of every open: a copy is never a symlink, and a pipe in its place blocks nobody.
const FLAGS: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;

/// One of the two copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copy {
    A,
    B,
}

impl Copy {
    pub(super) const BOTH: [Self; 2] = [Self::A, Self::B];

    fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::A => "header.a",
            Self::B => "header.b",
        }
    }

    pub(super) fn path(self, dir: &Path) -> PathBuf {
        dir.join(self.name())
    }
}

/// How the copy of a header is that is not in use.
#[derive(Debug)]
pub enum Twin {
    /// The same as the one in use.
    Same,
    /// Whole, but from before the last change.
    Older,
    /// Not usable.
    Damaged(CopyFault),
}

impl Twin {
    /// Returns why it must be mended, if so.
    #[must_use]
    pub fn damage(&self) -> Option<String> {
        match self {
            Self::Same => None,
            Self::Older => Some("old".to_owned()),
            Self::Damaged(fault) => Some(fault.to_string()),
        }
    }
}

/// The header in use, as read; authentic only once its signature was checked.
pub(super) struct Copies {
    pub(super) header: Header,
    pub(super) twin: Twin,
    bytes: Vec<u8>,
    in_use: Copy,
}

impl Copies {
    /// Reads both copies and picks the newest whole one.
    pub(super) fn read(dir: &Path) -> Result<Self, KeysError> {
        let [a, b] = Copy::BOTH.map(|copy| read_copy(&copy.path(dir)));
        match (a?, b?) {
            (Err(CopyFault::Missing), Err(CopyFault::Missing)) => Err(KeysError::NotAVolume {
                dir: dir.to_path_buf(),
            }),
            (a, b) => Self::pick(a, b),
        }
    }

    /// Returns the newest whole one of two copies.
    pub(super) fn pick(a: ReadCopy, b: ReadCopy) -> Result<Self, KeysError> {
        refuse_other_versions(&a)?;
        refuse_other_versions(&b)?;
        let (in_use, (header, bytes), twin) = match (a, b) {
            (Err(a), Err(b)) => return Err(KeysError::HeaderDamaged { a, b }),
            (Ok(a), Err(fault)) => (Copy::A, a, Twin::Damaged(fault)),
            (Err(fault), Ok(b)) => (Copy::B, b, Twin::Damaged(fault)),
            (Ok(a), Ok(b)) if a.1 == b.1 => (Copy::A, a, Twin::Same),
            (Ok(a), Ok(b)) if a.0.header_seq > b.0.header_seq => (Copy::A, a, Twin::Older),
            (Ok(a), Ok(b)) if a.0.header_seq < b.0.header_seq => (Copy::B, b, Twin::Older),
            // A change raises the number before it is written anywhere.
            (Ok(_), Ok(_)) => {
                return Err(KeysError::Tampered {
                    what: "two headers with one number",
                });
            }
        };
        Ok(Self {
            header,
            twin,
            bytes,
            in_use,
        })
    }

    /// Writes another header into both copies, the one in use last: until the first is whole nothing
    /// has changed, and from then on everything has.
    pub(super) fn replace(&self, dir: &Path, bytes: &[u8]) -> Result<(), KeysError> {
        overwrite(dir, self.in_use.other(), bytes)?;
        overwrite(dir, self.in_use, bytes).map_err(|e| KeysError::SecondCopy {
            path: self.in_use.path(dir),
            source: Box::new(e),
        })
    }

    /// Writes the header in use over the other copy unless that is the same; returns whether it did.
    pub(super) fn heal(&self, dir: &Path) -> Result<bool, KeysError> {
        let Some(damage) = self.twin.damage() else {
            return Ok(false);
        };
        let twin = self.in_use.other();
        overwrite(dir, twin, &self.bytes)?;
        eprintln!("coffer: WARN {} was mended: {damage}", twin.name());
        Ok(true)
    }
}

/// Returns the file of a header: its encoding and the checksum.
pub(super) fn file_bytes(header: &Header) -> Vec<u8> {
    let mut bytes = header.encode();
    let checksum = header_checksum(&bytes);
    bytes.extend_from_slice(&checksum);
    assert!(bytes.len() <= MAX_BYTES, "32 slots and a keyring fit");
    bytes
}

/// Writes a header to both copies, one after the other.
pub(super) fn write_both(dir: &Path, bytes: &[u8]) -> Result<(), KeysError> {
    Copy::BOTH
        .into_iter()
        .try_for_each(|copy| overwrite(dir, copy, bytes))
}

/// A header with its file, or why there is none.
pub(super) type ReadCopy = Result<(Header, Vec<u8>), CopyFault>;

/// A volume of another version is refused even if one of its copies seems to be of ours.
fn refuse_other_versions(copy: &ReadCopy) -> Result<(), KeysError> {
    match copy {
        Err(CopyFault::Layout(HeaderError::KdfCap { slot, cost })) => Err(KeysError::KdfCap {
            slot: *slot,
            cost: *cost,
            limit: KdfLimit::Header,
        }),
        Err(CopyFault::Layout(
            e @ (HeaderError::Format(_)
            | HeaderError::Suite(_)
            | HeaderError::Features(_)
            | HeaderError::Parameter { .. }),
        )) => Err(KeysError::Unsupported(*e)),
        _ => Ok(()),
    }
}

fn read_copy(path: &Path) -> Result<ReadCopy, KeysError> {
    let bytes = match read_file(path) {
        Ok(bytes) => bytes,
        // Not damage: the header may be fine for someone with more rights.
        Err(CopyFault::Unreadable(e)) if e.kind() == io::ErrorKind::PermissionDenied => {
            return Err(KeysError::Io {
                op: "read",
                path: path.to_path_buf(),
                source: e,
            });
        }
        Err(fault) => return Ok(Err(fault)),
    };
    Ok(parse(bytes))
}

/// Returns the header in a file.
pub(super) fn parse(bytes: Vec<u8>) -> ReadCopy {
    let whole = bytes
        .split_last_chunk::<CHECKSUM_BYTES>()
        .filter(|(body, checksum)| header_checksum(body) == **checksum);
    let (body, _) = whole.ok_or(CopyFault::Checksum)?;
    let header = Header::decode(body).map_err(CopyFault::Layout)?;
    Ok((header, bytes))
}

fn read_file(path: &Path) -> Result<Vec<u8>, CopyFault> {
    let opened = OpenOptions::new().read(true).custom_flags(FLAGS).open(path);
    let file = opened.map_err(|e| match e.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => CopyFault::Missing,
        Some(libc::ELOOP) => CopyFault::NotRegular,
        _ => CopyFault::Unreadable(e),
    })?;
    let meta = file.metadata().map_err(CopyFault::Unreadable)?;
    if !meta.is_file() {
        return Err(CopyFault::NotRegular);
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_BYTES).expect("64 KiB") + 1;
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(CopyFault::Unreadable)?;
    if bytes.len() > MAX_BYTES {
        return Err(CopyFault::TooLong);
    }
    Ok(bytes)
}

/// Writes over one copy in place and syncs it and its directory.
fn overwrite(dir: &Path, copy: Copy, bytes: &[u8]) -> Result<(), KeysError> {
    let path = copy.path(dir);
    let write = || {
        step()?;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(FLAGS)
            .open(&path)?;
        step()?;
        let old_len = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        // What a longer header held is overwritten before the file system frees its blocks.
        let mut content = bytes.to_vec();
        content.resize(old_len.clamp(bytes.len(), MAX_BYTES), 0);
        file.write_all_at(&content, 0)?;
        step()?;
        file.sync_all()?;
        step()?;
        file.set_len(u64::try_from(bytes.len()).expect("64 KiB"))?;
        step()?;
        file.sync_all()?;
        step()?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|source| KeysError::Io {
        op: "write",
        path: path.clone(),
        source,
    })
}

/// Stands before each step of writing, where tests make it fail.
#[cfg(not(test))]
fn step() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
use super::tests::step;
