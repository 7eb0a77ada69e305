//! The directory of a volume: the names in it, and what a directory looks like to us.
//!
//! ```text
//! header.a header.b   key slots and keyring
//! kv/                 the key-value store
//! packs/              the blocks
//! lock                who has it open
//! init                only while `init` runs, or after it was interrupted
//! ```

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::VolumeError;

/// The directory is being made: written first, removed last.
const MARKER: &str = "init";
const LOCK: &str = "lock";
const KV: &str = "kv";
const PACKS: &str = "packs";
const HEADERS: [&str; 2] = ["header.a", "header.b"];

/// What a directory is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing has that name.
    Absent,
    /// Not a directory.
    NotDirectory,
    /// A directory with nothing in it.
    Empty,
    /// A creation that did not come to its end; holds nothing but what it made.
    Unfinished,
    /// A volume.
    Volume,
    /// Something else.
    Foreign,
}

/// The paths in a volume directory.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    dir: PathBuf,
}

impl Layout {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_path_buf(),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn marker(&self) -> PathBuf {
        self.dir.join(MARKER)
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.dir.join(LOCK)
    }

    pub(super) fn kv(&self) -> PathBuf {
        self.dir.join(KV)
    }

    pub(super) fn packs(&self) -> PathBuf {
        self.dir.join(PACKS)
    }

    /// Looks at the directory without changing it. A volume that lost its headers is still one.
    pub(super) fn look(&self) -> Result<Look, VolumeError> {
        match fs::metadata(&self.dir) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Look::Absent),
            Err(e) => return Err(self.failed("read", e)),
            Ok(m) if !m.is_dir() => return Ok(Look::NotDirectory),
            Ok(_) => {}
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(|e| self.failed("read", e))? {
            names.push(entry.map_err(|e| self.failed("read", e))?.file_name());
        }
        let has = |name: &str| names.iter().any(|n| n == name);
        let ours = |n: &std::ffi::OsString| {
            [MARKER, LOCK, KV, PACKS, HEADERS[0], HEADERS[1]]
                .iter()
                .any(|o| n == o)
        };
        Ok(if names.is_empty() {
            Look::Empty
        } else if has(MARKER) && names.iter().all(ours) {
            Look::Unfinished
        } else if HEADERS.iter().any(|h| has(h)) || (has(KV) && has(PACKS)) {
            Look::Volume
        } else {
            Look::Foreign
        })
    }

    /// Returns whether there is a volume to open.
    pub(super) fn expect_volume(&self) -> Result<(), VolumeError> {
        let dir = self.dir.clone();
        match self.look()? {
            Look::Volume => Ok(()),
            Look::Absent => Err(VolumeError::Missing { dir }),
            Look::NotDirectory => Err(VolumeError::NotDirectory { dir }),
            Look::Unfinished => Err(VolumeError::Unfinished { dir }),
            Look::Empty | Look::Foreign => Err(VolumeError::NotAVolume { dir }),
        }
    }

    /// Makes the directories of the stores.
    pub(super) fn make_stores(&self) -> Result<(), VolumeError> {
        for path in [self.kv(), self.packs()] {
            make_private_dir(&path)?;
        }
        Ok(())
    }

    /// Makes the names in the directory durable.
    pub(super) fn sync(&self) -> Result<(), VolumeError> {
        for dir in [self.kv(), self.packs(), self.dir.clone()] {
            sync_dir(&dir)?;
        }
        Ok(())
    }

    /// Removes all that a creation makes, but the marker.
    pub(super) fn clear(&self) -> Result<(), VolumeError> {
        for path in [self.kv(), self.packs()] {
            absent_is_fine(fs::remove_dir_all(&path)).map_err(|e| failed("remove", &path, e))?;
        }
        for name in HEADERS.into_iter().chain([LOCK]) {
            let path = self.dir.join(name);
            absent_is_fine(fs::remove_file(&path)).map_err(|e| failed("remove", &path, e))?;
        }
        Ok(())
    }

    fn failed(&self, op: &'static str, e: io::Error) -> VolumeError {
        failed(op, &self.dir, e)
    }
}

fn absent_is_fine(r: io::Result<()>) -> io::Result<()> {
    match r {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Names the file in an error of the operating system.
pub(super) fn failed(op: &'static str, path: &Path, source: io::Error) -> VolumeError {
    VolumeError::Io {
        op,
        path: path.to_path_buf(),
        source,
    }
}

/// Makes a directory that only its owner may use.
pub(super) fn make_private_dir(path: &Path) -> Result<(), VolumeError> {
    DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(|e| failed("create", path, e))
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(path: &Path) -> Result<(), VolumeError> {
    File::open(path)
        .and_then(|d| d.sync_all())
        .map_err(|e| failed("sync", path, e))
}
