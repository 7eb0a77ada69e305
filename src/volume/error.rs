//! What an action on a volume can end with, and how coarse a reader may see it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::block::BlockError;
use crate::format::bytes::DecodeError;
use crate::fs::FsError;
use crate::fuse::FuseError;
use crate::keys::{self, KeysError};
use crate::kv::KvError;
use crate::maint::CheckError;
use crate::sealed::SealedError;
use crate::txn::TxnError;

use super::mount_table;

/// What the reader of an error can do about it; each kind has one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// Something outside failed; try again, or report it.
    Failed,
    /// What was asked for makes no sense: ask otherwise.
    Usage,
    /// No slot accepts the secret.
    WrongSecret,
    /// There is no volume, or one of an unknown format.
    NotAVolume,
    /// Somebody else holds the volume or the mount point.
    InUse,
    /// Bytes are not what the holder of the keys wrote: restore, or find out who wrote them.
    Integrity,
    /// A rule of this host or this volume forbids it.
    Policy,
    /// The store's file system, or the quota, is full.
    NoSpace,
}

/// Who holds a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Process id of the worker, as its host counts.
    pub pid: u32,
    /// Name of the host.
    pub host: String,
    /// Boot of the host.
    pub boot_id: String,
    /// Where the volume is mounted, if it is.
    pub mount_point: Option<PathBuf>,
}

impl Holder {
    /// Returns the holder of whom nothing could be read.
    pub(super) fn unknown() -> Self {
        Self {
            pid: 0,
            host: String::new(),
            boot_id: String::new(),
            mount_point: None,
        }
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.pid == 0 {
            return f.write_str("another process");
        }
        write!(f, "pid {} on {}", self.pid, self.host)?;
        match &self.mount_point {
            Some(dir) => write!(f, ", mounted on {}", dir.display()),
            None => Ok(()),
        }
    }
}

/// Why a directory cannot become a mount point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MountPointProblem {
    /// There is nothing.
    #[error("does not exist; create it with mkdir")]
    Missing,
    /// It is a file.
    #[error("is not a directory; name a directory")]
    NotDirectory,
    /// It is a symbolic link.
    #[error("is a symbolic link; name the directory it points to")]
    Symlink,
    /// It holds something, which the mount would hide.
    #[error("is not empty, and the mount would hide what it holds; name an empty directory")]
    NotEmpty,
    /// Something is mounted there.
    #[error("is a mount point already; unmount it first, or name another directory")]
    Mounted,
    /// It lies inside the volume directory.
    #[error("lies inside the volume directory; name a directory outside of it")]
    InsideVolume,
    /// The volume directory lies inside it.
    #[error("holds the volume directory, and the mount would hide it; name another directory")]
    HoldsVolume,
}

/// An error that crossed a process border, or is about to.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Report {
    /// What can be done.
    pub kind: Kind,
    /// Stable code, if it has one.
    pub code: Option<String>,
    /// The cause with its chain.
    pub message: String,
}

