//! What can be wrong with a header, a secret or a key file: messages of the form `cause; next step`.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::base::RngError;
use crate::base::os::LockedMemoryError;
use crate::crypto::{CryptoError, SecretBytes};
use crate::format::header::{Argon2Cost, HeaderError, Role, SLOTS_MAX};

use super::create::PASSPHRASE_MIN_CHARS;

/// Why a volume cannot be created, read or unlocked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeysError {
    /// There is no header.
    #[error("{} is not a coffer volume; check the path, or create one with `coffer init`", dir.display())]
    NotAVolume {
        /// What was taken for a volume.
        dir: PathBuf,
    },
    /// Neither copy of the header can be used.
    #[error(
        "C-HDRBAD: both copies of the header are damaged (header.a: {a}, header.b: {b}); restore one of them from a backup of the header"
    )]
    HeaderDamaged {
        /// What is wrong with `header.a`.
        a: CopyFault,
        /// What is wrong with `header.b`.
        b: CopyFault,
    },
    /// The header is of another version.
    #[error("C-SUITE: {0}; use the version of coffer that made the volume, or a newer one")]
    Unsupported(HeaderError),
    /// A slot asks for more work than is allowed.
    #[error("C-KDFCAP: slot {slot} asks for {cost}, but {limit}")]
    KdfCap {
        /// The slot.
        slot: u16,
        /// What it asks for.
        cost: Argon2Cost,
        /// What forbids it.
        limit: KdfLimit,
    },
    /// The secret opens no slot.
    #[error(
        "C-NOSLOT: no slot accepts this secret; try again, `coffer info` shows which slots there are"
    )]
    WrongSecret,
    /// The secret is right, and the header is not what a holder of the keys wrote.
    #[error(
        "C-HDRTAMPER: the header was changed by someone without its keys ({what}); restore both copies from a backup of the header"
    )]
    Tampered {
        /// The part that is not authentic.
        what: &'static str,
    },
    /// The slot that opened does not allow writing.
    #[error("C-POLICY: slot {slot} opens the volume for reading only; mount with `-o ro`")]
    ReadOnlySlot {
        /// The slot.
        slot: u16,
    },
    /// The slot that opened is no administrator's.
    #[error(
        "C-POLICY: slot {slot} has the role {}, which may not change keys; use the secret of an admin slot", role.name()
    )]
    NotAdmin {
        /// The slot.
        slot: u16,
        /// Its role.
        role: Role,
    },
    /// There is no such slot.
    #[error("the volume has no slot {slot}; `coffer key list` shows which there are")]
    NoSuchSlot {
        /// The slot.
        slot: u16,
    },
    /// Without it nobody could change keys any more.
    #[error(
        "C-POLICY: slot {slot} is the last one with the role admin; add another admin slot first"
    )]
    LastAdmin {
        /// The slot.
        slot: u16,
    },
    /// There is no room for one more slot.
    #[error("C-POLICY: the volume has {SLOTS_MAX} slots, more do not fit; remove one first")]
    SlotsFull,
    /// Another slot takes the secret already.
    #[error("C-POLICY: slot {slot} takes this secret already; give another one")]
    KnownSecret {
        /// The slot.
        slot: u16,
    },
    /// A label or hint that cannot stand in a header.
    #[error("a {what} has at most {max_bytes} bytes and no control characters; give a shorter one")]
    Text {
        /// Label or hint.
        what: &'static str,
        /// Its bound.
        max_bytes: usize,
    },
    /// What looks like a recovery code has a wrong checksum.
    #[error(
        "C-NOSLOT: this has the form of a recovery code, but a character of it is wrong; compare it with the paper"
    )]
    MistypedCode,
    /// A change is in effect, and one copy of the header has not got it.
    #[error(
        "the change is in effect, but {} could not be written and may still hold what was removed; mend the disk, then mount the volume once", path.display()
    )]
    SecondCopy {
        /// The copy.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<KeysError>,
    },
    /// A secret that cannot protect a volume.
    #[error("C-SECRETFORM: {0}")]
    WeakSecret(WeakSecret),
    /// A key file that breaks a rule.
    #[error("C-PERM: the key file {} {fault}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// The rule.
        fault: KeyFileFault,
    },
    /// A file cannot be read or written.
    #[error("cannot {op} {}", path.display())]
    Io {
        /// What was tried.
        op: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The ciphers failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

impl From<RngError> for KeysError {
    fn from(e: RngError) -> Self {
        Self::Crypto(e.into())
    }
}

impl From<LockedMemoryError> for KeysError {
    fn from(e: LockedMemoryError) -> Self {
        Self::Crypto(e.into())
    }
}

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Give another secret.
    WrongSecret,
    /// Name another directory, or use another version.
    NotAVolume,
    /// Restore from a backup.
    Integrity,
    /// Ask otherwise.
    Usage,
    /// Meet the rule.
    Policy,
    /// Make room.
    NoSpace,
    /// Look at the machine.
    Failure,
}

