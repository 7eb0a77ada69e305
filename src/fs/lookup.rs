//! Lookups and forgets: from a name to an inode the kernel holds.

use crate::base::Ino;
use crate::meta::Dirent;

use super::attr::attr_of;
use super::entries::check_name;
use super::{Attr, Fs, FsError};

/// Looks at an entry again when its inode is gone: it was removed meanwhile, perhaps made anew.
const TRIES: usize = 4;

impl Fs {
    /// Counts a lookup when it succeeds. `.` is the inode itself, of any kind, and `..` the directory
    /// above a directory: so the kernel finds what a file handle names.
    ///
    /// # Errors
    /// When there is no such name, `parent` is no directory, or the store fails.
    pub fn lookup(&self, parent: Ino, name: &[u8]) -> Result<Attr, FsError> {
        match name {
            b"." => return self.look_at(parent, None),
            b".." => {
                let dir = self.core.inode(parent)?;
                if !dir.is_directory() {
                    return Err(FsError::NotDirectory);
                }
                return self.look_at(dir.parent, None);
            }
            _ => check_name(name)?,
        }
        let mut dangling: Option<Ino> = None;
        for _ in 0..TRIES {
            let entries = self.core.entries(&*self.core.txn, parent, name)?;
            let Some(entry) = entries.get(name) else {
                return Err(self.no_entry(parent));
            };
            if dangling == Some(entry.ino) {
                break;
            }
            match self.look_at(entry.ino, Some(entry)) {
                Err(FsError::NoEntry) => dangling = Some(entry.ino),
                other => return other,
            }
        }
        eprintln!("coffer: ERROR C-MISSING: a name leads to an inode that does not exist");
        Err(FsError::Io("C-MISSING"))
    }

    fn look_at(&self, ino: Ino, entry: Option<&Dirent>) -> Result<Attr, FsError> {
        // Counted first: a removal that comes between sees that the kernel may hold the inode.
        self.lookups.add(ino);
        let found = self.data.live(ino).and_then(|inode| {
            if entry.is_some_and(|e| e.generation != inode.generation) {
                eprintln!("coffer: ERROR C-SETDIGEST: a name leads to a later inode than its own");
                return Err(FsError::Io("C-SETDIGEST"));
            }
            if inode.nlink == 0 {
                return Err(FsError::NoEntry);
            }
            attr_of(ino, &inode)
        });
        if found.is_err() {
            self.forget(ino, 1);
        }
        found
    }

    /// Tells a missing name from a parent that cannot have one.
    fn no_entry(&self, parent: Ino) -> FsError {
        match self.core.inode(parent) {
            Ok(inode) if !inode.is_directory() => FsError::NotDirectory,
            Ok(_) => FsError::NoEntry,
            Err(e) => e,
        }
    }

    /// Takes `count` lookups of an inode back: the kernel no longer holds it once all are.
    pub fn forget(&self, ino: Ino, count: u64) {
        if self.lookups.forget(ino, count) {
            self.data.forgotten(ino);
        }
    }
}
