//! The control socket: what commands ask of a running worker.
//!
//! One message asks, one answers; `Stop` is answered a second time when everything is durable, just
//! before the worker ends. Root and the worker's own user may ask.

use std::io::ErrorKind;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags};
use serde::{Deserialize, Serialize};

use crate::maint::CheckError;

use super::channel::{Channel, system};
use super::layout::failed;
use super::runtime::{Runtime, VolumeRuntime};
use super::slots::SlotOrder;
use super::{
    CheckOptions, CheckReport, Finding, Info, Locked, MountInfo, Mounted, Progress, Report,
    SlotInfo, UmountMode, Volume, VolumeError, Watch, mount_point,
};

/// How long a worker may take to say what it is: it answers from memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a command asks.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// What there is to know.
    Info,
    /// Everything written so far to be durable.
    Sync,
    /// Another quota.
    Resize {
        /// None is no quota.
        size_bytes: Option<u64>,
    },
    /// Other slots. The secret of an administrator comes with it, and that of the slot, in pipes.
    ChangeSlots(SlotOrder),
    /// A check; [`Answer::Checking`] and [`Answer::Found`] come before the answer to it.
    Check(CheckOptions),
    /// The end.
    Stop(UmountMode),
}

/// What the worker answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// To [`Request::Info`].
    Info(Box<Info>),
    /// It is done.
    Done,
    /// To [`Request::ChangeSlots`].
    Slot(SlotInfo),
    /// How far a check has come.
    Checking(Progress),
    /// Something that a check has found.
    Found(Finding),
    /// To [`Request::Check`]: the report without what was told before.
    Checked(Box<CheckReport>),
    /// It cannot be done.
    Failed(Report),
    /// There is no parent that could unmount any more; who asks must do it.
    Orphaned,
}

/// A connection to the worker of a mount.
pub(super) struct Client {
    channel: Channel,
    worker: Pid,
    info: Info,
    mount: MountInfo,
}

impl Client {
    /// Connects to the worker of a volume; none if there is none, or one of a version that speaks
    /// otherwise, which must not keep commands from the other volumes.
    pub(super) fn connect(runtime: &VolumeRuntime) -> Result<Option<Self>, VolumeError> {
        let path = runtime.control();
        let io = |e| failed("connect to", &path, e);
        let Some(channel) = Channel::connect(&path, PATIENCE).map_err(io)? else {
            return Ok(None);
        };
        let (worker, _) = channel.peer().map_err(io)?;
        channel.set_patience(PATIENCE)?;
        let answer = match ask(&channel, &Request::Info, &[]) {
            Ok(Some(answer)) => answer,
            Ok(None) | Err(VolumeError::Protocol(_)) => return Ok(None),
            Err(e) => return Err(e),
        };
        channel.set_patience(Duration::MAX)?;
        match answer {
            Answer::Info(info) => Ok(info.mount.clone().map(|mount| Self {
                channel,
                worker,
                info: *info,
                mount,
            })),
            _ => Ok(None),
        }
    }

    /// Finds the worker of the volume or the mount point that `target` names.
    pub(super) fn find(target: &Path) -> Result<Option<Self>, VolumeError> {
        let Some(dir) = mount_point::resolve(target)? else {
            return Ok(None);
        };
        let mut unheard = None;
        for runtime in Runtime::of_user()?.volumes()? {
            match Self::connect(&runtime) {
                Ok(Some(client)) => {
                    let m = &client.mount;
                    if m.dir == dir || is_same_dir(&m.volume_dir, &dir) {
                        return Ok(Some(client));
                    }
                }
                Ok(None) => {}
                // It may be that of another volume, so the others are asked all the same.
                Err(e) => unheard = Some((runtime, e)),
            }
        }
        match unheard {
            Some((runtime, e)) if may_serve(&runtime, &dir) => Err(e),
            _ => Ok(None),
        }
    }

    /// As [`Self::find`], for commands that need a mount.
    pub(super) fn expect(target: &Path) -> Result<Self, VolumeError> {
        Self::find(target)?.ok_or_else(|| VolumeError::NotMounted {
            target: target.to_path_buf(),
        })
    }

    /// Returns what the worker knows.
    pub(super) fn info(self) -> Info {
        self.info
    }

    /// Returns the mount.
    pub(super) fn mount(&self) -> &MountInfo {
        &self.mount
    }

    /// Asks for something and waits until it is done.
    pub(super) fn ask(&self, request: &Request) -> Result<Answer, VolumeError> {
        self.ask_with(request, &[])
    }

