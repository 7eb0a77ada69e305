//! Packs as files of one directory.
//!
//! Writes go around the page cache (O_DIRECT) where the file system allows it: sealed data is not
//! read back from there, and the cache belongs to the plaintext side of the mount. Where direct I/O
//! is refused they are buffered.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

use crate::base::PackNo;
use crate::base::sync::{Arc, AtomicBool, Mutex, Ordering};

use super::{KvError, Packs};

/// Open packs: with 64 MiB each, 16 GiB without reopening any.
const HANDLES_MAX: usize = 256;

/// The file that keeps space back.
const RESERVE: &str = "reserve";

/// One pack: a handle for reads, and one for direct writes once there was one.
struct Handle {
    file: File,
    direct: Option<File>,
}

/// The packs in a directory.
pub struct PackFiles {
    dir: PathBuf,
    handles: Mutex<HashMap<PackNo, Arc<Handle>>>,
    direct: AtomicBool,
    read_only: bool,
}

impl PackFiles {
    /// Opens the packs in `dir`, which exists.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn open(dir: &Path, read_only: bool) -> Result<Self, KvError> {
        let io = |source| KvError::Io {
            op: "open packs",
            source,
        };
        std::fs::read_dir(dir).map_err(io)?;
        Ok(Self {
            dir: dir.to_path_buf(),
            handles: Mutex::default(),
            direct: AtomicBool::new(true),
            read_only,
        })
    }

    fn path(&self, pack: PackNo) -> PathBuf {
        self.dir.join(format!("{:08x}", pack.0))
    }

    fn handle(&self, pack: PackNo) -> io::Result<Arc<Handle>> {
        if let Some(h) = self.handles.lock().get(&pack) {
            return Ok(Arc::clone(h));
        }
        let path = self.path(pack);
        let mut options = OpenOptions::new();
        options.read(true).write(!self.read_only);
        options.custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW);
        let file = options.open(&path)?;
        let direct = if self.read_only || !self.direct.load(Ordering::Relaxed) {
            None
        } else {
            options.custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_DIRECT);
            options.open(&path).ok()
        };
        let handle = Arc::new(Handle { file, direct });
        let mut handles = self.handles.lock();
        if handles.len() >= HANDLES_MAX {
            // Any one will do: it is opened again when it is needed.
            if let Some(victim) = handles.keys().next().copied() {
                handles.remove(&victim);
            }
        }
        handles.insert(pack, Arc::clone(&handle));
        Ok(handle)
    }

    fn statvfs(&self) -> Result<rustix::fs::StatVfs, KvError> {
        rustix::fs::statvfs(&self.dir).map_err(|e| KvError::Io {
            op: "ask for free space",
            source: e.into(),
        })
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }

    fn write_handle(&self, h: &Handle, offset: u64, data: &[u8]) -> io::Result<()> {
        if let Some(direct) = &h.direct {
            match direct.write_all_at(data, offset) {
                Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
                    self.direct.store(false, Ordering::Relaxed);
                }
                result => return result,
            }
        }
        h.file.write_all_at(data, offset)
    }
}

/// Returns the mapping of a pack's errors in a verb.
fn failed(pack: PackNo, op: &'static str) -> impl Fn(io::Error) -> KvError {
    move |source| match source.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => KvError::NoSpace { op },
        _ => KvError::Pack { pack, op, source },
    }
}

fn number(name: &std::ffi::OsStr) -> Option<PackNo> {
    let name = name.to_str()?;
    let valid = name.len() == 8 && name.bytes().all(|b| b.is_ascii_hexdigit());
    valid
        .then(|| u32::from_str_radix(name, 16).ok().map(PackNo))
        .flatten()
}

impl Packs for PackFiles {
    fn create(&self, pack: PackNo) -> Result<(), KvError> {
        let failed = failed(pack, "create");
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path(pack))
            .map_err(&failed)?;
        self.sync_dir().map_err(failed)
    }

    fn write_at(&self, pack: PackNo, offset: u64, data: &[u8]) -> Result<(), KvError> {
        let failed = failed(pack, "write");
        let h = self.handle(pack).map_err(&failed)?;
        self.write_handle(&h, offset, data).map_err(failed)
    }

    fn sync(&self, pack: PackNo) -> Result<(), KvError> {
        let failed = failed(pack, "sync");
        let h = self.handle(pack).map_err(&failed)?;
        h.file.sync_data().map_err(failed)
    }

    fn read_at(&self, pack: PackNo, offset: u64, out: &mut [u8]) -> Result<(), KvError> {
        let failed = failed(pack, "read");
        let h = self.handle(pack).map_err(&failed)?;
        h.file.read_exact_at(out, offset).map_err(failed)
    }

    fn punch(&self, pack: PackNo, offset: u64, len: u64) -> Result<bool, KvError> {
        let failed = failed(pack, "punch");
        let h = self.handle(pack).map_err(&failed)?;
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&h.file, flags, offset, len) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(false),
            Err(e) => Err(failed(e.into())),
        }
    }

    fn truncate(&self, pack: PackNo, len: u64) -> Result<(), KvError> {
        let failed = failed(pack, "truncate");
        let h = self.handle(pack).map_err(&failed)?;
        h.file.set_len(len).map_err(failed)
    }

    fn remove(&self, pack: PackNo) -> Result<(), KvError> {
        self.handles.lock().remove(&pack);
        match std::fs::remove_file(self.path(pack)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.map_err(failed(pack, "remove")),
        }
    }

    fn list(&self) -> Result<Vec<(PackNo, u64)>, KvError> {
        let io = |source| KvError::Io {
            op: "list packs",
            source,
        };
        let mut out = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(io)? {
            let entry = entry.map_err(io)?;
            if let Some(pack) = number(&entry.file_name()) {
                out.push((pack, entry.metadata().map_err(io)?.len()));
            }
        }
        out.sort_unstable();
        Ok(out)
    }

    fn free_bytes(&self) -> Result<u64, KvError> {
        let v = self.statvfs()?;
        Ok(v.f_bavail.saturating_mul(v.f_frsize))
    }

    fn size_bytes(&self) -> Result<u64, KvError> {
        let v = self.statvfs()?;
        Ok(v.f_blocks.saturating_mul(v.f_frsize))
    }

    fn set_reserve(&self, bytes: u64) -> Result<(), KvError> {
        let failed = |source: io::Error| match source.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => KvError::NoSpace { op: "reserve" },
            _ => KvError::Io {
                op: "reserve",
                source,
            },
        };
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.dir.join(RESERVE))
            .map_err(failed)?;
        file.set_len(bytes).map_err(failed)?;
        if bytes == 0 {
            return Ok(());
        }
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            // Without preallocation there is nothing that could be kept back.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            Err(e) => Err(failed(e.into())),
        }
    }
}
