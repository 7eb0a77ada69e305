//! What a caller may choose: at creation, and at a mount.

use crate::block::Compression;
use crate::format::header::{Argon2Cost, SlotKind};

use super::VolumeError;

/// What `init` may be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitOptions {
    /// Name for people and for the mount table; may be empty.
    pub label: String,
    /// Quota in logical bytes.
    pub size_bytes: Option<u64>,
    /// How new blocks are compressed.
    pub compression: Compression,
    /// Plaintext bytes of a chunk: a power of two from 16 KiB to 1 MiB.
    pub chunk_bytes: u32,
    /// Owner of the root directory.
    pub uid: u32,
    /// Group of the root directory.
    pub gid: u32,
    /// Permission bits of the root directory.
    pub mode: u32,
    /// Work of Argon2id for the first slot.
    pub cost: Argon2Cost,
    /// Where the secret of the first slot comes from.
    pub slot: SlotKind,
}

impl Default for InitOptions {
    fn default() -> Self {
        Self {
            label: String::new(),
            size_bytes: None,
            compression: Compression::default(),
            chunk_bytes: 128 << 10,
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            mode: 0o755,
            cost: Argon2Cost::DEFAULT,
            slot: SlotKind::Passphrase,
        }
    }
}

/// What a mount may be told.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MountOptions {
    /// No changes.
    pub read_only: bool,
    /// Other users may use it; by default as root only.
    pub allow_other: bool,
    /// Set-user-id bits have no effect.
    pub nosuid: bool,
    /// Device nodes have no effect.
    pub nodev: bool,
    /// No programs are run from it.
    pub noexec: bool,
}

impl Default for MountOptions {
    fn default() -> Self {
        Self {
            read_only: false,
            allow_other: rustix::process::geteuid().is_root(),
            nosuid: true,
            nodev: true,
            noexec: false,
        }
    }
}

/// Options of mount(8) that change nothing here.
const IGNORED: [&str; 13] = [
    "defaults",
    "_netdev",
    "nofail",
    "auto",
    "noauto",
    "user",
    "users",
    "nouser",
    "owner",
    "group",
    "relatime",
    "async",
    "default_permissions",
];

impl MountOptions {
    /// Applies one option of `-o`: what stands between two commas. The last one wins.
    ///
    /// # Errors
    /// When nobody knows it.
    pub fn set(&mut self, option: &str) -> Result<(), VolumeError> {
        match option {
            "ro" => self.read_only = true,
            "rw" => self.read_only = false,
            "allow_other" => self.allow_other = true,
            "noallow_other" => self.allow_other = false,
            "suid" => self.nosuid = false,
            "nosuid" => self.nosuid = true,
            "dev" => self.nodev = false,
            "nodev" => self.nodev = true,
            "exec" => self.noexec = false,
            "noexec" => self.noexec = true,
            _ if is_ignored(option) => {}
            _ => {
                return Err(VolumeError::Option {
                    what: "the mount option",
                    value: option.to_owned(),
                    allowed: "see `coffer mount --help` for the ones there are",
                });
            }
        }
        Ok(())
    }
}

/// Returns true for what mount(8) and its callers mean for themselves.
fn is_ignored(option: &str) -> bool {
    IGNORED.contains(&option)
        || ["x-", "comment=", "user="]
            .iter()
            .any(|p| option.starts_with(p))
}

/// Returns the byte of the settings record for a compression.
pub(super) fn stored_compression(compression: Compression) -> u8 {
    match compression {
        Compression::None => 0,
        Compression::Lz4 => 1,
        Compression::Zstd => 2,
    }
}

/// Returns the compression that a settings record names.
pub(super) fn compression_of(stored: u8) -> Compression {
    match stored {
        0 => Compression::None,
        2 => Compression::Zstd,
        _ => Compression::Lz4,
    }
}

/// Returns the name used in commands and output.
pub(super) fn compression_name(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    }
}
