//! Making a volume, so that a crash at any instant leaves a directory with which the same command
//! starts again.
//!
//! The marker is the first file and the last to go; while it is there the directory is no volume.
//! It is locked meanwhile, so that two creations of one directory do not mix.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::FlockOperation;

use crate::base::sync::Arc;
use crate::base::{Clock, OsRng, Rng, SystemClock, VolumeId};
use crate::crypto::SecretBytes;
use crate::format::header::CHUNK_LOG2;
use crate::format::key::Key;
use crate::format::settings::Settings;
use crate::fs::Fs;
use crate::keys::{self, NewHeader};
use crate::kv;
use crate::kv::rocks::Rocks;
use crate::meta::Names;
use crate::sealed::Records;
use crate::txn::Txn;

use super::layout::{self, Layout, Look, failed};
use super::lock::Lock;
use super::options::stored_compression;
use super::{Access, Holder, InitOptions, VolumeError};

/// Smallest quota: less holds no files worth a volume.
const SIZE_MIN_BYTES: u64 = 1 << 20;

/// Makes a volume and returns its id.
pub(super) fn init(
    dir: &Path,
    options: &InitOptions,
    secret: &SecretBytes,
) -> Result<String, VolumeError> {
    let layout = Layout::new(dir);
    let dir = dir.to_path_buf();
    let is_new = match layout.look()? {
        Look::Absent => true,
        Look::Empty | Look::Unfinished => false,
        Look::NotDirectory => return Err(VolumeError::NotDirectory { dir }),
        Look::Volume => return Err(VolumeError::AlreadyAVolume { dir }),
        Look::Foreign => return Err(VolumeError::NotEmpty { dir }),
    };
    let making = Making::new(layout, options, secret)?;
    if is_new {
        make_dir(&dir)?;
    }
    let marker = making.begin().inspect_err(|_| {
        if is_new {
            // Somebody else may be making a volume in it: then it is not empty and stays.
            drop(fs::remove_dir(&dir));
        }
    })?;
    if let Err(e) = STEPS.iter().try_for_each(|step| step(&making)) {
        making.undo(is_new);
        return Err(e);
    }
    drop(marker);
    Ok(making.volume.to_string())
}

fn make_dir(dir: &Path) -> Result<(), VolumeError> {
    match layout::make_private_dir(dir) {
        Err(VolumeError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
            Err(VolumeError::Missing {
                dir: dir.parent().unwrap_or(dir).to_path_buf(),
            })
        }
        other => other,
    }
}

/// A volume on its way into a directory.
struct Making {
    layout: Layout,
    options: InitOptions,
    volume: VolumeId,
    incarnation: [u8; 16],
    header: keys::Created,
}

/// One step; each may be run again from the first after a crash in any.
type Step = fn(&Making) -> Result<(), VolumeError>;

/// What follows on [`Making::begin`], in this order.
const STEPS: [Step; 5] = [
    Making::clear,
    Making::make_stores,
    Making::fill,
    Making::write_headers,
    Making::finish,
];

impl Making {
    /// Checks the options and makes the keys; nothing is on the disk yet.
    fn new(
        layout: Layout,
        options: &InitOptions,
        secret: &SecretBytes,
    ) -> Result<Self, VolumeError> {
        let chunk_log2 = check(options)?;
        let (mut volume, mut incarnation) = (VolumeId([0; 16]), [0; 16]);
        OsRng.fill(&mut volume.0).map_err(keys::KeysError::from)?;
        OsRng
            .fill(&mut incarnation)
            .map_err(keys::KeysError::from)?;
        let new = NewHeader {
            volume,
            incarnation,
            label: &options.label,
            chunk_log2,
            cost: options.cost,
            created: u64::try_from(SystemClock.now().secs).unwrap_or(0),
            kind: options.slot,
        };
        let header = keys::create(new, secret, Arc::new(OsRng))?;
        Ok(Self {
            layout,
            options: options.clone(),
            volume,
            incarnation,
            header,
        })
    }

