//! Attributes: reading and setting them, access times, and the loss of privileges.

use crate::base::{Ino, Timestamp};
use crate::meta::Inode;

use super::acl::{self, Acl};
use super::xattr::CAPABILITY;
use super::{Attr, Caller, Done, FileKind, Fs, FsError, ModeLost, SetAttr, SetTime, StatFs};

/// Age at which relatime renews an access time that is newer than the last change.
const RELATIME_MAX_SECS: i64 = 24 * 60 * 60;

/// Units of `st_blocks` in a page.
const BLOCKS_PER_PAGE: u64 = 8;

/// Returns the attributes that an inode with live size and times has.
///
/// # Errors
/// When its mode names no known type.
pub(super) fn attr_of(ino: Ino, inode: &Inode) -> Result<Attr, FsError> {
    Ok(Attr {
        ino,
        generation: inode.generation,
        size_bytes: inode.size_bytes,
        blocks_512: inode.used_pages * BLOCKS_PER_PAGE,
        atime: inode.atime,
        mtime: inode.mtime,
        ctime: inode.ctime,
        btime: inode.btime,
        kind: FileKind::from_mode(inode.mode).ok_or(FsError::Io("C-DECODE"))?,
        perm: inode.mode & 0o7777,
        nlink: inode.nlink,
        uid: inode.uid,
        gid: inode.gid,
        rdev: inode.rdev,
    })
}

/// Returns the mode without suid, and without sgid where it means a group to run as.
pub(super) fn without_privileges(mode: u32) -> u32 {
    let mode = mode & !libc::S_ISUID;
    if mode & libc::S_IXGRP != 0 {
        mode & !libc::S_ISGID
    } else {
        mode
    }
}

/// Takes the privileges away that a change of contents or owner ends; true if there were some.
fn strip_privileges(inode: &mut Inode, suid_too: bool) -> bool {
    let before = (inode.mode, inode.xattrs.len());
    if suid_too {
        inode.mode = without_privileges(inode.mode);
    }
    inode.xattrs.retain(|(name, _)| name != CAPABILITY);
    before != (inode.mode, inode.xattrs.len())
}

impl Fs {
    /// Returns the attributes of an inode.
    ///
    /// # Errors
    /// When there is none, or the store fails.
    pub fn getattr(&self, ino: Ino) -> Result<Attr, FsError> {
        attr_of(ino, &*self.data.live(ino)?)
    }

    /// Sets attributes and returns all of them.
    ///
    /// # Errors
    /// When there is no such inode, the size is beyond the limit or not one of a regular file, or
    /// the store fails.
    pub fn setattr(&self, caller: Caller, ino: Ino, set: &SetAttr, done: Done<Attr>) {
        done(self.setattr_now(caller, ino, set));
    }

    fn setattr_now(&self, caller: Caller, ino: Ino, set: &SetAttr) -> Result<Attr, FsError> {
        if let Some(size) = set.size_bytes {
            self.truncate(caller, ino, size)?;
        }
        if let Some(ctime) = set.ctime {
            self.core.told(ctime);
        }
        let now = self.core.now();
        let ctime = set.ctime.unwrap_or(now);
        let at = |t| match t {
            SetTime::Now => now,
            SetTime::At(t) => t,
        };
        let (atime, mtime) = (set.atime.map(at), set.mtime.map(at));
        // The times of dirty data are committed with it, not before.
        let noted = mtime.is_some_and(|m| self.data.set_times(ino, m, ctime));
        let owner = set.uid.is_some() || set.gid.is_some();
        let times_only = set.mode.is_none() && !owner && atime.is_none();
        let done = noted || set.size_bytes.is_some() && mtime.is_none() && set.ctime.is_none();
        if times_only && done {
            return self.getattr(ino);
        }
        {
            let mut op = self.core.begin()?;
            let mut inode = Inode::clone(&*self.core.inode_in(&op, ino)?);
            let acl = match set.mode {
                Some(mode) => acl::after_chmod(&self.core, &op, ino, &inode, mode)?,
                None => None,
            };
            inode.uid = set.uid.unwrap_or(inode.uid);
            inode.gid = set.gid.unwrap_or(inode.gid);
            // chown(2) sends the ctime of a regular file along. Without it overlayfs gives the owner
            // to a copy that has its privileges already.
            let is_chown = owner && (set.ctime.is_some() || !inode.is_regular());
            if is_chown && !inode.is_directory() {
                strip_privileges(&mut inode, true);
            }
            if let Some(mode) = set.mode {
                inode.mode = inode.mode & libc::S_IFMT | mode & 0o7777;
            }
            inode.atime = atime.unwrap_or(inode.atime);
            inode.mtime = mtime.filter(|_| !noted).unwrap_or(inode.mtime);
            inode.ctime = ctime;
            if let Some(acl) = acl {
                let value = acl.encode();
                self.core
                    .place_xattr(&mut op, ino, &mut inode, Acl::ACCESS, &value);
            }
            self.core.put_inode(&mut op, ino, inode);
        }
        self.getattr(ino)
    }

