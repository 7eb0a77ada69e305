//! Reading a key file, which is only as good as its permissions.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::crypto::SecretBytes;

use super::error::{KeyFileFault, KeysError};

/// Permission bits that a key file must not have.
const OTHERS: u32 = 0o077;

/// Reads the secret in a file: a regular file of root or of the caller that nobody else may touch,
/// not inside the volume it opens. How long a secret must be depends on its slot.
///
/// # Errors
/// When the file breaks one of these rules, cannot be read, or there is no locked memory.
pub fn read_key_file(path: &Path, volume: &Path) -> Result<SecretBytes, KeysError> {
    let refuse = |fault| {
        Err(KeysError::KeyFile {
            path: path.to_path_buf(),
            fault,
        })
    };
    let unreadable = |source| KeysError::Io {
        op: "read the key file",
        path: path.to_path_buf(),
        source,
    };
    // A pipe in its place must not block.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let mut file = match opened {
        Err(e) if e.raw_os_error() == Some(libc::ELOOP) => return refuse(KeyFileFault::Symlink),
        Err(e) if e.raw_os_error() == Some(libc::ENXIO) => return refuse(KeyFileFault::NotRegular),
        opened => opened.map_err(unreadable)?,
    };
    let meta = file.metadata().map_err(unreadable)?;
    if !meta.is_file() {
        return refuse(KeyFileFault::NotRegular);
    }
    let own = [0, rustix::process::geteuid().as_raw()];
    if !own.contains(&meta.uid()) {
        return refuse(KeyFileFault::Owner { uid: meta.uid() });
    }
    let mode = meta.mode() & 0o7777;
    if mode & OTHERS != 0 {
        return refuse(KeyFileFault::Mode { mode });
    }
    if usize::try_from(meta.len()).map_or(true, |len| len > SecretBytes::MAX_BYTES) {
        return refuse(KeyFileFault::TooLong);
    }
    if is_inside(path, volume).map_err(unreadable)? {
        return refuse(KeyFileFault::InsideVolume);
    }
    Ok(SecretBytes::read_from(&mut file)?)
}

/// Returns true when a path lies below a directory, whatever names lead there.
fn is_inside(path: &Path, dir: &Path) -> io::Result<bool> {
    let Ok(dir) = std::fs::metadata(dir) else {
        // A volume that does not exist yet holds no key.
        return Ok(false);
    };
    for ancestor in path.canonicalize()?.ancestors().skip(1) {
        let meta = std::fs::metadata(ancestor)?;
        if (meta.dev(), meta.ino()) == (dir.dev(), dir.ino()) {
            return Ok(true);
        }
    }
    Ok(false)
}
