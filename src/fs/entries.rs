//! Directory entries: the record that holds a name, read and changed inside an operation.

use crate::base::{Ino, Timestamp};
use crate::format::dirent::{NAME_MAX_BYTES, is_name};
use crate::format::key::Key;
use crate::meta::{Dirent, Inode, Source, decode_dirents, encode_dirents};
use crate::txn::Op;

use super::FsError;
use super::core::Core;

/// Fails unless `name` can stand in a directory.
///
/// # Errors
/// When it is too long, empty, `.` or `..`, or has a slash or NUL in it.
pub(super) fn check_name(name: &[u8]) -> Result<(), FsError> {
    if name.len() > NAME_MAX_BYTES {
        return Err(FsError::NameTooLong);
    }
    if is_name(name) {
        Ok(())
    } else {
        Err(FsError::Invalid)
    }
}

/// Returns the entry that names an inode.
pub(super) fn entry(name: &[u8], ino: Ino, inode: &Inode) -> Dirent {
    Dirent {
        ino,
        generation: inode.generation,
        kind: u8::try_from(inode.mode >> 12 & 0xf).expect("four bits"),
        name: name.to_vec(),
    }
}

/// A directory gets an entry that names `child`.
pub(super) fn gain(dir: &mut Inode, child: &Inode, now: Timestamp) {
    dir.size_bytes += 1;
    dir.nlink += u32::from(child.is_directory());
    (dir.mtime, dir.ctime) = (now, now);
}

/// A directory loses an entry that named `child`.
pub(super) fn lose(dir: &mut Inode, child: &Inode, now: Timestamp) {
    dir.size_bytes = dir.size_bytes.saturating_sub(1);
    dir.nlink = dir.nlink.saturating_sub(u32::from(child.is_directory()));
    (dir.mtime, dir.ctime) = (now, now);
}

/// The entries of one directory whose names have the same hash: almost always one or none.
pub(super) struct Entries {
    pub(super) key: Key,
    list: Vec<Dirent>,
    is_stored: bool,
}

impl Core {
    /// Returns the entries among which `name` is, if it exists.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) fn entries(
        &self,
        from: &impl Source,
        dir: Ino,
        name: &[u8],
    ) -> Result<Entries, FsError> {
        let key = self.names.dirent(dir, &self.names.name_hash(dir, name));
        let list = match from.get(&key)? {
            Some(payload) => decode_dirents(&payload)?,
            None => Vec::new(),
        };
        Ok(Entries {
            key,
            is_stored: !list.is_empty(),
            list,
        })
    }
}

impl Entries {
    /// Returns the entry of a name.
    pub(super) fn get(&self, name: &[u8]) -> Option<&Dirent> {
        self.list.iter().find(|e| e.name == name)
    }

    /// Lets a name mean another inode, or a new name mean one.
    pub(super) fn set(&mut self, entry: Dirent) {
        match self.list.iter_mut().find(|e| e.name == entry.name) {
            Some(old) => *old = entry,
            None => self.list.push(entry),
        }
    }

    /// Takes a name away.
    pub(super) fn remove(&mut self, name: &[u8]) {
        self.list.retain(|e| e.name != name);
    }

    /// Puts the record.
    pub(super) fn store(&self, op: &mut Op<'_>) {
        match (self.list.is_empty(), self.is_stored) {
            (true, _) => op.delete(self.key),
            (false, true) => op.put(self.key, encode_dirents(&self.list)),
            (false, false) => op.put_new(self.key, encode_dirents(&self.list)),
        }
    }
}
