//! Removal of names.

use crate::base::{Ino, Timestamp};
use crate::meta::Inode;
use crate::txn::Op;

use super::entries::{check_name, lose};
use super::{Fs, FsError};

impl Fs {
    /// Removes a name of a file that is no directory. What has no name left lives on until the
    /// kernel forgets it.
    ///
    /// # Errors
    /// When there is no such name, it is a directory, or the store fails.
    pub fn unlink(&self, parent: Ino, name: &[u8]) -> Result<(), FsError> {
        self.remove(parent, name, false)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// When there is no such name, it is no directory or not empty, or the store fails.
    pub fn rmdir(&self, parent: Ino, name: &[u8]) -> Result<(), FsError> {
        self.remove(parent, name, true)
    }

    fn remove(&self, parent: Ino, name: &[u8], directory: bool) -> Result<(), FsError> {
        check_name(name)?;
        let mut op = self.core.begin()?;
        let mut dir = self.core.directory_in(&op, parent)?;
        let mut entries = self.core.entries(&op, parent, name)?;
        let ino = entries.get(name).ok_or(FsError::NoEntry)?.ino;
        let inode = Inode::clone(&*self.core.inode_in(&op, ino)?);
        match (directory, inode.is_directory()) {
            (true, false) => return Err(FsError::NotDirectory),
            (false, true) => return Err(FsError::IsDirectory),
            (true, true) if inode.size_bytes > 0 => return Err(FsError::NotEmpty),
            _ => {}
        }
        let now = self.core.now();
        entries.remove(name);
        entries.store(&mut op);
        lose(&mut dir, &inode, now);
        self.core.put_inode(&mut op, parent, dir);
        let is_orphan = self.drop_link(&mut op, ino, inode, now);
        drop(op);
        self.settle_orphan(is_orphan.then_some(ino));
        Ok(())
    }

    /// Takes one name of an inode away; returns true if the kernel holds what has become an orphan.
    pub(super) fn drop_link(
        &self,
        op: &mut Op<'_>,
        ino: Ino,
        mut inode: Inode,
        now: Timestamp,
    ) -> bool {
        inode.nlink = if inode.is_directory() {
            0
        } else {
            inode.nlink.saturating_sub(1)
        };
        inode.ctime = now;
        let is_last = inode.nlink == 0;
        self.core.put_inode(op, ino, inode);
        // Only now: who looks it up from here on sees that it has no name.
        let held = self.lookups.holds(ino);
        if is_last {
            self.data.unlinked(op, ino, held);
        }
        is_last && held
    }

    /// The kernel may have forgotten an orphan before it was noted as one. Not inside an operation.
    pub(super) fn settle_orphan(&self, orphan: Option<Ino>) {
        if let Some(ino) = orphan.filter(|ino| !self.lookups.holds(*ino)) {
            self.data.forgotten(ino);
        }
    }
}
