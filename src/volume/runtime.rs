//! The runtime directory: what lives as long as this boot of the host.
//!
//! `/run/coffer` for root, `$XDG_RUNTIME_DIR/coffer` for others, among them the root of a user
//! namespace that sees the `/run` of its host; in it one directory for each volume that was mounted
//! since the boot, named by the volume's id:
//!
//! ```text
//! control     the worker's socket, while it is mounted
//! log         what parent and worker had to say, newest mount last
//! generation  the newest generation this host has seen durable (`seen`)
//! ```
//!
//! The directory is flocked by whoever has the volume open, so that two copies of one volume are
//! never open at once on a host.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::VolumeError;
use super::layout::failed;

/// The runtime directory of a user.
#[derive(Debug, Clone)]
pub(super) struct Runtime {
    root: PathBuf,
}

/// The runtime directory of one volume.
#[derive(Debug, Clone)]
pub(super) struct VolumeRuntime {
    dir: PathBuf,
}

/// The volume is open on this host by the holder of this.
pub(super) struct RuntimeLock {
    _dir: File,
}

impl Runtime {
    /// Returns the one of the calling user.
    pub(super) fn of_user() -> Result<Self, VolumeError> {
        if owns_run() {
            return Ok(Self::at(Path::new("/run/coffer")));
        }
        match std::env::var_os("XDG_RUNTIME_DIR").filter(|d| Path::new(d).is_absolute()) {
            Some(dir) => Ok(Self::at(&Path::new(&dir).join("coffer"))),
            None => Err(VolumeError::NoRuntimeDir),
        }
    }

    pub(super) fn at(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
        }
    }

    /// Returns the directory of a volume, which is made if it is absent.
    pub(super) fn volume(&self, id: &str) -> Result<VolumeRuntime, VolumeError> {
        let volume = self.existing(id);
        for dir in [&self.root, &volume.dir] {
            private(dir)?;
        }
        Ok(volume)
    }

    /// Returns the directory of a volume, which may be absent.
    pub(super) fn existing(&self, id: &str) -> VolumeRuntime {
        VolumeRuntime {
            dir: self.root.join(id),
        }
    }

    /// Returns the directories of all volumes seen since the boot.
    pub(super) fn volumes(&self) -> Result<Vec<VolumeRuntime>, VolumeError> {
        let entries = match fs::read_dir(&self.root) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|e| failed("read", &self.root, e))?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| failed("read", &self.root, e))?;
            if is_volume_id(&entry.file_name()) {
                found.push(VolumeRuntime { dir: entry.path() });
            }
        }
        found.sort_by(|a, b| a.dir.cmp(&b.dir));
        Ok(found)
    }
}

/// Returns true if the calling user is root here and `/run` root's.
fn owns_run() -> bool {
    rustix::process::geteuid().is_root() && fs::metadata("/run").is_ok_and(|m| m.uid() == 0)
}

fn is_volume_id(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.len() == 32 && name.iter().all(u8::is_ascii_hexdigit)
}

/// Makes a directory for the calling user alone, or checks that it is one.
fn private(dir: &Path) -> Result<(), VolumeError> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => return Ok(()),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
        Err(e) => return Err(failed("create", dir, e)),
    }
    let m = fs::symlink_metadata(dir).map_err(|e| failed("read", dir, e))?;
    if m.is_dir() && m.uid() == rustix::process::geteuid().as_raw() && m.mode() & 0o077 == 0 {
        Ok(())
    } else {
        Err(VolumeError::RuntimeDir {
            dir: dir.to_path_buf(),
        })
    }
}

impl VolumeRuntime {
    pub(super) fn control(&self) -> PathBuf {
        self.dir.join("control")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    pub(super) fn generation(&self) -> PathBuf {
        self.dir.join("generation")
    }

    /// Claims the volume on this host; none if it is claimed already.
    pub(super) fn claim(&self) -> Result<Option<RuntimeLock>, VolumeError> {
        let dir = File::open(&self.dir).map_err(|e| failed("open", &self.dir, e))?;
        match rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(RuntimeLock { _dir: dir })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(failed("lock", &self.dir, e.into())),
        }
    }
}
