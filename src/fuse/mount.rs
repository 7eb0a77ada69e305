//! Makes a FUSE mount and takes it away: in a process that may, which needs no keys.
//!
//! As root with mount(2). Without root through fusermount3, which is setuid: it mounts and hands the
//! descriptor over a socket, its standard input, so that no other child of ours can inherit it.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use super::FuseError;

const DEVICE: &str = "/dev/fuse";
const HELPER: &str = "fusermount3";

/// The type of our mounts in /proc/self/mountinfo is `fuse.coffer`.
const SUBTYPE: &str = "coffer";

/// Bytes of the largest READ: the kernel's 256 pages of a request.
const MAX_READ_BYTES: u32 = 1 << 20;

/// What a mount allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// No changes.
    pub read_only: bool,
    /// Users other than the one who mounts may enter, as the permissions of the files allow.
    pub allow_other: bool,
    /// No programs.
    pub no_exec: bool,
    /// Honours suid and sgid.
    pub suid: bool,
    /// Honours device nodes.
    pub dev: bool,
}

impl MountOptions {
    fn flags(self) -> MountFlags {
        let mut flags = MountFlags::empty();
        flags.set(MountFlags::RDONLY, self.read_only);
        flags.set(MountFlags::NOEXEC, self.no_exec);
        flags.set(MountFlags::NOSUID, !self.suid);
        flags.set(MountFlags::NODEV, !self.dev);
        flags
    }

    /// Returns the options the kernel's FUSE knows, without those that name the mount.
    fn fuse_options(self) -> String {
        let others = if self.allow_other { "allow_other," } else { "" };
        format!("{others}default_permissions,max_read={MAX_READ_BYTES}")
    }

    /// Returns the options for fusermount3; its mounts are always nosuid and nodev.
    fn helper_options(self, fsname: &str) -> String {
        let access = if self.read_only { "ro" } else { "rw" };
        let exec = if self.no_exec { "noexec" } else { "exec" };
        // A comma ends an option unless a backslash stands before it.
        let fsname = fsname.replace('\\', "\\\\").replace(',', "\\,");
        let fuse = self.fuse_options();
        format!("{access},{exec},{fuse},subtype={SUBTYPE},fsname={fsname}")
    }
}

/// Mounts on `dir` and returns the descriptor to serve.
///
/// `fsname` is what stands as the source in the list of mounts. Requests wait until the descriptor
/// is served; when its last copy is closed the mount is dead, but still there.
///
/// # Errors
/// When there is no FUSE, `dir` is not a directory (a symbolic link is refused), or neither mount(2)
/// nor fusermount3 mounts.
pub fn mount(dir: &Path, fsname: &str, options: MountOptions) -> Result<OwnedFd, FuseError> {
    match mount_directly(dir, fsname, options) {
        Err(FuseError::Mount { source, .. })
            if source.kind() == io::ErrorKind::PermissionDenied =>
        {
            mount_by_helper(dir, fsname, options)
        }
        result => result,
    }
}

fn open_device() -> Result<File, FuseError> {
    let device = File::options().read(true).write(true).open(DEVICE);
    device.map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => FuseError::DeviceMissing,
        _ => FuseError::Device(e),
    })
}

fn mount_directly(dir: &Path, fsname: &str, options: MountOptions) -> Result<OwnedFd, FuseError> {
    let device = open_device()?;
    // Through a descriptor, so that a symbolic link put there meanwhile leads nowhere.
    let path = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::open(dir, path, Mode::empty()).map_err(|e| FuseError::MountPoint {
        dir: dir.to_owned(),
        source: e.into(),
    })?;
    let data = format!(
        "fd={},rootmode=40000,user_id={},group_id={},{}",
        device.as_raw_fd(),
        rustix::process::getuid(),
        rustix::process::getgid(),
        options.fuse_options(),
    );
    let data = std::ffi::CString::new(data).expect("numbers and words hold no NUL");
    let target = format!("/proc/self/fd/{}", target.as_raw_fd());
    let fstype = format!("fuse.{SUBTYPE}");
    rustix::mount::mount(fsname, target, fstype, options.flags(), data.as_c_str()).map_err(
        |e| FuseError::Mount {
            dir: dir.to_owned(),
            source: e.into(),
        },
    )?;
    Ok(device.into())
}

pub(super) fn mount_by_helper(
    dir: &Path,
    fsname: &str,
    options: MountOptions,
) -> Result<OwnedFd, FuseError> {
    let (ours, theirs) = UnixStream::pair().map_err(FuseError::HelperMissing)?;
    let child = Command::new(HELPER)
        .arg("-o")
        .arg(options.helper_options(fsname))
        .arg("--")
        .arg(dir)
        .env("_FUSE_COMMFD", "0")
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(FuseError::HelperMissing)?;
    let device = receive_descriptor(&ours);
    let output = child.wait_with_output().map_err(FuseError::HelperMissing)?;
    match device {
        Some(device) if output.status.success() => Ok(device),
        _ => Err(helper_refusal(&output)),
    }
}

/// Returns the descriptor that comes over the socket, or none if it is closed without one.
fn receive_descriptor(socket: &UnixStream) -> Option<OwnedFd> {
    let mut byte = [0; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [io::IoSliceMut::new(&mut byte)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    rustix::io::retry_on_intr(|| rustix::net::recvmsg(socket, &mut bytes, &mut ancillary, flags))
        .ok()?;
    ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    })
}

fn helper_refusal(output: &Output) -> FuseError {
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("user_allow_other") {
        return FuseError::AllowOther;
    }
    let said = said.trim();
    FuseError::Helper {
        message: said
            .strip_prefix("fusermount3: ")
            .unwrap_or(said)
            .to_owned(),
    }
}

/// Unmounts `dir`: the topmost mount on it, which may be dead.
///
/// `lazy` takes it out of the tree although files are in use; the session ends when they are closed.
///
/// # Errors
/// When nothing is mounted there, files are in use, or the caller may not.
pub fn unmount(dir: &Path, lazy: bool) -> Result<(), FuseError> {
    let mut flags = UnmountFlags::NOFOLLOW;
    flags.set(UnmountFlags::DETACH, lazy);
    match rustix::mount::unmount(dir, flags) {
        Ok(()) => Ok(()),
        Err(Errno::BUSY) => Err(FuseError::Busy { dir: dir.into() }),
        Err(Errno::INVAL) => Err(FuseError::NotMounted { dir: dir.into() }),
        Err(Errno::PERM) => unmount_by_helper(dir, lazy),
        Err(e) => Err(FuseError::Unmount {
            dir: dir.into(),
            source: e.into(),
        }),
    }
}

pub(super) fn unmount_by_helper(dir: &Path, lazy: bool) -> Result<(), FuseError> {
    let output = Command::new(HELPER)
        .arg("-u")
        .args(lazy.then_some("-z"))
        .arg("--")
        .arg(dir)
        .stdin(Stdio::null())
        .output()
        .map_err(FuseError::HelperMissing)?;
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(()),
        false if said.contains("busy") => Err(FuseError::Busy { dir: dir.into() }),
        false if said.contains("not found in") => Err(FuseError::NotMounted { dir: dir.into() }),
        false => Err(helper_refusal(&output)),
    }
}
