//! What is seen on this host, without a judgement.
//!
//! Whatever cannot be seen is absent: a probe never fails, and never waits long for a mount whose
//! worker is silent.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Resource;

use crate::base::os::secret_memory_available;

/// How long a mount may take to answer before it counts as silent.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// What is at /dev/fuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FuseDevice {
    /// Nothing, or something else than a device.
    Absent,
    /// It cannot be opened for reading and writing.
    Closed,
    /// It is there, and the kernel has no driver for it.
    NoDriver,
    /// It can be used.
    Usable,
}

/// How a mount of coffer behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountState {
    /// It answers.
    Answers,
    /// Its worker is gone: every access fails with ENOTCONN.
    Dead,
    /// It gives no answer in time.
    Silent,
}

/// An area that memory is swapped to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swap {
    /// Its device or file.
    pub name: String,
    /// What is written there is encrypted, or stays in memory.
    pub safe: bool,
}

/// Free space where a volume lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The directory that was asked for.
    pub dir: PathBuf,
    /// Bytes that its user may still write.
    pub free_bytes: u64,
    /// Files that can still be made; zero where the file system has no limit.
    pub free_inodes: Option<u64>,
}

/// All that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The caller is root.
    pub root: bool,
    /// The device of FUSE.
    pub fuse: FuseDevice,
    /// Where fusermount3 is, and whether it runs as root.
    pub fusermount: Option<(PathBuf, bool)>,
    /// /etc/fuse.conf lets users open their mounts to others.
    pub user_allow_other: bool,
    /// Version of the kernel.
    pub kernel: Option<(u32, u32)>,
    /// Pages that one FUSE request may carry, where the kernel limits it.
    pub max_pages: Option<u64>,
    /// Bytes that a process may lock in memory; none is no limit.
    pub lock_limit_bytes: Option<u64>,
    /// The kernel offers memory that nobody but its process can read.
    pub secret_memory: bool,
    /// Where memory is swapped to.
    pub swaps: Vec<Swap>,
    /// The mounts of coffer.
    pub mounts: Vec<(PathBuf, MountState)>,
    /// Where workers keep what dies with a boot; none if this user has no such place.
    pub runtime_dir: Option<PathBuf>,
    /// Control sockets whose worker is gone.
    pub dead_sockets: Vec<PathBuf>,
    /// The disk of the volume that was asked for.
    pub disk: Option<Result<Disk, String>>,
}

impl Facts {
    /// Looks at this host, and at the disk of `volume`.
    pub fn probe(volume: Option<&Path>) -> Self {
        let limit = rustix::process::getrlimit(Resource::Memlock);
        let root = rustix::process::geteuid().is_root();
        let runtime_dir = if root {
            Some(PathBuf::from("/run/coffer"))
        } else {
            std::env::var_os("XDG_RUNTIME_DIR").map(|d| Path::new(&d).join("coffer"))
        };
        Self {
            root,
            fuse: fuse_device(Path::new("/dev/fuse")),
            fusermount: fusermount(&std::env::var_os("PATH").unwrap_or_default()),
            user_allow_other: allows_other(&read("/etc/fuse.conf")),
            kernel: kernel_version(&read("/proc/sys/kernel/osrelease")),
            max_pages: read("/proc/sys/fs/fuse/max_pages_limit")
                .trim()
                .parse()
                .ok(),
            lock_limit_bytes: limit.current,
            secret_memory: secret_memory_available(),
            swaps: swaps(&read("/proc/swaps")),
            mounts: mount_points(&read("/proc/self/mountinfo"))
                .into_iter()
                .map(|dir| (dir.clone(), mount_state(dir)))
                .collect(),
            dead_sockets: runtime_dir.as_deref().map(dead_sockets).unwrap_or_default(),
            runtime_dir,
            disk: volume.map(disk),
        }
    }
}

/// Returns the text of a file of the kernel or of the host's settings, or nothing.
fn read(path: &str) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(super) fn fuse_device(path: &Path) -> FuseDevice {
    let is_device = fs::metadata(path).is_ok_and(|m| m.file_type().is_char_device());
    if !is_device {
        return FuseDevice::Absent;
    }
    match File::options().read(true).write(true).open(path) {
        Ok(_) => FuseDevice::Usable,
        Err(e) => match e.raw_os_error() {
            Some(libc::ENXIO | libc::ENODEV) => FuseDevice::NoDriver,
            _ => FuseDevice::Closed,
        },
    }
}