    fn truncate(&self, caller: Caller, ino: Ino, size_bytes: u64) -> Result<(), FsError> {
        let inode = self.core.inode(ino)?;
        if inode.is_directory() {
            return Err(FsError::IsDirectory);
        }
        if !inode.is_regular() {
            return Err(FsError::Invalid);
        }
        self.data.truncate(ino, size_bytes)?;
        // For truncate(2) the kernel removes file capabilities itself. Overlayfs sets the size of a
        // copy that has them already, as root.
        if caller.uid == 0 {
            return Ok(());
        }
        self.drop_privileges(ino, true)
    }

    /// Takes privileges away from a file whose contents change, before they do.
    ///
    /// # Errors
    /// When the inode is gone or cannot be changed.
    pub(super) fn drop_privileges(&self, ino: Ino, suid_too: bool) -> Result<(), FsError> {
        let inode = self.core.inode(ino)?;
        let may_have = inode.mode & (libc::S_ISUID | libc::S_ISGID) != 0 && suid_too
            || !inode.xattrs.is_empty();
        if !may_have || !strip_privileges(&mut Inode::clone(&inode), suid_too) {
            return Ok(());
        }
        {
            let mut op = self.core.begin()?;
            let mut inode = Inode::clone(&*self.core.inode_in(&op, ino)?);
            strip_privileges(&mut inode, suid_too);
            inode.ctime = self.core.now();
            self.core.put_inode(&mut op, ino, inode);
        }
        let tell = self.mode_lost.lock().clone();
        if let Some(tell) = tell {
            tell(ino);
        }
        Ok(())
    }

    /// Sets whom to tell, before the request is answered, that a mode is no longer what it was.
    pub fn tell_lost_modes(&self, to: Option<ModeLost>) {
        *self.mode_lost.lock() = to;
    }

    /// Notes that an inode was read, as relatime does: seldom. A read never fails for it.
    pub(super) fn accessed(&self, ino: Ino, inode: &Inode) {
        let now = self.core.now();
        if self.core.read_only || !is_atime_due(inode, now) {
            return;
        }
        if let Ok(mut op) = self.core.begin() {
            if let Ok(inode) = self.core.inode_in(&op, ino) {
                let mut inode = Inode::clone(&inode);
                inode.atime = now;
                self.core.put_inode(&mut op, ino, inode);
            }
        }
    }

    /// Returns the space and the inodes of the volume, or of its quota.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub fn statfs(&self) -> Result<StatFs, FsError> {
        self.data.statfs()
    }

    /// Sets how many logical bytes the files may hold together, from now on; none is no bound.
    pub fn set_quota(&self, quota_bytes: Option<u64>) {
        self.data.set_quota(quota_bytes);
    }
}

fn is_atime_due(inode: &Inode, now: Timestamp) -> bool {
    inode.atime <= inode.mtime
        || inode.atime <= inode.ctime
        || now.secs.saturating_sub(inode.atime.secs) >= RELATIME_MAX_SECS
}
