//! What a directory must be like to be mounted on.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::layout::failed;
use super::mount_table::{self, MountLine};
use super::{MountPointProblem, VolumeError};

/// What is to be done with a directory before it can be mounted on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing.
    Ready(PathBuf),
    /// A mount of ours whose worker is dead lies on it: take that away and look again.
    Stale(PathBuf),
}

/// Looks at a mount point and returns its absolute path.
///
/// # Errors
/// When it cannot be one for this volume directory, which exists.
pub(super) fn look(dir: &Path, volume: &Path) -> Result<Found, VolumeError> {
    let problem = |problem| VolumeError::MountPoint {
        dir: dir.to_path_buf(),
        problem,
    };
    let absolute = resolve(dir)?.ok_or_else(|| problem(MountPointProblem::Missing))?;
    let mounted = mount_at(&absolute)?;
    // The attributes of a dead mount may still lie in the kernel; its statfs(2) does not.
    if mounted.as_ref().is_some_and(MountLine::is_ours) && is_dead(&absolute) {
        return Ok(Found::Stale(absolute));
    }
    let metadata = fs::symlink_metadata(&absolute).map_err(|e| match e.kind() {
        ErrorKind::NotFound => problem(MountPointProblem::Missing),
        _ => failed("use", dir, e),
    })?;
    if metadata.is_symlink() {
        return Err(problem(MountPointProblem::Symlink));
    }
    if !metadata.is_dir() {
        return Err(problem(MountPointProblem::NotDirectory));
    }
    if mounted.is_some() {
        return Err(problem(MountPointProblem::Mounted));
    }
    let volume = fs::canonicalize(volume).map_err(|e| failed("read", volume, e))?;
    if absolute.starts_with(&volume) {
        return Err(problem(MountPointProblem::InsideVolume));
    }
    if volume.starts_with(&absolute) {
        return Err(problem(MountPointProblem::HoldsVolume));
    }
    let mut entries = fs::read_dir(&absolute).map_err(|e| failed("read", dir, e))?;
    if entries.next().is_some() {
        return Err(problem(MountPointProblem::NotEmpty));
    }
    Ok(Found::Ready(absolute))
}

/// Returns the absolute path of a directory, links in its parents resolved and its own name kept:
/// the name may be a link, or a mount that does not answer. None if a parent is absent.
pub(super) fn resolve(dir: &Path) -> Result<Option<PathBuf>, VolumeError> {
    let (parent, name) = match (dir.parent(), dir.file_name()) {
        (Some(parent), Some(name)) => (parent, name),
        // The root, or a path that ends in `..`.
        _ => return Ok(fs::canonicalize(dir).ok()),
    };
    let parent = if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    };
    match fs::canonicalize(parent) {
        Ok(p) => Ok(Some(p.join(name))),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed("read", parent, e)),
    }
}

/// Returns true if what is mounted on `dir` has lost its server.
pub(super) fn is_dead(dir: &Path) -> bool {
    rustix::fs::statfs(dir).is_err_and(is_dead_error)
}

fn is_dead_error(e: Errno) -> bool {
    matches!(e, Errno::NOTCONN | Errno::CONNABORTED)
}

fn mount_at(dir: &Path) -> Result<Option<MountLine>, VolumeError> {
    mount_table::at(dir).map_err(|e| failed("read", Path::new("/proc/self/mountinfo"), e))
}
