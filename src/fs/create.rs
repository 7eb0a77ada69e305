//! New inodes and new names.

use crate::base::{Ino, InodeGen};
use crate::meta::Inode;
use crate::txn::Op;

use super::acl::Acl;
use super::attr::attr_of;
use super::entries::{check_name, entry, gain};
use super::{Attr, Caller, FileKind, Fs, FsError};

/// Longest target of a symlink, in bytes.
const TARGET_MAX_BYTES: usize = 4095;

/// Most names of an inode, and most directories in one.
pub(super) const LINKS_MAX: u32 = 0x7fff_ffff;

/// An inode to make.
struct New<'a> {
    /// With type bits.
    mode: u32,
    umask: u32,
    rdev: u32,
    target: &'a [u8],
}

/// What a new inode takes over from the default ACL of its directory.
#[derive(Default)]
struct Inherited {
    access: Option<Vec<u8>>,
    default: Option<Vec<u8>>,
}

impl Fs {
    /// Makes a file of any type but directory and symlink; `mode` has the type bits. Counts a lookup.
    ///
    /// # Errors
    /// When the name exists or is none, the type is another, there is no room, or the store fails.
    pub fn mknod(
        &self,
        caller: Caller,
        parent: Ino,
        name: &[u8],
        mode: u32,
        umask: u32,
        rdev: u32,
    ) -> Result<Attr, FsError> {
        let rdev = match FileKind::from_mode(mode).ok_or(FsError::Invalid)? {
            FileKind::Directory | FileKind::Symlink => return Err(FsError::Invalid),
            FileKind::CharDevice | FileKind::BlockDevice => rdev,
            FileKind::Regular | FileKind::Fifo | FileKind::Socket => 0,
        };
        let target = &[];
        self.create(
            caller,
            (parent, name),
            &New {
                mode,
                umask,
                rdev,
                target,
            },
        )
    }

    /// Makes a directory. Counts a lookup.
    ///
    /// # Errors
    /// When the name exists or is none, there is no room, or the store fails.
    pub fn mkdir(
        &self,
        caller: Caller,
        parent: Ino,
        name: &[u8],
        mode: u32,
        umask: u32,
    ) -> Result<Attr, FsError> {
        let new = New {
            mode: libc::S_IFDIR | mode & 0o7777,
            umask,
            rdev: 0,
            target: &[],
        };
        self.create(caller, (parent, name), &new)
    }

    /// Makes a symlink. Counts a lookup.
    ///
    /// # Errors
    /// When the name exists or is none, the target is empty or too long, there is no room, or the
    /// store fails.
    pub fn symlink(
        &self,
        caller: Caller,
        parent: Ino,
        name: &[u8],
        target: &[u8],
    ) -> Result<Attr, FsError> {
        if target.is_empty() {
            return Err(FsError::NoEntry);
        }
        if target.len() > TARGET_MAX_BYTES {
            return Err(FsError::NameTooLong);
        }
        let new = New {
            mode: libc::S_IFLNK | 0o777,
            umask: 0,
            rdev: 0,
            target,
        };
        self.create(caller, (parent, name), &new)
    }

    /// Returns the target of a symlink.
    ///
    /// # Errors
    /// When the inode is none, or the store fails.
    pub fn readlink(&self, ino: Ino) -> Result<Vec<u8>, FsError> {
        let inode = self.core.inode(ino)?;
        if inode.mode & libc::S_IFMT != libc::S_IFLNK {
            return Err(FsError::Invalid);
        }
        self.accessed(ino, &inode);
        Ok(inode.target.clone())
    }

    fn create(&self, caller: Caller, at: (Ino, &[u8]), new: &New<'_>) -> Result<Attr, FsError> {
        let (parent, name) = at;
        check_name(name)?;
        self.data.admit_metadata()?;
        let mut op = self.core.begin()?;
        let mut dir = self.core.directory_in(&op, parent)?;
        let mut entries = self.core.entries(&op, parent, name)?;
        if entries.get(name).is_some() {
            return Err(FsError::Exists);
        }
        let is_directory = new.mode & libc::S_IFMT == libc::S_IFDIR;
        if is_directory && dir.nlink >= LINKS_MAX {
            return Err(FsError::TooManyLinks);
        }
        let (mode, inherited) = self.inherit(&op, parent, &dir, new)?;
        // From here on nothing fails.
        let ino = next_ino(&mut op);
        let mut inode = self.new_inode(&op, caller, new, &dir, mode);
        inode.parent = if is_directory { parent } else { ino };
        let acls = [
            (Acl::ACCESS, inherited.access),
            (Acl::DEFAULT, inherited.default),
        ];
        for (name, value) in acls {
            if let Some(value) = value {
                self.core
                    .place_xattr(&mut op, ino, &mut inode, name, &value);
            }
        }
        entries.set(entry(name, ino, &inode));
        entries.store(&mut op);
        gain(&mut dir, &inode, inode.btime);
        self.core.put_inode(&mut op, parent, dir);
        let inode = self.core.put_new_inode(&mut op, ino, inode);
        self.lookups.add(ino);
        attr_of(ino, &inode)
    }