    /// The same, with descriptors for the worker.
    pub(super) fn ask_with(
        &self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Answer, VolumeError> {
        ask(&self.channel, request, descriptors)?.ok_or_else(|| self.died())
    }

    /// Has the worker check its volume. Whoever stops it only has to go away.
    pub(super) fn check(
        &self,
        options: CheckOptions,
        watch: &Watch<'_>,
    ) -> Result<CheckReport, VolumeError> {
        let mut findings = Vec::new();
        let mut answer = self.ask(&Request::Check(options))?;
        loop {
            match answer {
                Answer::Checking(progress) if !watch(progress) => {
                    return Err(CheckError::Stopped.into());
                }
                Answer::Checking(_) => {}
                Answer::Found(finding) => findings.push(finding),
                Answer::Checked(report) => {
                    return Ok(CheckReport {
                        findings,
                        ..*report
                    });
                }
                Answer::Failed(report) => return Err(report.into()),
                _ => return Err(self.died()),
            }
            let next = self.channel.receive::<Answer>()?;
            answer = next.ok_or_else(|| self.died())?.0;
        }
    }

    /// Tells a worker without a parent that its mount is out of sight.
    pub(super) fn terminate(&self) -> Result<(), VolumeError> {
        rustix::process::kill_process(self.worker, rustix::process::Signal::TERM)
            .map_err(|e| system("end the worker", e.into()))
    }

    /// Waits until the worker, asked to stop, has written everything out and its process and its
    /// parent's are gone.
    pub(super) fn wait_for_the_end(&self) -> Result<(), VolumeError> {
        let processes = [
            Some(self.worker),
            i32::try_from(self.mount.parent_pid)
                .ok()
                .and_then(Pid::from_raw),
        ]
        .map(|pid| rustix::process::pidfd_open(pid?, PidfdFlags::empty()).ok());
        let last = self.channel.receive::<Answer>()?;
        for process in processes.iter().flatten() {
            let mut poll = [PollFd::new(process, PollFlags::IN)];
            rustix::io::retry_on_intr(|| rustix::event::poll(&mut poll, None))
                .map_err(|e| system("wait for the worker", e.into()))?;
        }
        match last {
            Some((Answer::Failed(report), _)) => Err(report.into()),
            Some(_) => Ok(()),
            None => Err(self.died()),
        }
    }

    fn died(&self) -> VolumeError {
        let log = Runtime::of_user()
            .map(|r| r.existing(&self.info.header.volume_id).log())
            .unwrap_or_default();
        VolumeError::Died {
            who: "worker",
            how: String::new(),
            log,
        }
    }
}

fn ask(
    channel: &Channel,
    request: &Request,
    descriptors: &[BorrowedFd<'_>],
) -> Result<Option<Answer>, VolumeError> {
    match channel.send_with(request, descriptors) {
        Err(VolumeError::System { source, .. }) if source.kind() == ErrorKind::BrokenPipe => {
            return Ok(None);
        }
        other => other?,
    }
    match channel.receive::<Answer>()? {
        Some((Answer::Failed(report), _)) => Err(report.into()),
        Some((answer, _)) => Ok(Some(answer)),
        None => Ok(None),
    }
}

/// Returns false if `dir` is the directory of another volume than that of `runtime`.
fn may_serve(runtime: &VolumeRuntime, dir: &Path) -> bool {
    let (Ok(volume), Ok(all)) = (Volume::<Locked>::open(dir), Runtime::of_user()) else {
        // Not the directory of a volume: a mount point.
        return true;
    };
    all.existing(&volume.info().volume_id).control() == runtime.control()
}

fn is_same_dir(a: &Path, b: &Path) -> bool {
    a == b || std::fs::canonicalize(b).is_ok_and(|b| a == b)
}

/// Returns the mounts of this user whose workers answer.
pub(super) fn list() -> Result<Vec<Mounted>, VolumeError> {
    let mut found = Vec::new();
    for runtime in Runtime::of_user()?.volumes()? {
        match Client::connect(&runtime) {
            Ok(Some(client)) => found.push(Mounted {
                volume_id: client.info.header.volume_id.clone(),
                label: client.info.content.map(|c| c.label).unwrap_or_default(),
                mount: client.mount,
            }),
            Ok(None) => {}
            Err(e) => {
                let control = runtime.control();
                eprintln!("coffer: WARN {}: {}", control.display(), e.chain());
            }
        }
    }
    Ok(found)
}
