//! POSIX access control lists as the kernel encodes them in xattrs, and how they and the mode keep
//! in step. The kernel checks them; we keep them.
//!
//! Layout of the value: `version u32 = 2 | (tag u16 | perm u16 | id u32)...`, entries in the order
//! of their tags, then ids (linux:include/uapi/linux/posix_acl_xattr.h).

use crate::base::Ino;
use crate::format::bytes::{DecodeError, Reader};
use crate::meta::Inode;
use crate::txn::Op;

use super::FsError;
use super::core::Core;

const VERSION: u32 = 2;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// The id of entries that name nobody.
const NO_ID: u32 = u32::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    tag: u16,
    /// rwx, 0..=7.
    perm: u16,
    id: u32,
}

/// A list. Invariant: one entry each for owner, group and others, at most one mask, and a mask if
/// anybody is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Acl {
    entries: Vec<Entry>,
}

/// Returns the three bits of `mode` at `shift`.
fn bits(mode: u32, shift: u32) -> u16 {
    u16::try_from(mode >> shift & 7).expect("three bits")
}

impl Acl {
    /// The xattr of the list that governs access to an inode.
    pub(super) const ACCESS: &'static [u8] = b"system.posix_acl_access";
    /// The xattr of the list that new entries of a directory get.
    pub(super) const DEFAULT: &'static [u8] = b"system.posix_acl_default";

    /// Returns the list in an xattr, or none if it is empty.
    ///
    /// # Errors
    /// When it is none that the kernel would make.
    pub(super) fn decode(value: &[u8]) -> Result<Option<Self>, DecodeError> {
        let mut r = Reader::new(value, "ACL");
        if r.u32()? != VERSION {
            return Err(r.error());
        }
        let error = r.error();
        let mut entries = Vec::new();
        while !r.is_empty() {
            let entry = Entry {
                tag: r.u16()?,
                perm: r.u16()?,
                id: r.u32()?,
            };
            entries.push(entry);
        }
        if entries.is_empty() {
            return Ok(None);
        }
        let acl = Self { entries };
        if acl.is_valid() {
            Ok(Some(acl))
        } else {
            Err(error)
        }
    }

    fn is_valid(&self) -> bool {
        let count = |tag| self.entries.iter().filter(|e| e.tag == tag).count();
        let known = [USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER];
        let named = count(USER) + count(GROUP) > 0;
        let once = count(USER_OBJ) == 1 && count(GROUP_OBJ) == 1 && count(OTHER) == 1;
        let mask = count(MASK) == 1 || count(MASK) == 0 && !named;
        let each = |e: &Entry| known.contains(&e.tag) && e.perm <= 7;
        once && mask && self.entries.iter().all(each)
    }

    /// Returns the value of the xattr.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 + 8 * self.entries.len());
        out.extend_from_slice(&VERSION.to_le_bytes());
        for e in &self.entries {
            let named = matches!(e.tag, USER | GROUP);
            out.extend_from_slice(&e.tag.to_le_bytes());
            out.extend_from_slice(&e.perm.to_le_bytes());
            out.extend_from_slice(&if named { e.id } else { NO_ID }.to_le_bytes());
        }
        out
    }

    fn find(&self, tag: u16) -> Option<u32> {
        let entry = self.entries.iter().find(|e| e.tag == tag);
        entry.map(|e| u32::from(e.perm))
    }

    /// The entry that the group bits of the mode show.
    fn group_class(&self) -> u16 {
        if self.find(MASK).is_some() {
            MASK
        } else {
            GROUP_OBJ
        }
    }

    /// Returns the nine permission bits that stand for the list.
    pub(super) fn mode(&self) -> u32 {
        let bits = |tag| self.find(tag).unwrap_or(0);
        bits(USER_OBJ) << 6 | bits(self.group_class()) << 3 | bits(OTHER)
    }

    /// Returns true if the mode says all the list says.
    pub(super) fn is_mode(&self) -> bool {
        self.entries.len() == 3
    }

    fn map_classes(&mut self, f: impl Fn(u16, u32) -> u16) {
        let group = self.group_class();
        for e in &mut self.entries {
            match e.tag {
                USER_OBJ => e.perm = f(e.perm, 6),
                OTHER => e.perm = f(e.perm, 0),
                tag if tag == group => e.perm = f(e.perm, 3),
                _ => {}
            }
        }
    }

    /// Follows chmod.
    fn set_mode(&mut self, mode: u32) {
        self.map_classes(|_, shift| bits(mode, shift));
    }

    /// Returns what a new inode of `mode` gets from the default list of its directory: its mode, and
    /// its own list if the mode does not say it all.
    pub(super) fn inherit(mut self, mode: u32) -> (u32, Option<Self>) {
        self.map_classes(|perm, shift| perm & bits(mode, shift));
        let mode = mode & !0o777 | self.mode();
        let own = (!self.is_mode()).then_some(self);
        (mode, own)
    }
}

/// Returns the access list of an inode after chmod, if it has one.
///
/// # Errors
/// When the store fails.
pub(super) fn after_chmod(
    core: &Core,
    op: &Op<'_>,
    ino: Ino,
    inode: &Inode,
    mode: u32,
) -> Result<Option<Acl>, FsError> {
    let Some(value) = core.xattr(op, ino, inode, Acl::ACCESS)? else {
        return Ok(None);
    };
    let mut acl = Acl::decode(&value)?;
    if let Some(acl) = &mut acl {
        acl.set_mode(mode);
    }
    Ok(acl)
}
