//! Layouts of the records in the key-value store.

/// What a record is; bound into its seal, so that no kind can stand in for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Inode.
    Inode = 2,
    /// Directory entry.
    Dirent = 3,
    /// Extents of 64 chunks.
    Extents = 4,
    /// Extended attribute.
    Xattr = 5,
    /// Root of a commit.
    Root = 6,
    /// Snapshot.
    Snapshot = 7,
    /// Progress of a long operation.
    Progress = 9,
    /// Quota.
    Quota = 10,
    /// Page.
    Page = 12,
    /// Block reference.
    BlockRef = 13,
    /// Pack account.
    PackAccount = 14,
    /// Orphan or truncation in progress.
    Orphan = 15,
    /// History.
    History = 16,
    /// Content ids of a pack in the order they were appended.
    PackList = 17,
    /// Ranges dead but not yet punched.
    PendingPunch = 18,
}
