//! The door to the kernel: requests of a FUSE descriptor become calls of [`Fs`].
//!
//! Decodes a request, calls `fs`, encodes the reply, counts it; no semantics. `mount` makes and
//! takes away the mount itself, in the process that may; `serve` needs the descriptor only.
//!
//! What may have to wait for the disk is answered by a reply parked in its `Done`, so that a few
//! threads carry any number of requests. There is no lock here: a request names an inode, and
//! nothing is kept between two of them but the counters.

mod adapter;
mod attributes;
mod error;
mod limits;
mod mount;
mod replies;
mod requests;

use std::num::NonZero;
use std::os::fd::OwnedFd;

use crate::base::Ino;
use crate::base::sync::Arc;
use crate::fs::Fs;

pub use error::FuseError;
pub use limits::raise_limits;
pub use mount::{MountOptions, mount, unmount};
pub use requests::{RequestCounts, RequestKind};

/// How a file system is served.
pub struct ServeOptions {
    /// Threads that take requests: at least two, so that a read from the disk stops nobody.
    pub threads: NonZero<usize>,
    /// Where requests are counted.
    pub counts: Arc<RequestCounts>,
}

/// Serves `fs` on the FUSE descriptor of a mount, until it is unmounted.
///
/// Calls `on_ready` once the kernel and we agree: from then on the mount answers. Ends when the
/// kernel has let go of the descriptor; the caller then shuts `fs` down.
///
/// # Errors
/// When the descriptor is not that of a fresh mount, the kernel lacks what we need, or the
/// descriptor fails.
pub fn serve(
    fs: Arc<Fs>,
    device: OwnedFd,
    options: &ServeOptions,
    on_ready: impl FnOnce(),
) -> Result<(), FuseError> {
    let served = Arc::clone(&fs);
    let adapter = adapter::Adapter::new(fs, Arc::clone(&options.counts));
    let ended = run(adapter, device, options.threads, |notifier| {
        served.tell_lost_modes(Some(Arc::new(move |ino| forget_attributes(&notifier, ino))));
        on_ready();
    });
    // It holds the descriptor, and with it the mount.
    served.tell_lost_modes(None);
    ended
}

/// Makes the kernel ask for the attributes of an inode again. It keeps them without time limit, and
/// runs a program by the mode it has; a request that changes contents does not tell it of a mode
/// that is changed with them.
fn forget_attributes(notifier: &fuser::Notifier, ino: Ino) {
    const NO_CONTENTS: i64 = -1;
    if let Err(e) = notifier.inval_inode(fuser::INodeNo(ino.0), NO_CONTENTS, 0) {
        eprintln!("coffer: WARN the kernel keeps an old mode: {e}");
    }
}

/// Runs a session of `filesystem`.
fn run(
    filesystem: impl fuser::Filesystem,
    device: OwnedFd,
    threads: NonZero<usize>,
    on_ready: impl FnOnce(fuser::Notifier),
) -> Result<(), FuseError> {
    let mut config = fuser::Config::default();
    // Who may use the mount is the kernel's to check: it knows `allow_other`.
    config.acl = fuser::SessionACL::All;
    config.n_threads = Some(threads.get());
    let session = fuser::Session::from_fd(filesystem, device, config.acl, config)
        .map_err(FuseError::from_handshake)?;
    on_ready(session.notifier());
    session.run().map_err(FuseError::Session)
}

#[cfg(test)]
mod tests;
