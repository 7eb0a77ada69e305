//! What can be told of a volume, as data: without a secret, with one, and while it is mounted.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// All that is known of a volume; what needs a secret or a mount is absent without.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// What the header tells without a secret.
    pub header: HeaderInfo,
    /// What the store tells.
    pub content: Option<ContentInfo>,
    /// Where it is mounted.
    pub mount: Option<MountInfo>,
}

/// What is readable without a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderInfo {
    /// 32 hexadecimal digits.
    pub volume_id: String,
    /// Version of the format.
    pub format: u16,
    /// Seconds since 1970.
    pub created: u64,
    /// Plaintext bytes of a chunk.
    pub chunk_bytes: u32,
    /// The slots that open it.
    pub slots: Vec<SlotInfo>,
    /// What is wrong with one of the two copies of the header, until a mount mends it.
    pub damage: Option<String>,
}

/// A slot of the header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotInfo {
    /// Its number.
    pub id: u16,
    /// passphrase, keyfile, ...
    pub kind: String,
    /// admin, rw, ro.
    pub role: String,
    /// What its owner calls it.
    pub label: String,
    /// How to get its secret. A worker of an earlier version does not tell.
    #[serde(default)]
    pub hint: String,
    /// Seconds since 1970.
    pub created: u64,
    /// Work of Argon2id for each guess, for passphrases.
    pub kdf: Option<String>,
}

/// What the store of an open volume tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentInfo {
    /// The label given at `init`.
    pub label: String,
    /// The data keys.
    pub epochs: Vec<EpochLine>,
    /// Quota, if there is one.
    pub size_bytes: Option<u64>,
    /// Logical bytes of all files.
    pub used_bytes: u64,
    /// Inodes that exist.
    pub inodes: u64,
    /// Bytes of blocks on the store's file system.
    pub stored_bytes: u64,
    /// Different blocks.
    pub blocks: u64,
    /// Uncompressed bytes of blocks, each counted as often as files name it.
    pub referenced_bytes: u64,
    /// Uncompressed bytes of blocks, each counted once.
    pub unique_bytes: u64,
    /// Newest durable commit.
    pub generation: u64,
    /// How new blocks are compressed: none, lz4, zstd.
    pub compression: String,
}

/// A data key of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochLine {
    /// Its number.
    pub id: u32,
    /// active, draining, retired.
    pub state: String,
    /// Seconds since 1970.
    pub created: u64,
}

/// A live mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountInfo {
    /// The mount point.
    pub dir: PathBuf,
    /// The directory of the volume.
    pub volume_dir: PathBuf,
    /// Process id of the worker.
    pub pid: u32,
    /// Process id of the parent.
    pub parent_pid: u32,
    /// Seconds since 1970.
    pub since: u64,
    /// How long it took to mount, in milliseconds.
    pub mount_ms: u64,
    /// No changes are possible.
    pub read_only: bool,
}

/// A mounted volume, as `list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounted {
    /// 32 hexadecimal digits.
    pub volume_id: String,
    /// The label given at `init`.
    pub label: String,
    /// Where.
    pub mount: MountInfo,
}
