//! What a file operation can end with, and the one place that maps it to errno.

use thiserror::Error;

use crate::block::BlockError;
use crate::format::bytes::DecodeError;
use crate::txn::TxnError;

/// Why a file operation did not happen.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum FsError {
    /// No such name or inode.
    #[error("no such file or directory")]
    NoEntry,
    /// The name exists.
    #[error("file exists")]
    Exists,
    /// A directory was needed.
    #[error("not a directory")]
    NotDirectory,
    /// A directory cannot be used so.
    #[error("is a directory")]
    IsDirectory,
    /// The directory has entries.
    #[error("directory not empty")]
    NotEmpty,
    /// An argument has no meaning here.
    #[error("invalid argument")]
    Invalid,
    /// The caller may not.
    #[error("operation not permitted")]
    NotPermitted,
    /// Name longer than 255 bytes.
    #[error("file name too long")]
    NameTooLong,
    /// File size past the limit.
    #[error("file too large")]
    TooLarge,
    /// Too many links to one inode.
    #[error("too many links")]
    TooManyLinks,
    /// No such xattr.
    #[error("no such attribute")]
    NoAttribute,
    /// The caller's buffer is too small.
    #[error("result too large for the buffer")]
    Range,
    /// A value or list larger than the limits.
    #[error("argument too large")]
    TooBig,
    /// Not possible on this kind of file.
    #[error("operation not supported")]
    NotSupported,
    /// The store's file system is full.
    #[error("no space left")]
    NoSpace,
    /// The quota of the volume is used up.
    #[error("quota exceeded")]
    Quota,
    /// The volume was mounted read-only.
    #[error("read-only file system")]
    ReadOnly,
    /// The store failed, or a record is not authentic; the log has the code.
    #[error("input/output error ({0})")]
    Io(&'static str),
}

impl FsError {
    /// Returns the errno of Linux for it.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            Self::NoEntry => libc::ENOENT,
            Self::Exists => libc::EEXIST,
            Self::NotDirectory => libc::ENOTDIR,
            Self::IsDirectory => libc::EISDIR,
            Self::NotEmpty => libc::ENOTEMPTY,
            Self::Invalid => libc::EINVAL,
            Self::NotPermitted => libc::EPERM,
            Self::NameTooLong => libc::ENAMETOOLONG,
            Self::TooLarge => libc::EFBIG,
            Self::TooManyLinks => libc::EMLINK,
            Self::NoAttribute => libc::ENODATA,
            Self::Range => libc::ERANGE,
            Self::TooBig => libc::E2BIG,
            Self::NotSupported => libc::EOPNOTSUPP,
            Self::NoSpace => libc::ENOSPC,
            Self::Quota => libc::EDQUOT,
            Self::ReadOnly => libc::EROFS,
            Self::Io(_) => libc::EIO,
        }
    }
}

impl From<TxnError> for FsError {
    /// Logs the cause: a caller only learns EIO.
    fn from(e: TxnError) -> Self {
        match &e {
            TxnError::Sealed { no_space: true, .. } => Self::NoSpace,
            TxnError::ReadOnly => Self::ReadOnly,
            TxnError::Sealed { code, message, .. } => {
                eprintln!("coffer: ERROR {code}: {message}");
                Self::Io(code)
            }
            TxnError::Poisoned(_) | TxnError::Closed => Self::Io("C-POISON"),
            other => {
                eprintln!("coffer: ERROR {other}");
                Self::Io("C-DECODE")
            }
        }
    }
}

impl From<DecodeError> for FsError {
    fn from(e: DecodeError) -> Self {
        TxnError::from(e).into()
    }
}

impl From<BlockError> for FsError {
    fn from(e: BlockError) -> Self {
        match e {
            BlockError::Txn(e) => e.into(),
            BlockError::Store { no_space: true, .. } => Self::NoSpace,
            BlockError::Store { message, .. } => {
                eprintln!("coffer: ERROR C-STORE: {message}");
                Self::Io("C-STORE")
            }
            BlockError::Damaged { code, id } => {
                eprintln!("coffer: ERROR {code}: block {id}");
                Self::Io(code)
            }
        }
    }
}
