//! The caller's side of a mount: checks, starts the parent, hands over the secret, waits.

use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::base::os;
use crate::crypto::SecretBytes;
use crate::fuse::{self, FuseError};

use super::channel::{Channel, Order, ToCaller, system};
use super::control::{Answer, Client, Request};
use super::journal;
use super::layout::failed;
use super::mount_point::{self, Found};
use super::runtime::Runtime;
use super::slots::filled_pipe;
use super::{
    Locked, MountRequest, Mounted, PARENT, UmountMode, Volume, VolumeError, mount_table, parent,
};

/// Mounts a volume. In the foreground this process becomes the parent and does not return, unless
/// that fails.
pub(super) fn mount(request: &MountRequest, secret: &SecretBytes) -> Result<Mounted, VolumeError> {
    let volume = Volume::<Locked>::open(&request.volume)?;
    let volume_dir =
        std::fs::canonicalize(&request.volume).map_err(|e| failed("read", &request.volume, e))?;
    let order = Order {
        volume: utf8(volume_dir)?,
        dir: utf8(prepare_mount_point(&request.dir, &request.volume)?)?,
        volume_id: volume.info().volume_id,
        options: request.options.clone(),
        foreground: request.foreground,
    };
    // The mount outlives its caller, and must not hold open what the caller's caller waits for.
    os::keep_descriptors_here().map_err(|e| system("keep descriptors from the mount", e))?;
    let runtime = Runtime::of_user()?.volume(&order.volume_id)?;
    let (ours, theirs) = Channel::pair()?;
    let reader = filled_pipe(secret)?;
    ours.send_with(&order, &[reader.as_fd()])?;
    if request.foreground {
        let e = parent::command(PARENT, theirs, &[]).exec();
        return Err(system("start the parent of the mount", e));
    }
    drop(reader);
    let log = journal::open(&runtime.log()).map_err(|e| failed("open", &runtime.log(), e))?;
    let mut child = parent::spawn(PARENT, theirs, Stdio::from(log), &[])?;
    match ours.receive()? {
        Some((ToCaller::Mounted(mounted), _)) => {
            rustix::fs::statfs(&mounted.mount.dir)
                .map_err(|e| failed("use", &mounted.mount.dir, e.into()))?;
            Ok(mounted)
        }
        Some((ToCaller::Failed(report), _)) => {
            child.wait().map_err(|e| system("wait for the parent", e))?;
            Err(report.into())
        }
        None => Err(VolumeError::Died {
            who: "parent",
            how: String::new(),
            log: runtime.log(),
        }),
    }
}

/// Checks the mount point, and takes a dead mount of ours away from it.
fn prepare_mount_point(dir: &Path, volume: &Path) -> Result<PathBuf, VolumeError> {
    // Dead mounts can lie over each other, one for each worker that was killed there.
    loop {
        match mount_point::look(dir, volume)? {
            Found::Ready(dir) => return Ok(dir),
            Found::Stale(dir) => fuse::unmount(&dir, true)?,
        }
    }
}

/// Messages are text, and so are the paths in them.
fn utf8(path: PathBuf) -> Result<PathBuf, VolumeError> {
    if path.to_str().is_some() {
        return Ok(path);
    }
    Err(VolumeError::Option {
        what: "the path",
        value: path.display().to_string(),
        allowed: "use a path of UTF-8 text",
    })
}

/// Unmounts what `target` names and waits for the end of the worker.
pub(super) fn umount(target: &Path, mode: UmountMode) -> Result<(), VolumeError> {
    let Some(client) = Client::find(target)? else {
        return umount_without_worker(target, mode);
    };
    if matches!(client.ask(&Request::Stop(mode))?, Answer::Orphaned) {
        unmount_orphan(&client, mode)?;
    }
    match mode {
        UmountMode::Lazy => Ok(()),
        UmountMode::Refuse | UmountMode::Force => client.wait_for_the_end(),
    }
}

/// Unmounts in this process, for a worker that has lost its parent.
fn unmount_orphan(client: &Client, mode: UmountMode) -> Result<(), VolumeError> {
    let dir = &client.mount().dir;
    match fuse::unmount(dir, mode == UmountMode::Lazy) {
        Err(FuseError::Busy { .. }) if mode == UmountMode::Force => {
            fuse::unmount(dir, true)?;
            client.terminate()
        }
        Err(FuseError::Busy { .. }) => Err(VolumeError::busy(dir)),
        other => Ok(other?),
    }
}

/// Takes away a mount of ours whose worker cannot be asked: it is dead, or another user's.
fn umount_without_worker(target: &Path, mode: UmountMode) -> Result<(), VolumeError> {
    let not_mounted = || VolumeError::NotMounted {
        target: target.to_path_buf(),
    };
    let dir = mount_point::resolve(target)?.ok_or_else(not_mounted)?;
    let line = mount_table::at(&dir).map_err(|e| failed("read", &dir, e))?;
    if !line.is_some_and(|l| l.is_ours()) {
        return Err(not_mounted());
    }
    match fuse::unmount(
        &dir,
        mode != UmountMode::Refuse || mount_point::is_dead(&dir),
    ) {
        Err(FuseError::Busy { .. }) => Err(VolumeError::busy(&dir)),
        other => Ok(other?),
    }
}
