//! The one place that says how a command ends: exit code, cause, next step.
//!
//! Codes are part of the contract with scripts (`coffer help` and the manual list them) and never
//! change their meaning.

use std::fmt;
use std::process::ExitCode;

use crate::volume::{Kind, VolumeError};

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It failed for a reason that has no code of its own.
    Failure = 1,
    /// The command line is wrong.
    Usage = 2,
    /// No key slot accepts the secret.
    WrongSecret = 3,
    /// The directory is not a volume, or one of a format this version does not know.
    NotAVolume = 4,
    /// Somebody else has it open or mounted.
    InUse = 5,
    /// The volume is damaged or was tampered with.
    Integrity = 6,
    /// A rule forbids it.
    Policy = 7,
    /// The disk or the quota is full.
    NoSpace = 8,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        // The enum is `repr(u8)`: every variant is its own exit code.
        Self::from(exit as u8)
    }
}

/// Why a command ends without its result: one sentence with the cause, then what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The code the process ends with.
    pub exit: Exit,
    /// The cause, a sentence without its full stop.
    pub cause: String,
    /// The next step, a sentence or a command without its full stop; empty if there is none.
    pub next: String,
}

impl Failure {
    /// Returns a failure with its cause and next step.
    pub fn new(exit: Exit, cause: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            exit,
            cause: cause.into(),
            next: next.into(),
        }
    }

    /// Returns a failure of the command line.
    pub fn usage(cause: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(Exit::Usage, cause, next)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.cause)?;
        if self.next.is_empty() {
            Ok(())
        } else {
            write!(f, "\n next: {}", self.next)
        }
    }
}

/// Returns an error with the whole chain of its causes, which are not repeated when a message
/// already ends with its source.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(e) = source {
        let cause = e.to_string();
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = e.source();
    }
    text
}

impl From<VolumeError> for Failure {
    fn from(e: VolumeError) -> Self {
        let kind = e.kind();
        let text = e.chain();
        // The layers below write `cause; next step` where they know the next step best.
        let (cause, next) = text
            .rsplit_once("; ")
            .unwrap_or((&text, general_next_step(kind)));
        Self::new(exit_of(kind), cause, next)
    }
}

/// The one map from what went wrong to the exit code.
const fn exit_of(kind: Kind) -> Exit {
    match kind {
        Kind::Usage => Exit::Usage,
        Kind::WrongSecret => Exit::WrongSecret,
        Kind::NotAVolume => Exit::NotAVolume,
        Kind::InUse => Exit::InUse,
        Kind::Integrity => Exit::Integrity,
        Kind::Policy => Exit::Policy,
        Kind::NoSpace => Exit::NoSpace,
        _ => Exit::Failure,
    }
}

/// What to do when the cause itself names nothing better.
const fn general_next_step(kind: Kind) -> &'static str {
    match kind {
        Kind::Usage => "run the command with --help",
        Kind::WrongSecret => "try again; `coffer info VOLUME` shows the key slots there are",
        Kind::NotAVolume => "name the directory that `coffer init` made",
        Kind::InUse => "see `coffer list` for who uses it",
        Kind::Integrity => "keep the directory as it is, and restore a copy of it to mount",
        Kind::Policy => "meet the rule, or run the command as a user who may",
        Kind::NoSpace => "make room on the disk of the volume, then run the command again",
        _ => "check what is named; `coffer doctor` looks for faults of this host",
    }
}
