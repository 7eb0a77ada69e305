//! The worker of a mount: holds the keys, gives up what it does not need, serves.
//!
//! One thread, the *desk*, answers parent, commands and signals; the threads of `fuse` answer the
//! kernel. The end comes from the kernel, when the mount is gone, or from the parent, when it is out
//! of sight and still in use. Then everything is written out, and only then anybody is told.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::Instant;

use rustix::process::{Resource, Rlimit};

use crate::base::hardening;
use crate::base::sync::Arc;
use crate::base::{Clock, SystemClock};
use crate::fs::Fs;
use crate::fuse::{self, FuseError, RequestCounts, ServeOptions};

use super::channel::{Channel, Listener, Order, ToParent, ToWorker, system};
use super::checking::Checking;
use super::control::{Answer, Request};
use super::journal::Journal;
use super::layout::failed;
use super::parent::milliseconds_since;
use super::runtime::{Runtime, VolumeRuntime};
use super::signals::{Signals, wait_for};
use super::slots::{SlotOrder, drained_pipe};
use super::{
    Access, CheckOptions, Info, Locked, MountInfo, Open, SlotInfo, UmountMode, Volume, VolumeError,
};

/// Threads that answer the kernel: they never wait for a sync, so a few carry all requests.
const THREADS: std::ops::RangeInclusive<usize> = 2..=8;

/// Connections of commands at once; one more waits until one has gone.
const CLIENTS_MAX: usize = 32;

/// Entry point: takes the order from standard input, and ends with the session.
///
/// # Errors
/// What went wrong, if there is no parent to tell it to.
pub(super) fn main() -> Result<(), VolumeError> {
    // Before any thread starts: what is given up here is given up for each of them.
    hardening::deny_inspection().map_err(|e| system("deny inspection of the worker", e))?;
    rustix::thread::set_name(c"coffer-worker").map_err(|e| system("name the worker", e.into()))?;
    let started = SystemClock.monotonic();
    let parent = Channel::inherited()?;
    let Some((order, Some(secret))) = parent.receive::<Order>()? else {
        return Ok(());
    };
    give_up(&order)?;
    let runtime = Runtime::of_user()?.volume(&order.volume_id)?;
    let log = (!order.foreground).then(|| runtime.log());
    let journal = Journal::start(log).map_err(|e| failed("write", &runtime.log(), e))?;
    journal
        .end_on_panic()
        .map_err(|e| failed("write", &runtime.log(), e))?;
    let mut waiting = Vec::new();
    let result = serve(&order, secret, &runtime, &parent, started, &mut waiting);
    let report = result.as_ref().err().map(VolumeError::report);
    for client in waiting {
        let answer = report.clone().map_or(Answer::Done, Answer::Failed);
        // Who asked and left does not want to know.
        drop(client.send(&answer));
    }
    let told = parent.send(&ToParent::Ended(report));
    journal.end();
    told.or(result)
}

/// Gives up every right that serving does not need.
fn give_up(order: &Order) -> Result<(), VolumeError> {
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let files = rustix::process::getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: files.maximum,
        maximum: files.maximum,
    };
    rustix::process::setrlimit(Resource::Nofile, all)
        .map_err(|e| system("raise the limit of open files", e.into()))?;
    let owner = std::fs::metadata(&order.volume)
        .map_err(|e| failed("read", &order.volume, e))?
        .uid();
    // Root reads the files of another user by a capability only.
    if owner == rustix::process::geteuid().as_raw() {
        hardening::drop_capabilities().map_err(|e| system("drop capabilities", e))?;
    }
    Ok(())
}

