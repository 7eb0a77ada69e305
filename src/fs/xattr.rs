//! Extended attributes: small ones in the inode, others in records of their own.

use crate::base::Ino;
use crate::format::inode::INODE_MAX_BYTES;
use crate::format::key::Key;
use crate::format::xattr::{NAME_MAX_BYTES, VALUE_MAX_BYTES};
use crate::meta::{Inode, InodeFlags, Source, XattrRecord};
use crate::txn::Op;

use super::acl::Acl;
use super::core::Core;
use super::{Caller, Fs, FsError};

/// Names and values of one inode together, in bytes.
const ALL_MAX_BYTES: usize = 128 << 10;

/// File capabilities: always in the inode, because each change of contents asks for them.
pub(super) const CAPABILITY: &[u8] = b"security.capability";

/// Longest value of them that the kernel makes, and some room.
const CAPABILITY_MAX_BYTES: usize = 64;

/// Length bytes before an inline name and its value.
const INLINE_FRAMING_BYTES: usize = 4;

/// Records of one inode: no more fit into [`ALL_MAX_BYTES`].
const RECORDS_MAX: usize = ALL_MAX_BYTES;

/// Fails unless the name lies in a namespace that exists.
fn check_name(name: &[u8]) -> Result<(), FsError> {
    if name.len() > NAME_MAX_BYTES {
        return Err(FsError::Range);
    }
    let spaces: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
    let suffix = spaces.iter().find_map(|s| name.strip_prefix(*s));
    match suffix {
        Some(b"") => Err(FsError::Invalid),
        Some(rest) if rest.contains(&0) => Err(FsError::Invalid),
        Some(_) => Ok(()),
        None if name == Acl::ACCESS || name == Acl::DEFAULT => Ok(()),
        None => Err(FsError::NotSupported),
    }
}

impl Core {
    /// Returns the value of an xattr.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) fn xattr(
        &self,
        from: &impl Source,
        ino: Ino,
        inode: &Inode,
        name: &[u8],
    ) -> Result<Option<Vec<u8>>, FsError> {
        if let Some((_, value)) = inode.xattrs.iter().find(|(n, _)| n == name) {
            return Ok(Some(value.clone()));
        }
        if inode.flags & InodeFlags::XATTRS == 0 {
            return Ok(None);
        }
        let Some(payload) = from.get(&self.names.xattr(ino, name))? else {
            return Ok(None);
        };
        let record = XattrRecord::decode(&payload)?;
        Ok(Some(record.value).filter(|_| record.name == name))
    }

    fn large_xattrs(
        &self,
        from: &impl Source,
        ino: Ino,
        inode: &Inode,
    ) -> Result<Vec<(Key, XattrRecord)>, FsError> {
        if inode.flags & InodeFlags::XATTRS == 0 {
            return Ok(Vec::new());
        }
        let first = self.names.xattrs(ino);
        let found = from.scan(&first, &first.prefix_end(), RECORDS_MAX)?;
        let decode = |(key, payload): (Key, Vec<u8>)| Ok((key, XattrRecord::decode(&payload)?));
        found.into_iter().map(decode).collect()
    }

    /// Returns the keys of the xattrs of an inode that have records of their own.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) fn large_xattr_keys(
        &self,
        from: &impl Source,
        ino: Ino,
        inode: &Inode,
    ) -> Result<Vec<Key>, FsError> {
        let all = self.large_xattrs(from, ino, inode)?;
        Ok(all.into_iter().map(|(key, _)| key).collect())
    }

    /// Sets an xattr; the caller puts the inode.
    pub(super) fn place_xattr(
        &self,
        op: &mut Op<'_>,
        ino: Ino,
        inode: &mut Inode,
        name: &[u8],
        value: &[u8],
    ) {
        self.displace_xattr(op, ino, inode, name);
        let len = inode.encode().len() + INLINE_FRAMING_BYTES + name.len() + value.len();
        let is_short = name == CAPABILITY && value.len() <= CAPABILITY_MAX_BYTES;
        if len <= INODE_MAX_BYTES || is_short {
            let at = inode.xattrs.partition_point(|(n, _)| n.as_slice() < name);
            inode.xattrs.insert(at, (name.to_vec(), value.to_vec()));
        } else {
            let payload = XattrRecord::encode(name, value);
            op.put(self.names.xattr(ino, name), payload);
            inode.flags |= InodeFlags::XATTRS;
        }
    }

    /// Removes an xattr that may exist; the caller puts the inode.
    pub(super) fn displace_xattr(&self, op: &mut Op<'_>, ino: Ino, inode: &mut Inode, name: &[u8]) {
        let inline = inode.xattrs.len();
        inode.xattrs.retain(|(n, _)| n != name);
        if inode.xattrs.len() == inline && inode.flags & InodeFlags::XATTRS != 0 {
            op.delete(self.names.xattr(ino, name));
        }
    }
}

