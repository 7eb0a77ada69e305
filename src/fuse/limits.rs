//! Raises what the kernel allows a FUSE mount: as root, once the mount answers.
//!
//! The kernel trusts no FUSE server: it reads ahead 128 KiB, and lets dirty pages be 1 % of memory.
//! Ours writes to a local disk like any other file system.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::FuseError;

/// Read-ahead in KiB: several requests of the largest size are then on their way.
const READ_AHEAD_KIB: u32 = 2048;

/// Share of the dirty pages of the machine that this mount may hold, in percent.
const MAX_DIRTY_PERCENT: u32 = 40;

/// Raises the limits of the mount on `dir`.
///
/// # Errors
/// When `dir` is not a mount, or the caller is not root. The mount works all the same, slower.
pub fn raise_limits(dir: &Path) -> Result<(), FuseError> {
    raise(dir).map_err(|source| FuseError::Limits {
        dir: dir.to_owned(),
        source,
    })
}

fn raise(dir: &Path) -> io::Result<()> {
    let device = device_of_mount(dir)?;
    let bdi = Path::new("/sys/class/bdi").join(device);
    fs::write(bdi.join("read_ahead_kb"), READ_AHEAD_KIB.to_string())?;
    fs::write(bdi.join("max_ratio"), MAX_DIRTY_PERCENT.to_string())
}

/// Returns the device number `major:minor` of the mount on `dir` without a request to its server.
fn device_of_mount(dir: &Path) -> io::Result<String> {
    let path = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::open(dir, path, Mode::empty())?;
    let about = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
    let id = about
        .lines()
        .find_map(|line| line.strip_prefix("mnt_id:"))
        .map(str::trim)
        .ok_or(io::ErrorKind::NotFound)?;
    // mountinfo: mount id, parent id, major:minor, ...
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    mounts
        .lines()
        .map(|line| line.split(' '))
        .find_map(|mut words| (words.next()? == id).then(|| words.nth(1))?)
        .map(str::to_owned)
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}