    fn new_inode(
        &self,
        op: &Op<'_>,
        caller: Caller,
        new: &New<'_>,
        dir: &Inode,
        mode: u32,
    ) -> Inode {
        let now = self.core.now();
        let mut inode = Inode {
            mode,
            uid: caller.uid,
            gid: caller.gid,
            nlink: 1,
            size_bytes: new.target.len() as u64,
            used_pages: 0,
            atime: now,
            mtime: now,
            ctime: now,
            btime: now,
            rdev: new.rdev,
            flags: 0,
            generation: InodeGen(op.group()),
            parent: Ino::ROOT,
            target: new.target.to_vec(),
            xattrs: Vec::new(),
        };
        if dir.mode & libc::S_ISGID != 0 {
            inode.gid = dir.gid;
        }
        if inode.is_directory() {
            inode.nlink = 2;
            inode.mode |= dir.mode & libc::S_ISGID;
        }
        inode
    }

    /// Returns the mode of a new inode, by the default ACL of its directory or the umask.
    fn inherit(
        &self,
        op: &Op<'_>,
        parent: Ino,
        dir: &Inode,
        new: &New<'_>,
    ) -> Result<(u32, Inherited), FsError> {
        let kind = new.mode & libc::S_IFMT;
        let value = match kind {
            libc::S_IFLNK => return Ok((new.mode, Inherited::default())),
            _ => self.core.xattr(op, parent, dir, Acl::DEFAULT)?,
        };
        let acl = match &value {
            Some(value) => Acl::decode(value)?,
            None => None,
        };
        let Some(acl) = acl else {
            return Ok((new.mode & !(new.umask & 0o777), Inherited::default()));
        };
        let (mode, access) = acl.inherit(new.mode);
        let inherited = Inherited {
            access: access.map(|a| a.encode()),
            default: value.filter(|_| kind == libc::S_IFDIR),
        };
        Ok((mode, inherited))
    }

    /// Makes the character device 0:0 that stands for a removed name in a layer of overlayfs.
    pub(super) fn new_whiteout(
        &self,
        op: &mut Op<'_>,
        caller: Caller,
        dir: &Inode,
    ) -> (Ino, Inode) {
        let new = New {
            mode: libc::S_IFCHR,
            umask: 0,
            rdev: 0,
            target: &[],
        };
        let ino = next_ino(op);
        let mut inode = self.new_inode(op, caller, &new, dir, new.mode);
        inode.parent = ino;
        (ino, inode)
    }

    /// Gives an inode one more name. Counts a lookup.
    ///
    /// # Errors
    /// When the name exists or is none, the inode is a directory, has no name left or too many, there
    /// is no room, or the store fails.
    pub fn link(&self, ino: Ino, parent: Ino, name: &[u8]) -> Result<Attr, FsError> {
        check_name(name)?;
        self.data.admit_metadata()?;
        {
            let mut op = self.core.begin()?;
            let mut dir = self.core.directory_in(&op, parent)?;
            let mut inode = Inode::clone(&*self.core.inode_in(&op, ino)?);
            if inode.is_directory() {
                return Err(FsError::NotPermitted);
            }
            if inode.nlink == 0 {
                return Err(FsError::NoEntry);
            }
            if inode.nlink >= LINKS_MAX {
                return Err(FsError::TooManyLinks);
            }
            let mut entries = self.core.entries(&op, parent, name)?;
            if entries.get(name).is_some() {
                return Err(FsError::Exists);
            }
            let now = self.core.now();
            entries.set(entry(name, ino, &inode));
            entries.store(&mut op);
            gain(&mut dir, &inode, now);
            self.core.put_inode(&mut op, parent, dir);
            inode.nlink += 1;
            inode.ctime = now;
            self.core.put_inode(&mut op, ino, inode);
        }
        let attr = self.getattr(ino)?;
        self.lookups.add(ino);
        Ok(attr)
    }
}

/// Takes the next inode number and counts the inode.
fn next_ino(op: &mut Op<'_>) -> Ino {
    let root = op.root();
    let ino = Ino(root.next_ino);
    root.next_ino += 1;
    root.inodes += 1;
    ino
}
