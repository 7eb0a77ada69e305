//! The header of a volume and what opens it: two copies of a file, key slots, unlocking.
//!
//! Responsible for the files `header.a` and `header.b`, for the order in which an untrusted header
//! is checked, and for the rules that new secrets and key files meet. Not for the bytes of a header
//! (`format::header`) nor for its ciphers (`crypto`). Whoever writes here holds the volume's lock.
//! Invariants:
//! * at any instant, a crash included, at least one copy is whole;
//! * nothing is read from a slot before its commitment fits, and nothing of a header is believed
//!   before its signature was checked with the public key that the slot wraps;
//! * nothing that a header asks for is allocated before it was compared with what is allowed here;
//! * keys and everything derived from a secret live and die on the key thread.

mod change;
mod copies;
mod create;
mod error;
mod key_file;
mod memory;
mod unlock;

use std::path::Path;

use crate::base::VolumeId;
use crate::format::header::{self, Header, Slot};

pub use crate::crypto::{EpochInfo, EpochState, RecoveryCode, SecretBytes};
pub use crate::format::header::{Argon2Cost, Role, SlotKind};
pub use change::{Change, change};
pub use copies::Twin;
pub use create::{Created, NewHeader, NewSlot, create};
pub use error::{CopyFault, ErrorKind, KdfLimit, KeyFileFault, KeysError, WeakSecret};
pub use key_file::read_key_file;
pub use unlock::{Unlocked, unlock};

use copies::Copies;

/// What a volume is unlocked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading only: nothing in the volume's directory is changed.
    ReadOnly,
    /// Reading and writing: a copy of the header that is damaged or old is mended.
    ReadWrite,
}

/// What anyone may know of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotInfo {
    /// Number of the slot.
    pub id: u16,
    /// Where its secret comes from.
    pub kind: SlotKind,
    /// What its secret allows.
    pub role: Role,
    /// Its name.
    pub label: String,
    /// How to get its secret.
    pub hint: String,
    /// When it was made: seconds since 1970.
    pub created: u64,
    /// Work per guess; none for secrets that are keys already.
    pub cost: Option<Argon2Cost>,
}

impl From<&Slot> for SlotInfo {
    fn from(s: &Slot) -> Self {
        Self {
            id: s.id,
            kind: s.kind,
            role: s.role,
            label: s.label.clone(),
            hint: s.hint.clone(),
            created: s.created,
            cost: s.cost,
        }
    }
}

/// What a header says to anyone; nothing in it was checked but its checksum.
#[derive(Debug)]
pub struct Peek {
    /// The volume.
    pub volume: VolumeId,
    /// Changes when a volume is restored from a backup.
    pub incarnation: [u8; 16],
    /// The format of the volume.
    pub format: u16,
    /// When the volume was made: seconds since 1970.
    pub created: u64,
    /// Rises with every change of the header.
    pub header_seq: u64,
    /// Bytes of a chunk.
    pub chunk_bytes: usize,
    /// The slots.
    pub slots: Vec<SlotInfo>,
    /// How the other copy of the header is.
    pub twin: Twin,
}

/// Reads what a volume says without a secret.
///
/// # Errors
/// When `dir` is no volume, its format is unknown, no copy of the header is whole, or a copy cannot
/// be read.
pub fn peek(dir: &Path) -> Result<Peek, KeysError> {
    let Copies { header, twin, .. } = Copies::read(dir)?;
    Ok(Peek {
        volume: header.volume,
        incarnation: header.incarnation,
        format: header::FORMAT,
        created: header.created,
        header_seq: header.header_seq,
        chunk_bytes: chunk_bytes(&header),
        slots: header.slots.iter().map(SlotInfo::from).collect(),
        twin,
    })
}

fn chunk_bytes(header: &Header) -> usize {
    1 << header.params.chunk_log2
}

#[cfg(test)]
mod tests;
