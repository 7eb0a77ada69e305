//! The directory entry record: the entries of one directory whose names have one hash.

use crate::base::{Ino, InodeGen};

use super::bytes::{DecodeError, Reader};

/// Longest name, in bytes.
pub const NAME_MAX_BYTES: usize = 255;

/// Returns true when a name can stand in a directory: 1 to 255 bytes, no NUL, no slash, not `.` or
/// `..`.
#[must_use]
pub fn is_name(name: &[u8]) -> bool {
    let forbidden =
        matches!(name, b"" | b"." | b"..") || name.iter().any(|b| matches!(b, 0 | b'/'));
    !forbidden && name.len() <= NAME_MAX_BYTES
}

/// One entry.
///
/// Layout: `ino u64 | generation u64 | kind u8 (the S_IFMT nibble of the mode) | name_len u8 | name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirent {
    /// The inode it names.
    pub ino: Ino,
    /// The generation that inode was created in.
    pub generation: InodeGen,
    /// The type bits of the inode's mode, shifted down by 12.
    pub kind: u8,
    /// A name as [`is_name`] says.
    pub name: Vec<u8>,
}

/// Returns the payload of the entries whose names have one hash; almost always one.
#[must_use]
pub fn encode_dirents(entries: &[Dirent]) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.iter().map(|e| 18 + e.name.len()).sum());
    for e in entries {
        out.extend_from_slice(&e.ino.0.to_le_bytes());
        out.extend_from_slice(&e.generation.0.to_le_bytes());
        out.push(e.kind);
        out.push(u8::try_from(e.name.len()).expect("names are at most 255 bytes"));
        out.extend_from_slice(&e.name);
    }
    out
}

/// Returns the entries in a payload.
///
/// # Errors
/// When the layout is wrong, or no directory has such a name.
pub fn decode_dirents(payload: &[u8]) -> Result<Vec<Dirent>, DecodeError> {
    let mut rest = payload;
    let mut out = Vec::with_capacity(1);
    while !rest.is_empty() {
        let mut r = Reader::new(rest, "directory entry");
        let (ino, generation, kind) = (Ino(r.u64()?), InodeGen(r.u64()?), r.u8()?);
        let len = usize::from(r.u8()?);
        let name = r.bytes(len)?.to_vec();
        if !is_name(&name) {
            return Err(r.error());
        }
        rest = r.rest();
        out.push(Dirent {
            ino,
            generation,
            kind,
            name,
        });
    }
    Ok(out)
}