/// Opens the volume, has it mounted, serves it to its end, and closes it.
fn serve(
    order: &Order,
    secret: OwnedFd,
    runtime: &VolumeRuntime,
    parent: &Channel,
    started: Instant,
    waiting: &mut Vec<Channel>,
) -> Result<(), VolumeError> {
    let signals = Signals::catch()?;
    let secret = drained_pipe(secret)?;
    let access = if order.options.read_only {
        Access::ReadOnly
    } else {
        Access::ReadWrite
    };
    let mut volume = Volume::<Locked>::open(&order.volume)?.unlock(&secret, access)?;
    drop(secret);
    let served = attend(
        &mut volume,
        order,
        runtime,
        parent,
        signals,
        started,
        waiting,
    );
    let closed = volume.close();
    served.and(closed)
}

/// Has the volume mounted, and answers everybody until the session ends.
fn attend(
    volume: &mut Volume<Open>,
    order: &Order,
    runtime: &VolumeRuntime,
    parent: &Channel,
    signals: Signals,
    started: Instant,
    waiting: &mut Vec<Channel>,
) -> Result<(), VolumeError> {
    let device = get_device(parent, volume, order)?;
    volume.mounted_on(&order.dir);
    let socket = runtime.control();
    let listener = Listener::bind(&socket).map_err(|e| failed("listen at", &socket, e))?;
    let session = Session::start(Arc::clone(volume.fs()), device)?;
    let mut desk = Desk {
        volume,
        parent: Some(parent),
        signals,
        listener,
        clients: Vec::new(),
        asked: VecDeque::new(),
        waiting,
        mount: mount_info(order),
        started,
        checking: None,
    };
    let end = desk.run(&session)?;
    // The kernel may be faster than the parent's answer.
    for client in std::mem::take(&mut desk.asked).into_iter().flatten() {
        desk.promise(client, &Answer::Done);
    }
    match end {
        End::Unmounted => Ok(session.end()?),
        End::Detached => Ok(()),
    }
}

/// Asks the parent to mount and returns the descriptor to serve.
fn get_device(
    parent: &Channel,
    volume: &Volume<Open>,
    order: &Order,
) -> Result<OwnedFd, VolumeError> {
    let name = match volume.label() {
        "" => &order.volume_id,
        label => label,
    };
    parent.send(&ToParent::Mount {
        fsname: format!("coffer:{name}"),
    })?;
    match parent.receive()? {
        Some((ToWorker::Device, Some(device))) => Ok(device),
        Some((ToWorker::Refused(report), _)) => Err(report.into()),
        _ => Err(VolumeError::ParentGone),
    }
}

fn mount_info(order: &Order) -> MountInfo {
    MountInfo {
        dir: order.dir.clone(),
        volume_dir: order.volume.clone(),
        pid: std::process::id(),
        parent_pid: rustix::process::getppid()
            .map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs()),
        since: u64::try_from(SystemClock.now().secs).unwrap_or(0),
        mount_ms: 0,
        read_only: order.options.read_only,
    }
}

/// The threads that answer the kernel.
struct Session {
    thread: JoinHandle<Result<(), FuseError>>,
    /// One byte when requests are answered, the end of the stream when the session ends.
    progress: UnixStream,
}

impl Session {
    fn start(fs: Arc<Fs>, device: OwnedFd) -> Result<Self, VolumeError> {
        let threads = std::thread::available_parallelism()
            .map_or(*THREADS.start(), NonZero::get)
            .clamp(*THREADS.start(), *THREADS.end());
        let options = ServeOptions {
            threads: NonZero::new(threads).expect("the range begins above zero"),
            counts: Arc::new(RequestCounts::default()),
        };
        let start = || {
            let (progress, mut theirs) = UnixStream::pair()?;
            let thread = std::thread::Builder::new()
                .name("coffer-fuse".into())
                .spawn(move || {
                    let ready = || drop(theirs.write_all(b"r"));
                    let result = fuse::serve(fs, device, &options, ready);
                    drop(theirs);
                    result
                })?;
            Ok(Self { thread, progress })
        };
        start().map_err(|e| system("start to serve", e))
    }