/// Why an action on a volume did not happen.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VolumeError {
    /// There is no such directory.
    #[error("{} does not exist; check the path, or create a volume with `coffer init`", dir.display())]
    Missing {
        /// What was named.
        dir: PathBuf,
    },
    /// It is a file, or something else that holds no volume.
    #[error("{} is not a directory; name the directory of a volume", dir.display())]
    NotDirectory {
        /// What was named.
        dir: PathBuf,
    },
    /// The directory holds something else.
    #[error("{} is not a coffer volume; name the directory that `coffer init` made", dir.display())]
    NotAVolume {
        /// What was named.
        dir: PathBuf,
    },
    /// `init` did not come to its end.
    #[error("the creation of {} was interrupted; run `coffer init` for it again", dir.display())]
    Unfinished {
        /// The directory.
        dir: PathBuf,
    },
    /// `init` of a volume.
    #[error("{} is a coffer volume already; mount it, or name another directory", dir.display())]
    AlreadyAVolume {
        /// The directory.
        dir: PathBuf,
    },
    /// `init` of a directory that holds something else.
    #[error("{} is not empty; name an empty or a new directory", dir.display())]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
    /// A value that no volume can have.
    #[error("{what} {value} is not possible; {allowed}")]
    Option {
        /// The option.
        what: &'static str,
        /// What was asked for.
        value: String,
        /// What can be.
        allowed: &'static str,
    },
    /// The volume is open elsewhere.
    #[error("the volume is in use by {0}; unmount it there first")]
    InUse(Holder),
    /// Another directory with the same volume is open on this host.
    #[error(
        "volume {volume} is open on this host from another directory, of which this one is a copy; unmount that first"
    )]
    CopyInUse {
        /// The volume.
        volume: String,
    },
    /// The mount point cannot be used.
    #[error("{} {problem}", dir.display())]
    MountPoint {
        /// The mount point.
        dir: PathBuf,
        /// Why not.
        problem: MountPointProblem,
    },
    /// Nothing of ours is mounted there.
    #[error("no coffer volume is mounted on {}; see `coffer list`", target.display())]
    NotMounted {
        /// What was named.
        target: PathBuf,
    },
    /// Processes use the mount.
    #[error("{} is in use by {}; end them, or use --lazy", dir.display(), name_pids(pids))]
    Busy {
        /// The mount point.
        dir: PathBuf,
        /// Who uses it, as far as this process may see.
        pids: Vec<u32>,
    },
    /// The store has less than this host saw it hold since it started.
    #[error(
        "C-ROLLBACK: the volume is at generation {found}, but this host has seen {seen}: an older \
         copy was put in its place; find the newest copy and mount that"
    )]
    Rollback {
        /// The generation in the store.
        found: u64,
        /// The generation seen.
        seen: u64,
    },
    /// An old header was put back.
    #[error(
        "C-ROLLBACK: the header has sequence number {found}, but the volume has seen {seen}: an \
         older header was put in its place; restore the newest header"
    )]
    HeaderRollback {
        /// In the header file.
        found: u64,
        /// In the root.
        seen: u64,
    },
    /// The header belongs to another store.
    #[error("C-SUBST: header and store are of different volumes; put back the header of this one")]
    Substituted,
    /// The store lacks what every volume has.
    #[error("C-MISSING: the store holds no settings; restore a copy of the volume")]
    NoSettings,
    /// The quota would be smaller than what is there.
    #[error(
        "the volume holds {used_bytes} bytes, more than the {size_bytes} asked for; remove files first, or ask for more"
    )]
    SizeTooSmall {
        /// What was asked for.
        size_bytes: u64,
        /// What is there.
        used_bytes: u64,
    },
    /// Changing was asked for with a secret, or on a mount, that only reads.
    #[error("C-POLICY: this opens the volume read-only; use a secret that may write")]
    ReadOnly,
    /// A user without a place for what lives as long as a boot.
    #[error(
        "XDG_RUNTIME_DIR is not set; log in through a session that sets it, or set it to a private directory in memory"
    )]
    NoRuntimeDir,
    /// The runtime directory belongs to somebody else.
    #[error("{} must be a directory that only this user may use; remove it or correct its owner and mode", dir.display())]
    RuntimeDir {
        /// The directory.
        dir: PathBuf,
    },
    /// A file or directory could not be used.
    #[error("cannot {op} {}", path.display())]
    Io {
        /// The verb.
        op: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A system call without a file failed.
    #[error("cannot {op}")]
    System {
        /// The verb.
        op: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The parent ended before it had mounted.
    #[error("the parent of the mount ended before it had mounted")]
    ParentGone,
    /// A process of the mount ended before its work was done.
    #[error("the {who} ended unexpectedly{how}; its log is {}", log.display())]
    Died {
        /// Parent or worker.
        who: &'static str,
        /// How, if that is known, after a colon.
        how: String,
        /// Where it wrote what it knew.
        log: PathBuf,
    },
    /// A process of the mount did not speak as it should.
    #[error("the other process of the mount sent something else than expected")]
    Protocol(#[source] serde_json::Error),
    /// What happened in another process.
    #[error(transparent)]
    Remote(#[from] Report),
    /// The store failed.
    #[error("the store failed")]
    Kv(#[from] KvError),
    /// The header or the secret.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The mount failed.
    #[error(transparent)]
    Fuse(#[from] FuseError),
    /// The records failed.
    #[error(transparent)]
    Txn(#[from] TxnError),
    /// The blocks failed.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The file system failed.
    #[error("the file system failed")]
    Fs(#[from] FsError),
    /// One check of a mounted volume at a time.
    #[error("a check of this volume is under way already; wait until it has ended")]
    CheckUnderWay,
    /// A check did not come to its end.
    #[error(transparent)]
    Check(CheckError),
}

fn name_pids(pids: &[u32]) -> String {
    if pids.is_empty() {
        return "processes that this user may not see".into();
    }
    let list: Vec<String> = pids.iter().map(u32::to_string).collect();
    format!("pid {}", list.join(", "))
}

impl From<SealedError> for VolumeError {
    fn from(e: SealedError) -> Self {
        Self::Txn(e.into())
    }
}

impl From<DecodeError> for VolumeError {
    fn from(e: DecodeError) -> Self {
        Self::Txn(e.into())
    }
}

impl VolumeError {
    /// Returns the error of a mount in use, with who uses it.
    pub(super) fn busy(dir: &std::path::Path) -> Self {
        let line = mount_table::at(dir).ok().flatten();
        Self::Busy {
            dir: dir.to_path_buf(),
            pids: line.map(|m| mount_table::users(&m)).unwrap_or_default(),
        }
    }

    /// Returns what can be done about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Missing { .. }
            | Self::NotDirectory { .. }
            | Self::NotAVolume { .. }
            | Self::Unfinished { .. } => Kind::NotAVolume,
            Self::AlreadyAVolume { .. } | Self::NotEmpty { .. } | Self::SizeTooSmall { .. } => {
                Kind::Policy
            }
            Self::Option { .. } => Kind::Usage,
            Self::InUse(_) | Self::CopyInUse { .. } | Self::CheckUnderWay | Self::Busy { .. } => {
                Kind::InUse
            }
            Self::MountPoint { problem, .. } => match problem {
                MountPointProblem::Mounted => Kind::InUse,
                _ => Kind::Usage,
            },
            Self::NotMounted { .. } => Kind::Usage,
            Self::Rollback { .. }
            | Self::HeaderRollback { .. }
            | Self::Substituted
            | Self::NoSettings => Kind::Integrity,
            Self::ReadOnly | Self::RuntimeDir { .. } => Kind::Policy,
            Self::Io { source, .. } | Self::System { source, .. } => kind_of_io(source),
            Self::NoRuntimeDir
            | Self::ParentGone
            | Self::Died { .. }
            | Self::Protocol(_)
            | Self::Check(_) => Kind::Failed,
            Self::Remote(report) => report.kind,
            Self::Kv(e) => kind_of_kv(e),
            Self::Keys(e) => kind_of_keys(e),
            Self::Fuse(e) => kind_of_fuse(e),
            Self::Txn(e) => kind_of_txn(e),
            Self::Block(e) => kind_of_block(e),
            Self::Fs(FsError::NoSpace | FsError::Quota) => Kind::NoSpace,
            Self::Fs(_) => Kind::Failed,
        }
    }

    /// Returns the stable code of the error, if it has one (`C-...`).
    #[must_use]
    pub fn code(&self) -> Option<String> {
        if let Self::Remote(report) = self {
            return report.code.clone();
        }
        let text = self.chain();
        let at = text.find("C-")?;
        let code: String = text
            .get(at..)?
            .chars()
            .take_while(|c| c.is_ascii_uppercase() || *c == '-')
            .collect();
        (code.len() > 2).then_some(code)
    }

    /// Returns the message with the messages of its causes.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(c) = cause {
            text = format!("{text}: {c}");
            cause = c.source();
        }
        text
    }

    /// Returns the error as it crosses a process border.
    #[must_use]
    pub fn report(&self) -> Report {
        Report {
            kind: self.kind(),
            code: self.code(),
            message: self.chain(),
        }
    }
}

fn kind_of_io(e: &std::io::Error) -> Kind {
    match e.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Kind::NoSpace,
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            Kind::Policy
        }
        _ => Kind::Failed,
    }
}

fn kind_of_kv(e: &KvError) -> Kind {
    match e {
        KvError::Busy => Kind::InUse,
        KvError::NoSpace { .. } => Kind::NoSpace,
        KvError::Io { source, .. } | KvError::Pack { source, .. } => kind_of_io(source),
        KvError::Engine { .. } => Kind::Failed,
    }
}

fn kind_of_keys(e: &KeysError) -> Kind {
    match e.kind() {
        keys::ErrorKind::WrongSecret => Kind::WrongSecret,
        keys::ErrorKind::NotAVolume => Kind::NotAVolume,
        keys::ErrorKind::Usage => Kind::Usage,
        keys::ErrorKind::Integrity => Kind::Integrity,
        keys::ErrorKind::Policy => Kind::Policy,
        keys::ErrorKind::NoSpace => Kind::NoSpace,
        keys::ErrorKind::Failure => Kind::Failed,
    }
}

fn kind_of_fuse(e: &FuseError) -> Kind {
    match e {
        FuseError::Busy { .. } => Kind::InUse,
        FuseError::AllowOther | FuseError::Helper { .. } => Kind::Policy,
        _ => Kind::Failed,
    }
}

fn kind_of_txn(e: &TxnError) -> Kind {
    match e {
        TxnError::Sealed { no_space: true, .. } => Kind::NoSpace,
        TxnError::Sealed {
            code: "C-STORE", ..
        }
        | TxnError::Poisoned(_) => Kind::Failed,
        TxnError::ReadOnly => Kind::Policy,
        _ => Kind::Integrity,
    }
}

fn kind_of_block(e: &BlockError) -> Kind {
    match e {
        BlockError::Txn(e) => kind_of_txn(e),
        BlockError::Damaged { .. } => Kind::Integrity,
        BlockError::Store { no_space: true, .. } => Kind::NoSpace,
        BlockError::Store { .. } => Kind::Failed,
    }
}
