//! The API of coffer: everything a user can do to a volume, and the processes of a mount.
//!
//! States are types: a [`Volume<Locked>`] is a directory that looks like a volume, a
//! [`Volume<Open>`] holds its keys, its lock and its store. A mount is two processes. The *parent*
//! mounts, unmounts and watches, and never sees a key; the *worker* holds the keys, gives up what it
//! does not need, and serves. The caller of [`mount`] hands the secret to the worker through a pipe.

mod channel;
mod check;
mod checking;
mod control;
mod error;
mod info;
mod init;
mod journal;
mod layout;
mod lock;
mod mount;
mod mount_point;
mod mount_table;
mod open;
mod options;
mod parent;
mod runtime;
mod seen;
mod signals;
mod slots;
mod worker;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use crate::block::Compression;
pub use crate::crypto::SecretBytes;
pub use crate::format::header::{Argon2Cost, Role, SlotKind};
pub use crate::keys::read_key_file;
pub use crate::maint::{
    ByteRange, CheckOptions, Code, Finding, Looked, Phase, Progress, Report as CheckReport,
    Severity, Watch,
};
pub use error::{Holder, Kind, MountPointProblem, Report, VolumeError};
pub use info::{ContentInfo, EpochLine, HeaderInfo, Info, MountInfo, Mounted, SlotInfo};
pub use open::{Locked, Open};
pub use options::{InitOptions, MountOptions};
pub use slots::{SecretForm, SlotChange, change_slots, recovery_code};

use control::{Client, Request};

/// What a volume is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Access {
    /// Reading only: nothing in the directory is changed.
    ReadOnly,
    /// Reading and writing.
    ReadWrite,
}

/// A volume in a directory.
pub struct Volume<State> {
    dir: PathBuf,
    state: State,
}

/// How `umount` deals with a mount that is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum UmountMode {
    /// Refuses, and says who uses it.
    #[default]
    Refuse,
    /// Takes it out of sight at once; the worker ends when the last user has gone.
    Lazy,
    /// Takes it out of sight, writes everything out and ends; later calls of its users fail.
    Force,
}

/// How a mount is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountRequest {
    /// The volume directory.
    pub volume: PathBuf,
    /// The mount point.
    pub dir: PathBuf,
    /// What the mount is like.
    pub options: MountOptions,
    /// Stay until it is unmounted, and log to standard error.
    pub foreground: bool,
}

/// Creates a volume in `dir`, which is absent or empty, or was left by a creation that a crash
/// interrupted. Returns its id.
///
/// # Errors
/// When the directory holds something else, an option is impossible, or the store's file system
/// fails or is full; what was made is removed again.
pub fn init(
    dir: &Path,
    options: &InitOptions,
    secret: &SecretBytes,
) -> Result<String, VolumeError> {
    init::init(dir, options, secret)
}

/// Returns what is known of the volume that `target` names, a volume directory or the mount point
/// of a mounted one, without a secret.
///
/// # Errors
/// When there is no volume, or its worker does not answer.
pub fn info(target: &Path) -> Result<Info, VolumeError> {
    if let Some(client) = Client::find(target)? {
        return Ok(client.info());
    }
    Ok(Info {
        header: Volume::<Locked>::open(target)?.info(),
        content: None,
        mount: None,
    })
}

/// Mounts a volume; returns when the mount answers, or in the foreground when it has ended.
///
/// # Errors
/// When the volume or the mount point cannot be used, or the secret is wrong; no mount is left.
pub fn mount(request: &MountRequest, secret: &SecretBytes) -> Result<Mounted, VolumeError> {
    mount::mount(request, secret)
}

/// Unmounts what `target` names, a mount point or a volume directory; returns when everything is
/// durable and the keys are gone.
///
/// # Errors
/// When nothing is mounted there, it is in use, or the worker could not write everything.
pub fn umount(target: &Path, mode: UmountMode) -> Result<(), VolumeError> {
    mount::umount(target, mode)
}

/// Returns the mounted volumes of this user.
///
/// # Errors
/// When the runtime directory cannot be read.
pub fn list() -> Result<Vec<Mounted>, VolumeError> {
    control::list()
}

/// Returns when everything written so far to the mounted volume is durable.
///
/// # Errors
/// When nothing is mounted there, or the commit fails.
pub fn sync(target: &Path) -> Result<(), VolumeError> {
    Client::expect(target)?.ask(&Request::Sync).map(drop)
}

/// Looks whether a mounted volume is whole as its last commit has left it; its worker does so, and
/// changes nothing. `watch` is told how far it has come, and returns false to stop it.
///
/// # Errors
/// When nothing is mounted there, its store cannot be read at all, or a check is under way already.
/// What is damaged is no error but stands in the report.
pub fn check_mounted(
    target: &Path,
    options: CheckOptions,
    watch: &Watch<'_>,
) -> Result<CheckReport, VolumeError> {
    Client::expect(target)?.check(options, watch)
}

/// Sets the quota of a mounted volume.
///
/// # Errors
/// When nothing is mounted there, more is there already, or the commit fails.
pub fn resize(target: &Path, size_bytes: Option<u64>) -> Result<(), VolumeError> {
    let request = Request::Resize { size_bytes };
    Client::expect(target)?.ask(&request).map(drop)
}

/// Runs the parent of one mount: what the binary does when its first argument is [`PARENT`].
///
/// # Errors
/// What ended the mount before its time.
pub fn parent_main() -> Result<(), VolumeError> {
    parent::main()
}

/// Runs the worker of one mount: what the binary does when its first argument is [`WORKER`].
///
/// # Errors
/// What went wrong, if there was no parent to tell it to.
pub fn worker_main() -> Result<(), VolumeError> {
    worker::main()
}

/// First argument with which the binary runs [`parent_main`].
pub const PARENT: &str = "mount-parent";

/// First argument with which the binary runs [`worker_main`].
pub const WORKER: &str = "mount-worker";
