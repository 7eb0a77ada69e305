//! The lock of a volume: at most one process has its store open.
//!
//! It is an flock(2) of the file `lock`, so it ends with the process that holds it, however that
//! ends. The text in the file says who holds it and means nothing without the flock.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FlockOperation;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::layout::failed;
use super::{Access, Holder, VolumeError, mount_table};

/// Longest description that is read: a path and some names.
const TEXT_MAX_BYTES: usize = 16 << 10;

/// How long an unmounted worker may need for what is left to write: its dirty data at most.
const ENDING_LIMIT: Timespec = Timespec {
    tv_sec: 20,
    tv_nsec: 0,
};

/// The lock, until it is dropped.
pub(super) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock. None for reading only on a medium that cannot be written: nobody can hold it.
    pub(super) fn take(path: &Path, access: Access) -> Result<Option<Self>, VolumeError> {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(path);
        let file = match opened {
            Ok(file) => file,
            Err(e) if access == Access::ReadOnly && e.kind() == ErrorKind::ReadOnlyFilesystem => {
                return Ok(None);
            }
            Err(e) => return Err(failed("open", path, e)),
        };
        let mut taken = try_lock(&file, path)?;
        if !taken && wait_for_end(&read(&file)) {
            taken = try_lock(&file, path)?;
        }
        if !taken {
            return Err(VolumeError::InUse(read(&file)));
        }
        let lock = Self { file };
        lock.describe(None);
        Ok(Some(lock))
    }

    /// Writes down who holds the lock and where the volume is mounted. The lock holds without the
    /// text: a full store, which must still be mountable, is no failure.
    pub(super) fn describe(&self, mount_point: Option<&Path>) {
        let holder = Holder {
            pid: std::process::id(),
            host: rustix::system::uname().nodename().to_string_lossy().into(),
            boot_id: boot_id(),
            mount_point: mount_point.map(Path::to_path_buf),
        };
        let write = || {
            let text = serde_json::to_vec(&holder)?;
            // In this order a reader finds the old text or the new one, never none.
            self.file.write_all_at(&text, 0)?;
            self.file
                .set_len(text.len().try_into().map_err(io::Error::other)?)
        };
        if let Err(e) = write() {
            eprintln!("coffer: the lock file cannot tell who holds it: {e}");
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A text without a lock misleads nobody, so a failure here does not matter.
        drop(self.file.set_len(0));
    }
}

/// Returns false when somebody else holds the lock.
fn try_lock(file: &File, path: &Path) -> Result<bool, VolumeError> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(e) => Err(failed("lock", path, e.into())),
    }
}

/// Waits for a worker whose mount is gone and which only writes out the rest: umount(8) returns
/// before it has ended. Returns false at once for any other holder, and after [`ENDING_LIMIT`].
fn wait_for_end(holder: &Holder) -> bool {
    let is_here = holder.boot_id == boot_id() && holder.pid != std::process::id();
    let Some(dir) = holder.mount_point.as_deref().filter(|_| is_here) else {
        return false;
    };
    let is_mounted = mount_table::at(dir).map_or(true, |m| m.is_some_and(|m| m.is_ours()));
    let pid = i32::try_from(holder.pid).ok().and_then(Pid::from_raw);
    let (false, Some(pid)) = (is_mounted, pid) else {
        return false;
    };
    // Whoever cannot be found has ended.
    pidfd_open(pid, PidfdFlags::empty()).map_or(true, |process| {
        let mut ended = [PollFd::new(&process, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut ended, Some(&ENDING_LIMIT))).is_ok_and(|n| n > 0)
    })
}

/// Returns who holds a lock that could not be had.
fn read(file: &File) -> Holder {
    let mut text = vec![0; TEXT_MAX_BYTES];
    let len = file.read_at(&mut text, 0).unwrap_or(0);
    text.truncate(len);
    let mut described = serde_json::Deserializer::from_slice(&text).into_iter();
    let first = described.next().and_then(Result::ok);
    first.unwrap_or_else(Holder::unknown)
}

/// Returns the id of this boot of this host; empty where the kernel tells none.
fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|s| s.trim().to_owned())
        .unwrap_or_default()
}
