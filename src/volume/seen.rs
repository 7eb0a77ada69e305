//! The newest generation of a volume that this boot of the host has seen durable.
//!
//! Layout of the file: `incarnation 16 | generation u64`. It is written in place after each commit:
//! it lies in memory (the runtime directory), is gone with the boot, and a torn one is impossible,
//! since only eight bytes change. A store that comes back with less than is written here is not the
//! one that was there.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::base::Generation;
use crate::format::bytes::Reader;
use crate::format::root::Root;

use super::VolumeError;
use super::layout::failed;

const FILE_BYTES: usize = 24;

/// The record, open for writing.
pub(super) struct Seen {
    file: File,
}

impl Seen {
    /// Opens the record and compares it with the root found in the store.
    ///
    /// # Errors
    /// C-ROLLBACK when the store holds less than was seen.
    pub(super) fn check(path: &Path, root: &Root) -> Result<Self, VolumeError> {
        let io = |e| failed("use", path, e);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
            .map_err(io)?;
        let mut bytes = [0; FILE_BYTES];
        if file.metadata().map_err(io)?.len() > 0 {
            file.read_exact_at(&mut bytes, 0).map_err(io)?;
        }
        let mut r = Reader::new(&bytes, "seen generation");
        let (incarnation, seen) = (r.array::<16>()?, r.u64()?);
        if incarnation == root.incarnation && root.generation.0 < seen {
            return Err(VolumeError::Rollback {
                found: root.generation.0,
                seen,
            });
        }
        let mut record = root.incarnation.to_vec();
        record.extend_from_slice(&root.generation.0.to_le_bytes());
        file.write_all_at(&record, 0).map_err(io)?;
        Ok(Self { file })
    }

    /// Remembers a generation that is durable now.
    pub(super) fn record(&self, generation: Generation) {
        // A failure keeps the older generation there, which is a weaker claim, not a false one.
        drop(self.file.write_all_at(&generation.0.to_le_bytes(), 16));
    }
}
