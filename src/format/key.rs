//! Keys of the key-value store: a family letter and fixed components (`docs/FORMAT.md`, "Keys").
//!
//! Components that could tell a name or an inode number arrive here already hashed.

use std::borrow::Borrow;
use std::fmt;

use crate::base::{ContentId, PackNo};

use super::record::Kind;

/// Longest key of a record: letter + 16 + 16 or letter + 32.
const RECORD_KEY_MAX_BYTES: usize = 33;

/// Longest key: that of a record, and the bytes that a successor adds.
pub const KEY_MAX_BYTES: usize = 40;

/// The letter a key starts with: its family of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Letter {
    /// Block reference.
    Block = b'C',
    /// Directory entry.
    Dirent = b'D',
    /// Extents.
    Extents = b'E',
    /// Dead ranges not yet punched.
    Punch = b'F',
    /// Inode.
    Inode = b'I',
    /// Pack list.
    PackList = b'L',
    /// Orphan.
    Orphan = b'O',
    /// Page.
    Page = b'P',
    /// Root and volume-wide records.
    Root = b'R',
    /// Pack account.
    Account = b'S',
    /// Extended attribute.
    Xattr = b'X',
}

impl Letter {
    /// Every letter, ascending.
    pub const ALL: [Self; 11] = [
        Self::Block,
        Self::Dirent,
        Self::Extents,
        Self::Punch,
        Self::Inode,
        Self::PackList,
        Self::Orphan,
        Self::Page,
        Self::Root,
        Self::Account,
        Self::Xattr,
    ];

    /// Returns the letter that `first` is, if it is one.
    #[must_use]
    pub fn from_byte(first: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|l| *l as u8 == first)
    }
}

/// A key: at most [`KEY_MAX_BYTES`] bytes, ordered bytewise.
#[derive(Clone, Copy)]
pub struct Key {
    len: u8,
    bytes: [u8; KEY_MAX_BYTES],
}

impl Key {
    /// Returns the key of the parts, one after the other.
    ///
    /// # Panics
    /// When the parts are longer than [`KEY_MAX_BYTES`]: every caller has fixed lengths.
    #[must_use]
    pub fn new(letter: Letter, parts: &[&[u8]]) -> Self {
        let mut bytes = [0; KEY_MAX_BYTES];
        let mut at = 1;
        bytes[0] = letter as u8;
        for p in parts {
            bytes[at..at + p.len()].copy_from_slice(p);
            at += p.len();
        }
        Self {
            len: u8::try_from(at).expect("KEY_MAX_BYTES is below 256"),
            bytes,
        }
    }

    /// Returns the key with these bytes, or none if no record has such a key.
    #[must_use]
    pub fn from_bytes(b: &[u8]) -> Option<Self> {
        kind_of(b)?;
        if b.len() > RECORD_KEY_MAX_BYTES {
            return None;
        }
        let mut bytes = [0; KEY_MAX_BYTES];
        bytes.get_mut(..b.len())?.copy_from_slice(b);
        Some(Self {
            len: u8::try_from(b.len()).ok()?,
            bytes,
        })
    }

    /// Returns the key of the root record.
    #[must_use]
    pub fn root() -> Self {
        Self::new(Letter::Root, &[b"root"])
    }

    /// Returns the key of the settings of the volume that can change: quota, compression.
    #[must_use]
    pub fn settings() -> Self {
        Self::new(Letter::Root, &[b"settings"])
    }

    /// Returns the key of a block reference.
    #[must_use]
    pub fn block(id: &ContentId) -> Self {
        Self::new(Letter::Block, &[&id.0])
    }

    /// Returns the key of a pack account.
    #[must_use]
    pub fn account(pack: PackNo) -> Self {
        Self::new(Letter::Account, &[&pack.0.to_be_bytes()])
    }

    /// Returns the key of the `n`-th piece of a pack list.
    #[must_use]
    pub fn pack_list(pack: PackNo, n: u32) -> Self {
        Self::new(Letter::PackList, &[&pack.0.to_be_bytes(), &n.to_be_bytes()])
    }

    /// Returns the key of a record of dead ranges.
    #[must_use]
    pub fn punch(pack: PackNo, seq: u32) -> Self {
        Self::new(Letter::Punch, &[&pack.0.to_be_bytes(), &seq.to_be_bytes()])
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Returns the kind of record the key names.
    #[must_use]
    pub fn kind(&self) -> Kind {
        kind_of(self.as_bytes()).expect("every constructor checks the letter")
    }

    /// Returns the first key after all keys that start with this one.
    #[must_use]
    pub fn prefix_end(&self) -> Self {
        let mut k = *self;
        while k.len > 0 {
            let last = usize::from(k.len) - 1;
            if k.bytes[last] == 0xff {
                k.bytes[last] = 0;
                k.len -= 1;
            } else {
                k.bytes[last] += 1;
                return k;
            }
        }
        unreachable!("the letter is below 0xff")
    }

    /// Returns the smallest key above this one.
    #[must_use]
    pub fn successor(&self) -> Self {
        let mut k = *self;
        assert!(usize::from(k.len) < KEY_MAX_BYTES);
        k.bytes[usize::from(k.len)] = 0;
        k.len += 1;
        k
    }
}

fn kind_of(key: &[u8]) -> Option<Kind> {
    if let [b'R', rest @ ..] = key {
        return match rest {
            b"root" => Some(Kind::Root),
            b"settings" => Some(Kind::Quota),
            _ => None,
        };
    }
    Some(match key.first()? {
        b'C' => Kind::BlockRef,
        b'D' => Kind::Dirent,
        b'E' => Kind::Extents,
        b'F' => Kind::PendingPunch,
        b'I' => Kind::Inode,
        b'L' => Kind::PackList,
        b'O' => Kind::Orphan,
        b'P' => Kind::Page,
        b'S' => Kind::PackAccount,
        b'X' => Kind::Xattr,
        _ => return None,
    })
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl std::hash::Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", char::from(self.bytes[0]))?;
        self.as_bytes()
            .iter()
            .skip(1)
            .take(8)
            .try_for_each(|b| write!(f, "{b:02x}"))
    }
}