    fn end(self) -> Result<(), FuseError> {
        match self.thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Why a desk closes.
enum End {
    /// The kernel has let go of the session.
    Unmounted,
    /// The mount is out of sight, and its users will see errors.
    Detached,
}

/// What the desk listens to.
#[derive(Debug, Clone, Copy)]
enum Source {
    Parent,
    Signals,
    Kernel,
    Listener,
    Client(usize),
}

/// Where everybody but the kernel asks.
struct Desk<'a> {
    volume: &'a mut Volume<Open>,
    /// None once it is gone.
    parent: Option<&'a Channel>,
    signals: Signals,
    listener: Listener,
    /// Connected, and silent so far.
    clients: Vec<Channel>,
    /// Who asked for each unmount that the parent has not answered yet; none for a signal.
    asked: VecDeque<Option<Channel>>,
    /// Who waits for the end.
    waiting: &'a mut Vec<Channel>,
    mount: MountInfo,
    started: Instant,
    /// The last check, which may be over.
    checking: Option<Checking>,
}

impl Desk<'_> {
    fn run(&mut self, session: &Session) -> Result<End, VolumeError> {
        loop {
            let mut watched = vec![
                (Source::Kernel, session.progress.as_fd()),
                (Source::Signals, self.signals.as_fd()),
            ];
            watched.extend(self.parent.map(|p| (Source::Parent, p.as_fd())));
            if self.clients.len() < CLIENTS_MAX {
                watched.push((Source::Listener, self.listener.as_fd()));
            }
            let clients = self.clients.iter().enumerate();
            watched.extend(clients.map(|(i, c)| (Source::Client(i), c.as_fd())));
            // Backwards, so that a client that leaves the list does not move those still to come.
            for source in wait_for(&watched)?.into_iter().rev() {
                let end = match source {
                    Source::Kernel => self.hear_kernel(session),
                    Source::Signals => self.hear_signal(),
                    Source::Parent => self.hear_parent()?,
                    Source::Listener => {
                        self.greet();
                        None
                    }
                    Source::Client(i) => {
                        let client = self.clients.swap_remove(i);
                        self.hear_client(client)
                    }
                };
                if let Some(end) = end {
                    return Ok(end);
                }
            }
        }
    }

    fn hear_kernel(&mut self, session: &Session) -> Option<End> {
        let mut byte = [0];
        match (&session.progress).read(&mut byte) {
            Ok(1..) => {
                self.mount.mount_ms = milliseconds_since(self.started);
                let label = self.volume.label().to_owned();
                self.tell_parent(&ToParent::Serving { label });
                None
            }
            _ => Some(End::Unmounted),
        }
    }

    fn hear_signal(&mut self) -> Option<End> {
        self.signals.clear();
        self.ask_for_the_end(UmountMode::Force, None)
    }

    /// Has the parent unmount for a client, or for a signal.
    fn ask_for_the_end(&mut self, mode: UmountMode, client: Option<Channel>) -> Option<End> {
        if self.parent.is_some() {
            self.tell_parent(&ToParent::Unmount(mode));
            self.asked.push_back(client);
            return None;
        }
        match client {
            Some(client) => {
                self.promise(client, &Answer::Orphaned);
                None
            }
            // Nobody is left who could unmount; the next mount there clears what stays behind.
            None => Some(End::Detached),
        }
    }

    /// Sends to the parent; if it has gone, the end of its channel is heard next.
    fn tell_parent(&self, message: &ToParent) {
        if let Some(parent) = self.parent {
            drop(parent.send(message));
        }
    }

    fn hear_parent(&mut self) -> Result<Option<End>, VolumeError> {
        let message = match self.parent {
            Some(parent) => parent.receive::<ToWorker>()?,
            None => None,
        };
        match message {
            Some((ToWorker::End, _)) => Ok(Some(End::Detached)),
            Some((ToWorker::Unmounted(refused), _)) => {
                if let Some(client) = self.asked.pop_front().flatten() {
                    self.promise(client, &refused.map_or(Answer::Done, Answer::Failed));
                }
                Ok(None)
            }
            Some(_) => Ok(None),
            None => {
                eprintln!("coffer: WARN the parent has gone; the mount goes on");
                self.parent = None;
                let asked = std::mem::take(&mut self.asked);
                let ends = asked
                    .into_iter()
                    .map(|client| self.ask_for_the_end(UmountMode::Force, client));
                // Every client is answered, whether or not a signal came before.
                Ok(ends.fold(None, Option::or))
            }
        }
    }

