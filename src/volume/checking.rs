//! A check inside the worker of a mount, on a thread of its own, for a command that listens.
//!
//! The thread sends what it finds as it goes along; a command that has gone ends it. It is told to
//! stop, and waited for, before the volume closes.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::base::sync::{Arc, AtomicBool, Mutex, Ordering};
use crate::base::{Clock, SystemClock};
use crate::maint::{CheckOptions, Phase, Progress};

use super::VolumeError;
use super::channel::{Channel, system};
use super::check::Checker;
use super::control::Answer;

/// How often the command learns how far the check has come.
const STEP: Duration = Duration::from_millis(200);

/// How much the check yields to the threads that serve requests: in steps of nice(2).
const NICE: i32 = 10;

/// A check that may still be under way.
pub(super) struct Checking {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Checking {
    /// Begins a check for a command. If that cannot be, the command is told.
    pub(super) fn begin(
        checker: Checker,
        options: CheckOptions,
        client: Channel,
    ) -> Result<Self, VolumeError> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let run = move || {
            // Where the system refuses, the check is only less polite.
            let me = Some(rustix::thread::gettid());
            let _ = rustix::process::setpriority_process(me, NICE);
            let told = tell(&checker, options, &client, &stopped);
            let answer = told.unwrap_or_else(|e| Answer::Failed(e.report()));
            // Who asked and left does not want to know.
            drop(client.send(&answer));
        };
        let thread = std::thread::Builder::new()
            .name("coffer-check".into())
            .spawn(run)
            .map_err(|e| system("start a check", e))?;
        Ok(Self {
            thread: Some(thread),
            stop,
        })
    }

    /// Returns true once it has ended.
    pub(super) fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Checking {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there is told by its own message.
            drop(thread.join());
        }
    }
}

/// Checks, and tells the command on the way; returns the last answer.
fn tell(
    checker: &Checker,
    options: CheckOptions,
    client: &Channel,
    stop: &AtomicBool,
) -> Result<Answer, VolumeError> {
    let last: Mutex<Option<(Phase, Instant)>> = Mutex::new(None);
    let watch = |progress: Progress| {
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        let mut last = last.lock();
        let now = SystemClock.monotonic();
        let is_due = last.is_none_or(|(phase, at)| phase != progress.phase || now >= at + STEP);
        if !is_due {
            return true;
        }
        *last = Some((progress.phase, now));
        client.send(&Answer::Checking(progress)).is_ok()
    };
    let mut report = checker.check(options, &watch)?;
    for finding in std::mem::take(&mut report.findings) {
        client.send(&Answer::Found(finding))?;
    }
    Ok(Answer::Checked(Box::new(report)))
}
