//! The parent of a mount: mounts, unmounts, watches the worker; knows no key.
//!
//! It lives in the mount namespace and with the rights of whoever mounted, which the worker has
//! given up. It keeps no copy of the FUSE descriptor: when the worker is gone the kernel ends the
//! session, nothing hangs, and the parent takes the dead mount away.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::base::{Clock, SystemClock};
use crate::fuse::{self, FuseError};

use super::channel::{Channel, Order, ToCaller, ToParent, ToWorker, system};
use super::mount_point::is_dead;
use super::runtime::{Runtime, VolumeRuntime};
use super::signals::{Signals, wait_for};
use super::{MountInfo, Mounted, Report, UmountMode, VolumeError, WORKER, journal, mount_table};

/// Where programs are looked for: the helper that mounts for users.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Memory is short for a mount long before it is for what it serves: the last to be killed.
const OOM_SCORE_ADJ: &str = "-500";

/// glibc gives each thread an arena of its own and keeps what was freed: two arenas and prompt
/// trimming keep the worker small.
const MALLOC: &str = "glibc.malloc.arena_max=2:glibc.malloc.trim_threshold=1048576";

/// Entry point: takes the order from standard input, and ends with the mount.
///
/// # Errors
/// In the foreground, whatever ended it. Otherwise that goes to the log, and to a caller that waits.
pub(super) fn main() -> Result<(), VolumeError> {
    rustix::thread::set_name(c"coffer-parent").map_err(|e| system("name the parent", e.into()))?;
    let caller = Channel::inherited()?;
    let Some((order, Some(secret))) = caller.receive::<Order>()? else {
        return Ok(());
    };
    let is_foreground = order.foreground;
    let mut caller = (!is_foreground).then_some(caller);
    let parent = Parent::start(order, secret.as_fd());
    // The worker alone holds the pipe from here on.
    drop(secret);
    let result = parent.and_then(|mut parent| parent.run(&mut caller));
    match result {
        Err(e) if !is_foreground => {
            note(&e.chain());
            if let Some(caller) = caller {
                // A caller that has gone does not want to know.
                drop(caller.send(&ToCaller::Failed(e.report())));
            }
            Ok(())
        }
        result => result,
    }
}

/// What the parent listens to.
#[derive(Debug, Clone, Copy)]
enum Source {
    Signals,
    Worker,
    Caller,
}

struct Parent {
    order: Order,
    runtime: VolumeRuntime,
    signals: Signals,
    worker: Channel,
    child: Child,
    /// Device of our mount, while there is one.
    device: Option<String>,
    is_ending: bool,
    started: Instant,
}

