//! Inodes, directory entries, extents, pages, xattrs: typed records and the names they lie under.
//!
//! No semantics: which records change together is the business of `fs`.

mod names;
mod source;

pub use crate::format::dirent::{Dirent, decode_dirents, encode_dirents};
pub use crate::format::extents::{Extents, GROUP_CHUNKS};
pub use crate::format::inode::{Inode, InodeFlags};
pub use crate::format::orphan::Orphan;
pub use crate::format::page::PageRecord;
pub use crate::format::xattr::XattrRecord;
pub use names::Names;
pub use source::Source;
