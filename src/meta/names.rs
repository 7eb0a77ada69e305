//! The keys of records: what names a file or an inode goes through the keyed hash.

use crate::base::sync::Arc;
use crate::base::{Ino, PageIx};
use crate::crypto::{Keyset, PrfDomain};
use crate::format::key::{Key, Letter};

/// Makes the keys of one volume's records.
#[derive(Clone)]
pub struct Names {
    keyset: Arc<Keyset>,
    /// Bits of a name's hash that count: fewer make collisions, for tests.
    #[cfg(test)]
    pub(crate) name_mask: u128,
}

/// Cookies below are not of names: 0 the start of a directory, 1 after `.`, 2 after `..`.
const FIRST_COOKIE: u64 = 3;

impl Names {
    /// Returns the names under these keys.
    #[must_use]
    pub fn new(keyset: Arc<Keyset>) -> Self {
        Self {
            keyset,
            #[cfg(test)]
            name_mask: u128::MAX,
        }
    }

    fn prf(&self, domain: PrfDomain, ino: Ino) -> [u8; 16] {
        self.keyset.prf16(domain, &[&ino.0.to_le_bytes()])
    }

    /// Returns the key of an inode. Neighbours share a prefix, for locality.
    #[must_use]
    pub fn inode(&self, ino: Ino) -> Key {
        let [low, ..] = ino.0.to_le_bytes();
        let group = self
            .keyset
            .prf16(PrfDomain::Inode, &[&(ino.0 >> 8).to_le_bytes()]);
        Key::new(Letter::Inode, &[&group, &[low]])
    }

    /// Returns the first bytes of the keys of all entries of a directory.
    #[must_use]
    pub fn dir(&self, dir: Ino) -> Key {
        Key::new(Letter::Dirent, &[&self.prf(PrfDomain::Dir, dir)])
    }

    /// Returns the hash of a name in its directory: the second half of its key, and its cookie.
    #[must_use]
    pub fn name_hash(&self, dir: Ino, name: &[u8]) -> [u8; 16] {
        let hash = self
            .keyset
            .prf16(PrfDomain::Name, &[&dir.0.to_le_bytes(), name]);
        #[cfg(test)]
        let hash = (u128::from_be_bytes(hash) & self.name_mask).to_be_bytes();
        hash
    }

    /// Returns the key of the entries of `dir` whose names have this hash.
    #[must_use]
    pub fn dirent(&self, dir: Ino, hash: &[u8; 16]) -> Key {
        Key::new(Letter::Dirent, &[&self.prf(PrfDomain::Dir, dir), hash])
    }

    /// Returns the first key of `dir` whose entries have at least this cookie.
    #[must_use]
    pub fn dirents_from(&self, dir: Ino, cookie: u64) -> Key {
        let first = if cookie <= FIRST_COOKIE {
            0
        } else {
            cookie << 1
        };
        let mut hash = [0; 16];
        let (head, _) = hash.split_at_mut(8);
        head.copy_from_slice(&first.to_be_bytes());
        self.dirent(dir, &hash)
    }

    /// Returns the cookie of the entries at a key made by [`Self::dirent`]: the first 63 bits of the
    /// hash of their names. It never changes while the name exists.
    #[must_use]
    pub fn cookie(key: &Key) -> u64 {
        let hash = key.as_bytes().last_chunk::<16>();
        let head = hash.and_then(|h| h.first_chunk::<8>());
        head.map_or(FIRST_COOKIE, |h| {
            (u64::from_be_bytes(*h) >> 1).max(FIRST_COOKIE)
        })
    }

    /// Returns the key of the extents of chunks `group * 64` and up.
    #[must_use]
    pub fn extents(&self, ino: Ino, group: u64) -> Key {
        let prf = self.prf(PrfDomain::Extent, ino);
        Key::new(Letter::Extents, &[&prf, &group.to_be_bytes()])
    }

    /// Returns the key of a page.
    #[must_use]
    pub fn page(&self, ino: Ino, page: PageIx) -> Key {
        let prf = self.prf(PrfDomain::Page, ino);
        Key::new(Letter::Page, &[&prf, &page.0.to_be_bytes()])
    }

    /// Returns the first bytes of the keys of all large xattrs of an inode.
    #[must_use]
    pub fn xattrs(&self, ino: Ino) -> Key {
        Key::new(Letter::Xattr, &[&self.prf(PrfDomain::Xattr, ino)])
    }

    /// Returns the key of a large xattr.
    #[must_use]
    pub fn xattr(&self, ino: Ino, name: &[u8]) -> Key {
        let hash = self
            .keyset
            .prf16(PrfDomain::XattrName, &[&ino.0.to_le_bytes(), name]);
        Key::new(Letter::Xattr, &[&self.prf(PrfDomain::Xattr, ino), &hash])
    }

    /// Returns the key of an orphan.
    #[must_use]
    pub fn orphan(&self, ino: Ino) -> Key {
        Key::new(Letter::Orphan, &[&self.prf(PrfDomain::Orphan, ino)])
    }
}
