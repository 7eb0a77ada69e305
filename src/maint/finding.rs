//! What a check can find: numbered, with what it means and what is at stake.
//!
//! A number is part of the contract with scripts (docs/FINDINGS.md): it is never reused, and never
//! changes its meaning.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a finding costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Space that nobody uses.
    Waste,
    /// Something told of files or of the volume is wrong; no content is touched.
    Wrong,
    /// Nothing is lost yet, but using the volume may lose it.
    Danger,
    /// Names, attributes or contents cannot be read any more.
    Lost,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $severity:ident, $title:literal;)*) => {
        /// The kind of a finding.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Code {
            $($(#[$doc])* $name = $number,)*
        }

        impl Code {
            /// Every kind, by number.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns what it means, in a few words.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// Returns what it costs.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }
        }
    };
}

codes! {
    /// One copy of the header is missing, damaged or older than the other.
    HeaderTwin = 101, Danger, "a copy of the header is damaged";
    /// There is no root record, or it is not authentic or malformed.
    Root = 102, Danger, "the root record is missing or damaged";
    /// The records of a bucket are not those of the last commit: some were changed, put back,
    /// removed or added from outside.
    SetDigest = 103, Danger, "records are not those of the last commit";
    /// The root counts another number of records of a kind.
    RecordCount = 104, Wrong, "the count of records of a kind is wrong";
    /// The root counts another number of inodes.
    InodeCount = 105, Wrong, "the count of inodes is wrong";
    /// The root counts other pages in use: what the quota and df go by.
    UsedPages = 106, Wrong, "the space in use is counted wrong";
    /// The next inode or pack number is one that exists already.
    NextNumber = 107, Danger, "a number would be given twice";
    /// There are no settings, or they are malformed.
    Settings = 108, Danger, "the settings of the volume are missing or damaged";
    /// This host has seen a newer state of this volume.
    Rollback = 109, Lost, "the volume is older than this host has seen it";
    /// A record says that it was written by a commit that has not been.
    FromTheFuture = 110, Danger, "a record is newer than the last commit";

    /// A record was changed outside, or its place was.
    NotAuthentic = 201, Lost, "a record is not authentic";
    /// A record is authentic and has not the layout of its kind.
    Malformed = 202, Lost, "a record is malformed";
    /// A key that no record of a volume has.
    ForeignKey = 203, Waste, "a key that no record has";
    /// The key-value store cannot read a part of itself.
    StoreUnreadable = 204, Lost, "a part of the store cannot be read";

    /// A name leads to an inode that does not exist.
    DanglingName = 301, Lost, "a name leads to nothing";
    /// A name says another type or generation than its inode.
    NameMismatch = 302, Wrong, "a name and its inode do not agree";
    /// A name that cannot be, is there twice, or lies where nobody looks for it.
    BadName = 303, Danger, "a name lies in the wrong place or cannot be";
    /// Names in a directory that does not exist.
    NamesOfNobody = 304, Lost, "names in a directory that does not exist";
    /// A file has another number of names than it says.
    LinkCount = 305, Danger, "the link count of a file is wrong";
    /// A directory has another number of links than its subdirectories make.
    DirectoryLinks = 306, Wrong, "the link count of a directory is wrong";
    /// A directory has another number of entries than it says.
    DirectorySize = 307, Danger, "the number of entries of a directory is wrong";
    /// A directory has another parent than it says, or several.
    DirectoryParent = 308, Danger, "a directory does not lie where it says";
    /// A file that no name leads to, and that is not being removed.
    NoName = 309, Lost, "a file that no name leads to";
    /// A directory that cannot be reached from the root directory.
    Unreachable = 310, Lost, "a directory that cannot be reached";
    /// A removal or truncation in progress of something that is not being removed or truncated.
    Orphan = 311, Danger, "a removal in progress of what is in use";
    /// An inode lies where nobody looks for it, or its number is not known.
    InodePlace = 312, Lost, "an inode lies in the wrong place";
    /// There is no root directory.
    NoRootDirectory = 313, Lost, "the root directory is missing";
    /// An extended attribute of nobody, or one that its inode does not know.
    Xattr = 314, Wrong, "an extended attribute of nobody";
    /// Attributes that no inode has.
    Attributes = 315, Wrong, "impossible attributes";

    /// Extents of an inode that does not exist, or has none.
    ExtentsOfNobody = 401, Lost, "extents of nobody";
    /// A page of an inode that does not exist, or of a place it does not lie in.
    PageOfNobody = 402, Lost, "a page of nobody";
    /// A page that its file does not know: nobody reads it.
    HiddenPage = 403, Lost, "a page that its file does not read";
    /// Data that lies beyond the end of its file.
    BeyondTheEnd = 404, Danger, "data beyond the end of a file";
    /// A file counts other pages than it has.
    FileUsedPages = 405, Wrong, "the space of a file is counted wrong";
    /// A part of a file lies in a block that does not exist.
    BlockMissing = 406, Lost, "a part of a file is lost";
    /// A block counts another number of references.
    References = 407, Danger, "the references of a block are counted wrong";
    /// A block that no file uses.
    Unreferenced = 408, Waste, "a block that no file uses";

    /// Blocks in a pack that has no account.
    NoAccount = 501, Danger, "blocks in a pack without an account";
    /// A pack counts other live bytes than its blocks have.
    LiveBytes = 502, Danger, "the live bytes of a pack are counted wrong";
    /// A block that the lists of its pack do not name: the next start would take its bytes for dead.
    NotListed = 503, Danger, "a block that its pack does not list";
    /// Two blocks, or a block and a dead range, share bytes.
    Overlap = 504, Danger, "two owners of the same bytes";
    /// A block or a dead range lies beyond what its pack has.
    BeyondThePack = 505, Danger, "a block beyond the end of its pack";
    /// A pack file is missing or too short.
    PackFile = 506, Lost, "a pack file is missing or too short";
    /// List or dead-range records that the account does not know, or lacks.
    PackRecords = 507, Danger, "the records of a pack do not fit its account";
    /// A block of another epoch than its pack.
    PackEpoch = 508, Danger, "a block of another epoch than its pack";
    /// A full pack in which some bytes are neither live, dead nor given back.
    PackSum = 509, Waste, "some bytes of a pack belong to nobody";

    /// The bytes of a block are not there.
    BlockAbsent = 601, Lost, "the bytes of a block are missing";
    /// The bytes of a block are not what was written.
    BlockNotAuthentic = 602, Lost, "a block is not authentic";
    /// A block holds something else than its name says.
    BlockMismatch = 603, Lost, "a block is not what its name says";
    /// A block is authentic and cannot be decoded.
    BlockMalformed = 604, Lost, "a block is malformed";
    /// The disk does not give the bytes of a block.
    BlockUnreadable = 605, Lost, "the disk cannot read a block";
}

impl Code {
    /// Returns the number.
    #[must_use]
    pub fn number(self) -> u16 {
        // The enum is `repr(u16)`: every variant is its own number.
        self as u16
    }

    /// Returns the kind with this number.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|c| c.number() == number)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "F-{}", self.number())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let number = text.strip_prefix("F-").and_then(|n| n.parse().ok());
        number
            .and_then(Self::from_number)
            .ok_or_else(|| serde::de::Error::custom("no finding has this number"))
    }
}

/// A range of a file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByteRange {
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Its kind.
    pub code: Code,
    /// What it is about, for people: a record, an inode, a pack.
    pub subject: String,
    /// What was found, and what was expected.
    pub detail: String,
    /// Names of the file it touches, from the root directory; bytes that are no text as `\xNN`.
    pub paths: Vec<String>,
    /// The part of that file that it touches, if not all of it.
    pub range: Option<ByteRange>,
}