impl KeysError {
    /// Returns what to do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::WrongSecret | Self::MistypedCode => ErrorKind::WrongSecret,
            Self::NoSuchSlot { .. } => ErrorKind::Usage,
            Self::SecondCopy { source, .. } => source.kind(),
            Self::NotAVolume { .. } | Self::Unsupported(_) => ErrorKind::NotAVolume,
            Self::HeaderDamaged { .. }
            | Self::Tampered { .. }
            | Self::Crypto(CryptoError::Keyring) => ErrorKind::Integrity,
            Self::KdfCap { .. }
            | Self::ReadOnlySlot { .. }
            | Self::NotAdmin { .. }
            | Self::LastAdmin { .. }
            | Self::SlotsFull
            | Self::KnownSecret { .. }
            | Self::Text { .. }
            | Self::WeakSecret(_)
            | Self::KeyFile { .. }
            | Self::Crypto(
                CryptoError::KdfParameters(_) | CryptoError::SecretTooLong | CryptoError::Label,
            ) => ErrorKind::Policy,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                ErrorKind::NoSpace
            }
            Self::Io { .. } | Self::Crypto(_) => ErrorKind::Failure,
        }
    }
}

/// What is wrong with one copy of a header.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CopyFault {
    /// It is not there.
    #[error("missing")]
    Missing,
    /// It is a symlink, a directory or anything else but a file.
    #[error("not a regular file")]
    NotRegular,
    /// It is longer than any header.
    #[error("longer than a header")]
    TooLong,
    /// Its checksum is wrong: it was torn or damaged.
    #[error("wrong checksum")]
    Checksum,
    /// Its layout is wrong.
    #[error("{0}")]
    Layout(HeaderError),
    /// The disk does not give it.
    #[error("{0}")]
    Unreadable(io::Error),
}

/// What forbids the work that a slot asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KdfLimit {
    /// The limit of every header.
    Header,
    /// Half of the memory that this machine or control group has.
    Memory {
        /// That half, in KiB.
        allowed_kib: u64,
    },
    /// The memory is not free now.
    Exhausted,
}

impl fmt::Display for KdfLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => write!(
                f,
                "at most {} is ever allowed; do not trust this header, restore it from a backup",
                Argon2Cost::CAP
            ),
            Self::Memory { allowed_kib } => write!(
                f,
                "half of the memory here is {allowed_kib} KiB; use another slot, more memory, or less of it for a new volume with `--kdf`"
            ),
            Self::Exhausted => write!(f, "that memory is not free; end other programs first"),
        }
    }
}

/// Why a secret is refused for a new slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WeakSecret {
    /// Nothing was given.
    #[error("the secret is empty; give a passphrase of at least {PASSPHRASE_MIN_CHARS} characters")]
    Empty,
    /// A passphrase that is guessed too soon.
    #[error(
        "the passphrase has {chars} characters; give at least {PASSPHRASE_MIN_CHARS}, six random words are good"
    )]
    Short {
        /// Its characters.
        chars: usize,
    },
    /// A passphrase that nobody can type.
    #[error(
        "the passphrase is not one line of UTF-8 text; give text, or a key file of at least {} random bytes",
        SecretBytes::KEY_MIN_BYTES
    )]
    NotText,
    /// A key that is too short.
    #[error(
        "the key has {bytes} bytes; give at least {min}, made for example with `head -c {min} /dev/urandom`",
        min = SecretBytes::KEY_MIN_BYTES
    )]
    ShortKey {
        /// Its bytes.
        bytes: usize,
    },
}

/// The rule that a key file breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyFileFault {
    /// It is a symlink.
    #[error("is a symlink; name the file it points to")]
    Symlink,
    /// It is no regular file.
    #[error("is not a regular file; give a file, or use `stdin` or `fd:N`")]
    NotRegular,
    /// It belongs to someone else.
    #[error("belongs to user {uid}, not to root or to you; mend it with `chown`")]
    Owner {
        /// Its owner.
        uid: u32,
    },
    /// Others may read or write it.
    #[error("has mode {mode:04o} and is open to others; mend it with `chmod 0400`")]
    Mode {
        /// Its permission bits.
        mode: u32,
    },
    /// It is longer than any key.
    #[error(
        "is longer than {} bytes; check that it is the key file",
        SecretBytes::MAX_BYTES
    )]
    TooLong,
    /// It lies beside what it opens.
    #[error(
        "lies inside the volume, where whoever gets the volume gets the key; move it elsewhere"
    )]
    InsideVolume,
}
