//! Messages between the processes of a mount, each with at most two descriptors.
//!
//! A channel is a Unix socket that keeps the borders of messages; a message is one JSON value. An
//! inherited channel is the standard input of its process, so that nothing else need be inherited.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{MountOptions, Mounted, Report, UmountMode, VolumeError};

/// Longest message: two paths, an option list, and the slots of a header.
const MESSAGE_MAX_BYTES: usize = 64 << 10;

/// Descriptors that come with a message: pipes with secrets, or the device of a mount.
const DESCRIPTORS_MAX: usize = 2;

/// Connections that wait to be accepted: commands of people.
const BACKLOG: i32 = 16;

/// What is to be mounted where: the first message to the parent, and from it to the worker. The
/// descriptor with it is the pipe from which the worker, and nobody else, reads the secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Order {
    /// Absolute path of the volume directory.
    pub(super) volume: PathBuf,
    /// Absolute path of the mount point.
    pub(super) dir: PathBuf,
    /// What the header says, for log and lists.
    pub(super) volume_id: String,
    pub(super) options: MountOptions,
    /// The parent keeps the caller's terminal and session.
    pub(super) foreground: bool,
}

/// What the parent tells whoever called it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToCaller {
    /// The mount answers.
    Mounted(Mounted),
    /// There is no mount.
    Failed(Report),
}

/// What the worker tells the parent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToParent {
    /// The volume is open: mount, and send the descriptor.
    Mount {
        /// Name of the volume in the table of mounts.
        fsname: String,
    },
    /// Requests are being answered.
    Serving {
        /// For lists.
        label: String,
    },
    /// Somebody asks for the end.
    Unmount(UmountMode),
    /// The worker is about to end; with what went wrong.
    Ended(Option<Report>),
}

/// What the parent tells the worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToWorker {
    /// It is mounted; the descriptor comes with this.
    Device,
    /// It cannot be mounted.
    Refused(Report),
    /// Answer to [`ToParent::Unmount`].
    Unmounted(Option<Report>),
    /// The mount is out of sight and still in use: write everything out and end all the same.
    End,
}

/// One end of a channel.
pub(super) struct Channel {
    socket: OwnedFd,
}

impl Channel {
    /// Makes a channel; the other end is for the standard input of a child.
    pub(super) fn pair() -> Result<(Self, OwnedFd), VolumeError> {
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|e| system("make a channel", e.into()))?;
        Ok((Self { socket: ours }, theirs))
    }

    /// Takes the channel that this process inherited as its standard input.
    pub(super) fn inherited() -> Result<Self, VolumeError> {
        let take = || {
            let socket = io::stdin().as_fd().try_clone_to_owned()?;
            rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
            rustix::net::sockopt::socket_type(&socket)?;
            Ok(Self { socket })
        };
        take().map_err(|e| system("take the channel of the parent process", e))
    }

    /// Connects to the socket at `path`; none if nobody listens. One that hangs and whose queue is
    /// full is waited for as long as `patience`.
    pub(super) fn connect(path: &Path, patience: Duration) -> io::Result<Option<Self>> {
        let socket = new_socket()?;
        set_socket_timeout(&socket, Timeout::Send, Some(patience))?;
        match rustix::net::connect(&socket, &SocketAddrUnix::new(path)?) {
            Ok(()) => Ok(Some(Self { socket })),
            Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Sends a message.
    pub(super) fn send<T: Serialize>(&self, message: &T) -> Result<(), VolumeError> {
        self.send_with(message, &[])
    }

    /// Sends a message with descriptors.
    pub(super) fn send_with<T: Serialize>(
        &self,
        message: &T,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), VolumeError> {
        let bytes = serde_json::to_vec(message).map_err(VolumeError::Protocol)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(descriptors)));
        }
        let mut send = || {
            rustix::net::sendmsg(
                &self.socket,
                &[IoSlice::new(&bytes)],
                &mut ancillary,
                SendFlags::NOSIGNAL,
            )
        };
        rustix::io::retry_on_intr(&mut send)
            .map(drop)
            .map_err(|e| system("send to another process of the mount", e.into()))
    }

    /// Waits for a message; none when the other side is gone.
    pub(super) fn receive<T: DeserializeOwned>(
        &self,
    ) -> Result<Option<(T, Option<OwnedFd>)>, VolumeError> {
        let received = self.receive_all()?;
        Ok(received.map(|(message, descriptors)| (message, descriptors.into_iter().next())))
    }

    /// The same, with all descriptors.
    pub(super) fn receive_all<T: DeserializeOwned>(
        &self,
    ) -> Result<Option<(T, Vec<OwnedFd>)>, VolumeError> {
        let mut bytes = vec![0; MESSAGE_MAX_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let received = rustix::net::recvmsg(
                &self.socket,
                &mut [IoSliceMut::new(&mut bytes)],
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            );
            match received {
                Ok(r) => break r,
                // The other side ended without reading all that we sent: that is told once, before
                // the messages that it has sent.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                Err(e) => return Err(system("hear from another process of the mount", e.into())),
            }
        };
        if received.bytes == 0 {
            return Ok(None);
        }
        if received.flags.contains(ReturnFlags::TRUNC) {
            let e = <serde_json::Error as serde::de::Error>::custom("the message is too long");
            return Err(VolumeError::Protocol(e));
        }
        let descriptors = ancillary.drain().flat_map(|m| match m {
            RecvAncillaryMessage::ScmRights(fds) => fds.collect(),
            _ => Vec::new(),
        });
        let descriptors = descriptors.collect();
        let message = bytes.get(..received.bytes).unwrap_or_default();
        let message = serde_json::from_slice(message).map_err(VolumeError::Protocol)?;
        Ok(Some((message, descriptors)))
    }

    /// Bounds how long [`Self::receive`] waits.
    pub(super) fn set_patience(&self, wait: Duration) -> Result<(), VolumeError> {
        set_socket_timeout(&self.socket, Timeout::Recv, Some(wait))
            .map_err(|e| system("bound the wait for the worker", e.into()))
    }

    /// Returns who is at the other end: process and user.
    pub(super) fn peer(&self) -> io::Result<(rustix::process::Pid, rustix::process::Uid)> {
        let peer = rustix::net::sockopt::socket_peercred(&self.socket)?;
        Ok((peer.pid, peer.uid))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A socket that commands connect to.
pub(super) struct Listener {
    socket: OwnedFd,
    path: PathBuf,
}

impl Listener {
    /// Listens at `path`, for this user alone. What a killed process left there is replaced; the
    /// caller has claimed the directory.
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let socket = new_socket()?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
        rustix::fs::chmod(path, rustix::fs::Mode::from_raw_mode(0o600))?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(Self {
            socket,
            path: path.to_path_buf(),
        })
    }

    /// Takes the next connection.
    pub(super) fn accept(&self) -> io::Result<Channel> {
        let socket = rustix::net::accept_with(&self.socket, SocketFlags::CLOEXEC)?;
        Ok(Channel { socket })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // The name without a listener only costs a command one failed connection.
        drop(std::fs::remove_file(&self.path));
    }
}

fn new_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    Ok(socket)
}

/// Names the verb in an error of the operating system.
pub(super) fn system(op: &'static str, source: io::Error) -> VolumeError {
    VolumeError::System { op, source }
}
