//! Why a mount cannot be made, served or taken away.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a mount cannot be made, served or taken away.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FuseError {
    /// The FUSE device does not exist.
    #[error("/dev/fuse is missing; run `modprobe fuse`, and see `coffer doctor`")]
    DeviceMissing,
    /// The FUSE device cannot be opened.
    #[error("/dev/fuse cannot be opened")]
    Device(#[source] io::Error),
    /// The mount point is not a directory that can be opened; symbolic links are refused.
    #[error("{dir} cannot be used as a mount point")]
    MountPoint {
        /// The mount point.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel refuses the mount.
    #[error("mounting on {dir} failed")]
    Mount {
        /// The mount point.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Mounting needs root or fusermount3, and neither is there.
    #[error("fusermount3 cannot be started, and without root nothing else can mount")]
    HelperMissing(#[source] io::Error),
    /// `allow_other` without root needs a line in /etc/fuse.conf.
    #[error(
        "the option allow_other is not permitted to users here; add a line `user_allow_other` to /etc/fuse.conf"
    )]
    AllowOther,
    /// fusermount3 refuses.
    #[error("fusermount3 refuses: {message}")]
    Helper {
        /// What it says.
        message: String,
    },
    /// Files of the mount are in use.
    #[error("{dir} is in use")]
    Busy {
        /// The mount point.
        dir: PathBuf,
    },
    /// Nothing is mounted there.
    #[error("nothing is mounted on {dir}")]
    NotMounted {
        /// The mount point.
        dir: PathBuf,
    },
    /// The mount cannot be taken away.
    #[error("unmounting {dir} failed")]
    Unmount {
        /// The mount point.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel is too old.
    #[error("the kernel's FUSE lacks {missing}; Linux 5.11 or newer has it")]
    KernelTooOld {
        /// The names of the features.
        missing: String,
    },
    /// The kernel and we did not come to terms.
    #[error("the FUSE session could not be opened")]
    Handshake(#[source] io::Error),
    /// The session broke off.
    #[error("the FUSE session ended with an error")]
    Session(#[source] io::Error),
    /// A limit of the mount cannot be raised.
    #[error("the limits of the mount on {dir} cannot be raised")]
    Limits {
        /// The mount point.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The features a kernel lacks, on their way through [`io::Error`].
#[derive(Debug, Error)]
#[error("FUSE lacks {0}")]
pub(super) struct Missing(pub(super) String);

impl FuseError {
    /// Names what went wrong in a handshake.
    pub(super) fn from_handshake(e: io::Error) -> Self {
        match e.downcast::<Missing>() {
            Ok(Missing(missing)) => Self::KernelTooOld { missing },
            Err(e) => Self::Handshake(e),
        }
    }
}