    /// Takes a connection of root or of this user.
    fn greet(&mut self) {
        let allowed = |channel: &Channel| {
            channel
                .peer()
                .is_ok_and(|(_, uid)| uid.is_root() || uid == rustix::process::geteuid())
        };
        // A connection that is gone before it is taken is no loss.
        if let Ok(channel) = self.listener.accept() {
            if allowed(&channel) {
                self.clients.push(channel);
            }
        }
    }

    /// Answers one request; the connection then waits for the next one, or for the end.
    fn hear_client(&mut self, client: Channel) -> Option<End> {
        // Whoever is gone, or talks nonsense, is let go.
        let (request, pipes) = client.receive_all::<Request>().ok()??;
        let answer = match request {
            Request::Info => Answer::Info(Box::new(Info {
                mount: Some(self.mount.clone()),
                ..self.volume.info()
            })),
            Request::Resize { size_bytes } => match self.volume.resize(size_bytes) {
                Ok(()) => Answer::Done,
                Err(e) => Answer::Failed(e.report()),
            },
            Request::ChangeSlots(order) => match self.change_slots(order, pipes) {
                Ok(slot) => Answer::Slot(slot),
                Err(e) => Answer::Failed(e.report()),
            },
            Request::Sync => {
                self.volume.fs().sync_all(Box::new(move |result| {
                    let answer = match result {
                        Ok(()) => Answer::Done,
                        Err(e) => Answer::Failed(VolumeError::from(e).report()),
                    };
                    drop(client.send(&answer));
                }));
                return None;
            }
            Request::Check(options) => {
                self.begin_check(options, client);
                return None;
            }
            Request::Stop(mode) => return self.ask_for_the_end(mode, Some(client)),
        };
        if client.send(&answer).is_ok() {
            self.clients.push(client);
        }
        None
    }

    /// Begins a check for a command, unless one is under way.
    fn begin_check(&mut self, options: CheckOptions, client: Channel) {
        if self.checking.as_ref().is_some_and(|c| !c.is_over()) {
            let refused = VolumeError::CheckUnderWay.report();
            drop(client.send(&Answer::Failed(refused)));
            return;
        }
        match Checking::begin(self.volume.checker(), options, client) {
            Ok(checking) => self.checking = Some(checking),
            Err(e) => eprintln!("coffer: ERROR {}", e.chain()),
        }
    }

    /// Changes the slots with the secrets in the pipes that came with the order.
    fn change_slots(
        &mut self,
        order: SlotOrder,
        pipes: Vec<OwnedFd>,
    ) -> Result<SlotInfo, VolumeError> {
        let nonsense = || VolumeError::Option {
            what: "the change",
            value: "of a slot".into(),
            allowed: "use the version of coffer that mounted the volume",
        };
        let secrets = pipes.into_iter().map(drained_pipe);
        let secrets = secrets.collect::<Result<Vec<_>, _>>()?;
        let (own, new) = match &secrets[..] {
            [own] if !order.needs_secret() => (own, None),
            [own, new] if order.needs_secret() => (own, Some(new)),
            _ => return Err(nonsense()),
        };
        let change = order.change().ok_or_else(nonsense)?;
        self.volume.change_slots(&change, own, new)
    }

    /// Answers who asked for the end, and remembers them for it.
    fn promise(&mut self, client: Channel, answer: &Answer) {
        let refused = matches!(answer, Answer::Failed(_));
        if client.send(answer).is_ok() && !refused {
            self.waiting.push(client);
        }
    }
}
