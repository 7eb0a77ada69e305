//! The lock of a volume: at most one process has its store open.
//!
//! It is an flock(2) of the file `lock`, so it ends with the process that holds it, however that
//! ends. The text in the file says who holds it and means nothing without the flock.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::FlockOperation;

use super::layout::failed;
use super::{Access, Holder, VolumeError};

/// Longest description that is read: a path and some names.
const TEXT_MAX_BYTES: u64 = 16 << 10;

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
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(VolumeError::InUse(read(&file))),
            Err(e) => return Err(failed("lock", path, e.into())),
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
            self.file.set_len(0)?;
            self.file.write_all_at(&text, 0)
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

/// Returns who holds a lock that could not be had.
fn read(mut file: &File) -> Holder {
    let mut text = Vec::new();
    let read = file.by_ref().take(TEXT_MAX_BYTES).read_to_end(&mut text);
    read.ok()
        .and_then(|_| serde_json::from_slice(&text).ok())
        .unwrap_or_else(Holder::unknown)
}

/// Returns the id of this boot of this host; empty where the kernel tells none.
fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|s| s.trim().to_owned())
        .unwrap_or_default()
}