    /// Writes the marker and locks it.
    fn begin(&self) -> Result<File, VolumeError> {
        let path = self.layout.marker();
        let marker = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(|e| failed("create", &path, e))?;
        match rustix::fs::flock(&marker, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(VolumeError::InUse(Holder::unknown()));
            }
            Err(e) => return Err(failed("lock", &path, e.into())),
        }
        // Whoever had it before may have come to the end: then the marker is gone from its name.
        match self.layout.look()? {
            Look::Unfinished => layout::sync_dir(self.layout.dir()).map(|()| marker),
            _ => Err(VolumeError::InUse(Holder::unknown())),
        }
    }

    fn clear(&self) -> Result<(), VolumeError> {
        self.layout.clear()
    }

    fn make_stores(&self) -> Result<(), VolumeError> {
        let dir = self.layout.dir();
        fs::set_permissions(dir, Permissions::from_mode(0o700))
            .map_err(|e| failed("make private", dir, e))?;
        self.layout.make_stores()?;
        // Made now, so that a full store can still be mounted.
        Lock::take(&self.layout.lock(), Access::ReadWrite).map(drop)
    }

    /// Writes the first root with the root directory and the settings.
    fn fill(&self) -> Result<(), VolumeError> {
        let store = Rocks::open(&self.layout.kv(), kv::Access::Create)?;
        let keyset = self.header.keyset();
        let names = Names::new(Arc::clone(&keyset));
        let records = Records::new(Arc::new(store), keyset);
        let clock = Arc::new(SystemClock);
        let now = clock.now();
        let o = &self.options;
        let settings = Settings {
            quota_bytes: o.size_bytes,
            compression: stored_compression(o.compression),
        };
        Txn::create(records, clock, self.incarnation, |op| {
            op.root().header_seq = self.header.header_seq();
            op.put_new(Key::settings(), settings.encode());
            Fs::create_root(op, &names, now, o.uid, o.gid, o.mode);
        })?;
        self.layout.sync()
    }

    fn write_headers(&self) -> Result<(), VolumeError> {
        Ok(self.header.write(self.layout.dir())?)
    }

    fn finish(&self) -> Result<(), VolumeError> {
        let marker = self.layout.marker();
        fs::remove_file(&marker).map_err(|e| failed("remove", &marker, e))?;
        layout::sync_dir(self.layout.dir())?;
        match fs::canonicalize(self.layout.dir()) {
            Ok(dir) => dir.parent().map_or(Ok(()), layout::sync_dir),
            Err(e) => Err(failed("sync", self.layout.dir(), e)),
        }
    }

    /// Removes what was made. What cannot be removed is left to the next creation.
    fn undo(&self, is_new: bool) {
        drop(self.layout.clear());
        drop(fs::remove_file(self.layout.marker()));
        if is_new {
            drop(fs::remove_dir(self.layout.dir()));
        }
    }
}

/// Checks the options and returns the chunk size as a power of two.
fn check(options: &InitOptions) -> Result<u8, VolumeError> {
    let chunk = options.chunk_bytes;
    let log2 = u8::try_from(chunk.trailing_zeros()).unwrap_or(u8::MAX);
    if !chunk.is_power_of_two() || !CHUNK_LOG2.contains(&log2) {
        return Err(VolumeError::Option {
            what: "the chunk size",
            value: chunk.to_string(),
            allowed: "give a power of two from 16 KiB to 1 MiB",
        });
    }
    options.size_bytes.map_or(Ok(()), check_size)?;
    if options.mode & !0o7777 != 0 {
        return Err(VolumeError::Option {
            what: "the mode",
            value: format!("{:o}", options.mode),
            allowed: "give permission bits up to 7777",
        });
    }
    Ok(log2)
}

/// Refuses a quota that makes no sense.
pub(super) fn check_size(size_bytes: u64) -> Result<(), VolumeError> {
    if size_bytes >= SIZE_MIN_BYTES {
        return Ok(());
    }
    Err(VolumeError::Option {
        what: "the size",
        value: size_bytes.to_string(),
        allowed: "give at least 1 MiB",
    })
}

#[cfg(test)]
mod tests;