impl Fs {
    /// Sets an xattr; `flags` as of setxattr(2). An access ACL also sets the permission bits.
    ///
    /// # Errors
    /// When the name has no known namespace, name, value or all together are too large, the
    /// attribute exists or not against `flags`, an ACL is none, or the store fails.
    pub fn setxattr(
        &self,
        caller: Caller,
        ino: Ino,
        name: &[u8],
        value: &[u8],
        flags: i32,
    ) -> Result<(), FsError> {
        check_name(name)?;
        if value.len() > VALUE_MAX_BYTES {
            return Err(FsError::TooBig);
        }
        self.data.admit_metadata()?;
        let mut op = self.core.begin()?;
        let mut inode = Inode::clone(&*self.core.inode_in(&op, ino)?);
        let old = self.core.xattr(&op, ino, &inode, name)?;
        match old {
            Some(_) if flags & libc::XATTR_CREATE != 0 => return Err(FsError::Exists),
            None if flags & libc::XATTR_REPLACE != 0 => return Err(FsError::NoAttribute),
            _ => {}
        }
        let large = self.core.large_xattrs(&op, ino, &inode)?;
        let large = large.iter().map(|(_, r)| r.name.len() + r.value.len());
        let small = inode.xattrs.iter().map(|(n, v)| n.len() + v.len());
        let had = old.map_or(0, |v| name.len() + v.len());
        if large.chain(small).sum::<usize>() - had + name.len() + value.len() > ALL_MAX_BYTES {
            return Err(FsError::NoSpace);
        }
        let keep = match name {
            Acl::ACCESS => follow_access_acl(caller, &mut inode, value)?,
            Acl::DEFAULT if !inode.is_directory() => return Err(FsError::NotPermitted),
            Acl::DEFAULT => parse_acl(value)?.is_some(),
            _ => true,
        };
        inode.ctime = self.core.now();
        if keep {
            self.core.place_xattr(&mut op, ino, &mut inode, name, value);
        } else {
            self.core.displace_xattr(&mut op, ino, &mut inode, name);
        }
        self.core.put_inode(&mut op, ino, inode);
        Ok(())
    }

    /// Returns the value of an xattr.
    ///
    /// # Errors
    /// When there is none, or the store fails.
    pub fn getxattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>, FsError> {
        check_name(name)?;
        let inode = self.core.inode(ino)?;
        let found = self.core.xattr(&*self.core.txn, ino, &inode, name)?;
        found.ok_or(FsError::NoAttribute)
    }

    /// Returns the names of all xattrs, each ended by NUL.
    ///
    /// # Errors
    /// When the inode is gone or the store fails.
    pub fn listxattr(&self, ino: Ino) -> Result<Vec<u8>, FsError> {
        let inode = self.core.inode(ino)?;
        let large = self.core.large_xattrs(&*self.core.txn, ino, &inode)?;
        let small = inode.xattrs.iter().map(|(name, _)| name);
        let mut out = Vec::new();
        for name in small.chain(large.iter().map(|(_, r)| &r.name)) {
            out.extend_from_slice(name);
            out.push(0);
        }
        Ok(out)
    }

    /// Removes an xattr. Without its access ACL an inode keeps its permission bits; an ACL that is
    /// absent is as good as removed.
    ///
    /// # Errors
    /// When there is none, or the store fails.
    pub fn removexattr(&self, _caller: Caller, ino: Ino, name: &[u8]) -> Result<(), FsError> {
        check_name(name)?;
        let mut op = self.core.begin()?;
        let mut inode = Inode::clone(&*self.core.inode_in(&op, ino)?);
        if self.core.xattr(&op, ino, &inode, name)?.is_none() {
            return match name {
                Acl::ACCESS | Acl::DEFAULT => Ok(()),
                _ => Err(FsError::NoAttribute),
            };
        }
        inode.ctime = self.core.now();
        self.core.displace_xattr(&mut op, ino, &mut inode, name);
        self.core.put_inode(&mut op, ino, inode);
        Ok(())
    }
}

fn parse_acl(value: &[u8]) -> Result<Option<Acl>, FsError> {
    Acl::decode(value).map_err(|_| FsError::Invalid)
}

/// Sets the permission bits an access list stands for; returns true if it says more than they do.
fn follow_access_acl(caller: Caller, inode: &mut Inode, value: &[u8]) -> Result<bool, FsError> {
    if inode.mode & libc::S_IFMT == libc::S_IFLNK {
        return Err(FsError::NotSupported);
    }
    let Some(acl) = parse_acl(value)? else {
        return Ok(false);
    };
    inode.mode = inode.mode & !0o777 | acl.mode();
    // The kernel does not tell us about other groups of the caller, nor of CAP_FSETID.
    if caller.uid != 0 && caller.gid != inode.gid {
        inode.mode &= !libc::S_ISGID;
    }
    Ok(!acl.is_mode())
}