fn fusermount(path: &OsStr) -> Option<(PathBuf, bool)> {
    let found = std::env::split_paths(path).map(|dir| dir.join("fusermount3"));
    found
        .filter_map(|p| fs::metadata(&p).ok().map(|m| (p, m)))
        .find(|(_, m)| m.is_file() && m.mode() & 0o111 != 0)
        .map(|(p, m)| (p, m.uid() == 0 && m.mode() & 0o4000 != 0))
}

pub(super) fn allows_other(conf: &str) -> bool {
    conf.lines().any(|l| l.trim() == "user_allow_other")
}

pub(super) fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next()?.parse().ok();
    Some((next()?, next()?))
}

fn swaps(table: &str) -> Vec<Swap> {
    let names = table.lines().skip(1);
    let names = names.filter_map(|l| l.split_whitespace().next());
    names
        .map(|name| Swap {
            name: name.to_owned(),
            safe: is_safe_swap(name),
        })
        .collect()
}

/// Returns true for compressed memory and for what device mapper encrypts.
fn is_safe_swap(name: &str) -> bool {
    let Ok(device) = fs::canonicalize(name) else {
        return false;
    };
    let device = device
        .file_name()
        .and_then(OsStr::to_str)
        .unwrap_or_default();
    device.starts_with("zram")
        || read(&format!("/sys/block/{device}/dm/uuid")).starts_with("CRYPT-")
}

/// Returns where the mount table says that coffer is mounted.
pub(super) fn mount_points(mountinfo: &str) -> Vec<PathBuf> {
    let ours = mountinfo.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let kind = after.split(' ').next()?;
        (kind == "fuse.coffer").then(|| before.split(' ').nth(4))?
    });
    ours.map(|dir| PathBuf::from(unescape(dir))).collect()
}

/// Resolves what the kernel writes for blanks and backslashes in a path: `\040`.
fn unescape(text: &str) -> OsString {
    let mut parts = text.split('\\');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let code = part.get(..3).and_then(|o| u8::from_str_radix(o, 8).ok());
        match code {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend_from_slice(part.as_bytes().get(3..).unwrap_or_default());
            }
            None => bytes.extend_from_slice(part.as_bytes()),
        }
    }
    OsString::from_vec(bytes)
}

/// Asks a mount for its figures, on a thread that is left behind if no answer comes: it ends with
/// the process, or when the mount does.
fn mount_state(dir: PathBuf) -> MountState {
    let (tell, answer) = crossbeam_channel::bounded(1);
    let asking = std::thread::Builder::new()
        .name("ask-mount".to_owned())
        .spawn(move || {
            // Nobody listens when the answer comes too late.
            let _ = tell.send(rustix::fs::statfs(&dir).map(|_| ()));
        });
    match asking.map(|_| answer.recv_timeout(ANSWER_LIMIT)) {
        Ok(Ok(Err(rustix::io::Errno::NOTCONN))) => MountState::Dead,
        Ok(Ok(_)) => MountState::Answers,
        Ok(Err(_)) | Err(_) => MountState::Silent,
    }
}

/// Returns the control sockets below `runtime_dir` that nobody listens on.
pub(super) fn dead_sockets(runtime_dir: &Path) -> Vec<PathBuf> {
    let volumes = fs::read_dir(runtime_dir).into_iter().flatten().flatten();
    let sockets = volumes.map(|volume| volume.path().join("control"));
    sockets
        .filter(|s| {
            let asked = UnixStream::connect(s);
            asked.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
        })
        .collect()
}

fn disk(dir: &Path) -> Result<Disk, String> {
    let seen = rustix::fs::statvfs(dir).map_err(|e| io::Error::from(e).to_string())?;
    Ok(Disk {
        dir: dir.to_path_buf(),
        free_bytes: seen.f_bavail.saturating_mul(seen.f_frsize),
        free_inodes: (seen.f_files > 0).then_some(seen.f_favail),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_blanks_and_backslashes_is_read_back() {
        assert_eq!(unescape(r"/a\040b\134c"), OsStr::new(r"/a b\c"));
        assert_eq!(unescape(r"/a\x"), OsStr::new("/ax"));
        assert_eq!(unescape("/\u{e9}"), OsStr::new("/\u{e9}"));
    }

    #[test]
    fn fusermount_is_found_in_the_path() {
        let dir = tempfile::tempdir().expect("a directory");
        let program = dir.path().join("fusermount3");
        assert_eq!(fusermount(dir.path().as_os_str()), None);
        fs::write(&program, "").expect("a file");
        assert_eq!(fusermount(dir.path().as_os_str()), None, "not executable");
        let mode =
            |m| fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(m));
        mode(0o755).expect("permissions");
        assert_eq!(
            fusermount(dir.path().as_os_str()),
            Some((program.clone(), false))
        );
    }
}
