//! Newtypes of every id that crosses a function border.

use std::fmt;

/// Bytes of a page, the unit of small data: 4096.
pub const PAGE_BYTES: usize = 4096;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// Number of an inode; never reused in a volume, allocated upward from 2 (1 is the root directory).
    Ino(u64)
}
number! {
    /// The generation an inode was created in; stands in its directory entries too.
    InodeGen(u64)
}
number! {
    /// Number of a commit; the first root of a volume is generation 1.
    Generation(u64)
}
number! {
    /// Number of a data key; rises by one with each key rotation.
    Epoch(u32)
}
number! {
    /// Number of a pack file; never reused in a volume.
    PackNo(u32)
}
number! {
    /// Index of a chunk in a file: offset / chunk size.
    ChunkIx(u64)
}
number! {
    /// Index of a page in a file: offset / 4096.
    PageIx(u64)
}

impl Ino {
    /// The root directory of every volume.
    pub const ROOT: Self = Self(1);
}

macro_rules! bytes_id {
    ($(#[$doc:meta])* $name:ident[$len:expr]) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

bytes_id! {
    /// Name of a block: keyed BLAKE3 of the plaintext of its chunk.
    ContentId[32]
}
bytes_id! {
    /// Identity of a volume: 16 random bytes, made by `init`.
    VolumeId[16]
}
