//! Signals that ask for the end, as bytes on a descriptor.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::VolumeError;
use super::channel::system;

/// SIGTERM, SIGINT and SIGHUP from now on: none of them ends the process by itself any more.
pub(super) struct Signals {
    reader: UnixStream,
}

impl Signals {
    pub(super) fn catch() -> Result<Self, VolumeError> {
        let catch = || -> io::Result<Self> {
            let (reader, writer) = UnixStream::pair()?;
            reader.set_nonblocking(true)?;
            for signal in [SIGTERM, SIGINT, SIGHUP] {
                signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
            }
            Ok(Self { reader })
        };
        catch().map_err(|e| system("catch signals", e))
    }

    /// Forgets the signals that have come.
    pub(super) fn clear(&mut self) {
        let mut bytes = [0; 64];
        while self.reader.read(&mut bytes).is_ok_and(|n| n > 0) {}
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

/// Waits until some of the descriptors have something to read or have come to their end, and
/// returns their names.
pub(super) fn wait_for<T: Copy>(watched: &[(T, BorrowedFd<'_>)]) -> Result<Vec<T>, VolumeError> {
    let mut polled: Vec<PollFd<'_>> = watched
        .iter()
        .map(|(_, fd)| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    rustix::io::retry_on_intr(|| poll(&mut polled, None)).map_err(|e| system("wait", e.into()))?;
    Ok(watched
        .iter()
        .zip(&polled)
        .filter(|(_, p)| !p.revents().is_empty())
        .map(|((name, _), _)| *name)
        .collect())
}