impl Parent {
    fn start(order: Order, secret: BorrowedFd<'_>) -> Result<Self, VolumeError> {
        let started = SystemClock.monotonic();
        let signals = Signals::catch()?;
        if !order.foreground {
            rustix::process::setsid().map_err(|e| system("start a session", e.into()))?;
        }
        std::env::set_current_dir("/").map_err(|e| system("leave the directory", e))?;
        rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
        // Only root may; for others the default stays.
        drop(std::fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJ));
        let runtime = Runtime::of_user()?.existing(&order.volume_id);
        let (worker, theirs) = Channel::pair()?;
        let child = spawn(
            WORKER,
            theirs,
            Stdio::inherit(),
            &[("GLIBC_TUNABLES", MALLOC)],
        )?;
        worker.send_with(&order, &[secret])?;
        Ok(Self {
            order,
            runtime,
            signals,
            worker,
            child,
            device: None,
            is_ending: false,
            started,
        })
    }

    /// Does what worker, signals and caller ask for until the worker has gone.
    fn run(&mut self, caller: &mut Option<Channel>) -> Result<(), VolumeError> {
        let mut outcome = None;
        loop {
            let mut watched = vec![
                (Source::Signals, self.signals.as_fd()),
                (Source::Worker, self.worker.as_fd()),
            ];
            watched.extend(caller.iter().map(|c| (Source::Caller, c.as_fd())));
            for source in wait_for(&watched)? {
                match source {
                    Source::Signals => {
                        self.signals.clear();
                        self.end();
                    }
                    Source::Caller => {
                        // Nobody waits for this mount any more.
                        *caller = None;
                        self.end();
                    }
                    Source::Worker => match self.worker.receive()? {
                        Some((ToParent::Ended(report), _)) => outcome = Some(report),
                        Some((message, _)) => self.obey(message, caller)?,
                        None => return self.worker_gone(outcome),
                    },
                }
            }
        }
    }

    fn obey(&mut self, message: ToParent, caller: &mut Option<Channel>) -> Result<(), VolumeError> {
        match message {
            ToParent::Mount { fsname } => match self.mount(&fsname) {
                Ok(device) => self.worker.send_with(&ToWorker::Device, &[device.as_fd()]),
                Err(e) => self.worker.send(&ToWorker::Refused(e.report())),
            },
            ToParent::Serving { label } => {
                if rustix::process::geteuid().is_root() {
                    if let Err(e) = fuse::raise_limits(&self.order.dir) {
                        note(&VolumeError::from(e).chain());
                    }
                }
                if let Some(caller) = caller.take() {
                    caller.send(&ToCaller::Mounted(self.mounted(label)))?;
                }
                Ok(())
            }
            ToParent::Unmount(mode) => {
                let refused = self.unmount(mode).err().map(|e| e.report());
                self.is_ending |= refused.is_none();
                self.worker.send(&ToWorker::Unmounted(refused))
            }
            ToParent::Ended(_) => Ok(()),
        }
    }

    fn mount(&mut self, fsname: &str) -> Result<OwnedFd, VolumeError> {
        let o = &self.order.options;
        let options = fuse::MountOptions {
            read_only: o.read_only,
            allow_other: o.allow_other,
            no_exec: o.noexec,
            suid: !o.nosuid,
            dev: !o.nodev,
        };
        let descriptor = fuse::mount(&self.order.dir, fsname, options)?;
        self.device = self.device_at_dir();
        Ok(descriptor)
    }

    fn device_at_dir(&self) -> Option<String> {
        let line = mount_table::at(&self.order.dir).ok()??;
        line.is_ours().then_some(line.device)
    }

    fn mounted(&self, label: String) -> Mounted {
        Mounted {
            volume_id: self.order.volume_id.clone(),
            label,
            mount: MountInfo {
                dir: self.order.dir.clone(),
                volume_dir: self.order.volume.clone(),
                pid: self.child.id(),
                parent_pid: std::process::id(),
                since: u64::try_from(SystemClock.now().secs).unwrap_or(0),
                mount_ms: milliseconds_since(self.started),
                read_only: self.order.options.read_only,
            },
        }
    }

    /// Unmounts whoever uses it, or ends a worker that has nothing mounted yet. Once is enough.
    fn end(&mut self) {
        if std::mem::replace(&mut self.is_ending, true) {
            return;
        }
        if self.device.is_none() {
            // Nothing is mounted, so nothing is lost.
            drop(self.child.kill());
        } else if let Err(e) = self.unmount(UmountMode::Force) {
            note(&e.chain());
            self.is_ending = false;
        }
    }

    fn unmount(&self, mode: UmountMode) -> Result<(), VolumeError> {
        let dir = &self.order.dir;
        if mode == UmountMode::Lazy {
            return gone_is_fine(fuse::unmount(dir, true));
        }
        match fuse::unmount(dir, false) {
            Err(FuseError::Busy { .. }) if mode == UmountMode::Force => self.detach(),
            Err(FuseError::Busy { .. }) => Err(VolumeError::busy(dir)),
            other => gone_is_fine(other),
        }
    }

    /// Takes a mount that is in use out of sight, has the kernel write out what it holds, and tells
    /// the worker to end although its users are still there.
    fn detach(&self) -> Result<(), VolumeError> {
        let root = File::open(&self.order.dir);
        gone_is_fine(fuse::unmount(&self.order.dir, true))?;
        let synced = root.and_then(|root| Ok(rustix::fs::syncfs(root)?));
        if let Err(e) = synced {
            note(&format!("the kernel could not write everything out: {e}"));
        }
        self.worker.send(&ToWorker::End)
    }

    /// Waits for the end of the worker and takes away what it may have left.
    fn worker_gone(&mut self, outcome: Option<Option<Report>>) -> Result<(), VolumeError> {
        let status = self
            .child
            .wait()
            .map_err(|e| system("wait for the worker", e))?;
        // The next mount may have come to the same directory by now, with the same device number.
        let is_there = self.device.is_some() && self.device_at_dir() == self.device;
        if is_there && is_dead(&self.order.dir) {
            note("the mount is taken away, since its worker has gone");
            gone_is_fine(fuse::unmount(&self.order.dir, true))?;
        }
        match outcome {
            Some(None) => Ok(()),
            Some(Some(report)) => Err(report.into()),
            None => {
                drop(std::fs::remove_file(self.runtime.control()));
                Err(VolumeError::Died {
                    who: "worker",
                    how: format!(": {status}"),
                    log: self.runtime.log(),
                })
            }
        }
    }
}

/// Somebody else may have unmounted it: then there is nothing left to do.
fn gone_is_fine(r: Result<(), FuseError>) -> Result<(), VolumeError> {
    match r {
        Err(FuseError::NotMounted { .. }) => Ok(()),
        other => Ok(other?),
    }
}

/// Returns how long ago an instant was.
pub(super) fn milliseconds_since(start: Instant) -> u64 {
    let passed = SystemClock.monotonic().saturating_duration_since(start);
    u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
}

/// Writes a line to the log, if that can be done.
fn note(text: &str) {
    use std::io::Write;
    let now = journal::now();
    drop(writeln!(std::io::stderr(), "{now} coffer: parent: {text}"));
}

/// Starts this program as a process of a mount, with a clean environment and one end of a channel.
pub(super) fn spawn(
    role: &str,
    channel: OwnedFd,
    log: Stdio,
    environment: &[(&str, &str)],
) -> Result<Child, VolumeError> {
    command(role, channel, environment)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|e| system("start a process of the mount", e))
}

/// Returns the command that runs this program as a process of a mount.
pub(super) fn command(role: &str, channel: OwnedFd, environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(Path::new("/proc/self/exe"));
    command
        .arg0("coffer")
        .arg(role)
        .env_clear()
        .env("PATH", PATH)
        .envs(environment.iter().copied())
        .stdin(channel);
    if let Some(dir) = std::env::var_os("XDG_RUNTIME_DIR") {
        command.env("XDG_RUNTIME_DIR", dir);
    }
    command
}
