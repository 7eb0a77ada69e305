//! A secret that a program prints: `cmd:/usr/bin/pass show backup`.
//!
//! No shell. The program must be one that only its owner, root or the caller, can change: whoever
//! can replace it could learn the secret.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, pidfd_open};

use crate::base::{Clock, SystemClock};
use crate::volume::SecretBytes;

use super::super::exit::{Exit, Failure};
use super::read_all;

/// Most bytes that it may print: a key, with room.
const OUTPUT_MAX_BYTES: u64 = 4096;

/// How long a program may take: it may have to ask a server, or a person for a token.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Runs a program with a request on its standard input and returns what it prints.
///
/// # Errors
/// When it cannot be trusted or started, fails, prints too much, or takes longer than 30 s.
pub fn run(argv: &[OsString], request: &str) -> Result<SecretBytes, Failure> {
    run_within(argv, request, TIME_LIMIT)
}

pub(super) fn run_within(
    argv: &[OsString],
    request: &str,
    limit: Duration,
) -> Result<SecretBytes, Failure> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(Failure::usage(
            "`cmd:` names no program",
            "give the absolute path of a program that prints the secret",
        ));
    };
    let name = Path::new(program).display().to_string();
    check_program(Path::new(program)).map_err(|cause| {
        Failure::new(
            Exit::Policy,
            format!("the program {name} is not run: {cause}"),
            "name a program by its absolute path that only root or you can change",
        )
    })?;
    let failed = |cause: String| {
        let next = "run it by hand: it must print the secret and nothing else, and end with 0";
        Failure::new(Exit::Failure, format!("{name} {cause}"), next)
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| failed(format!("cannot be started: {e}")))?;
    let mut stdin = child.stdin.take().expect("standard input is piped");
    // The pipe takes it all at once; a program that does not want to know may have ended.
    let _ = stdin.write_all(request.as_bytes());
    drop(stdin);
    let deadline = Deadline::after(limit);
    let secret = read_output(&mut child, &deadline, &name);
    let ended = deadline.wait_for_end(&child);
    if secret.is_err() || !ended.as_ref().is_ok_and(|ended| *ended) {
        // It may have ended by itself meanwhile.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|e| failed(format!("is lost: {e}")))?;
    match ended {
        Ok(true) if status.success() => secret,
        Ok(true) => Err(failed(format!("did not give the secret: {status}"))),
        Ok(false) => Err(failed(format!("took longer than {} s", limit.as_secs()))),
        Err(e) => Err(failed(format!("cannot be waited for: {e}"))),
    }
}

fn read_output(child: &mut Child, deadline: &Deadline, name: &str) -> Result<SecretBytes, Failure> {
    let stdout = child.stdout.take().expect("standard output is piped");
    let timed = Timed {
        source: stdout,
        deadline,
    };
    let mut bounded = timed.take(OUTPUT_MAX_BYTES + 1);
    let secret = read_all(&mut bounded, name)?;
    if bounded.limit() > 0 {
        return Ok(secret);
    }
    Err(Failure::new(
        Exit::Failure,
        format!("{name} printed more than {OUTPUT_MAX_BYTES} bytes"),
        "run it by hand: it must print the secret and nothing else",
    ))
}

/// Returns why a program is not to be trusted, if so.
pub(super) fn check_program(program: &Path) -> Result<(), String> {
    if !program.is_absolute() {
        return Err("its path is not absolute".to_owned());
    }
    let found = std::fs::metadata(program).map_err(|e| e.to_string())?;
    let me = rustix::process::geteuid().as_raw();
    if !found.is_file() {
        Err("it is not a file".to_owned())
    } else if found.uid() != 0 && found.uid() != me {
        Err(format!("it belongs to user {}", found.uid()))
    } else if found.mode() & 0o022 != 0 {
        Err(format!(
            "others can change it (mode {:o})",
            found.mode() & 0o7777
        ))
    } else {
        Ok(())
    }
}

/// The time by which something must have happened.
struct Deadline(std::time::Instant);

impl Deadline {
    fn after(limit: Duration) -> Self {
        Self(SystemClock.monotonic() + limit)
    }

    /// Waits until a descriptor can be read; false when the time is over.
    fn wait_readable(&self, fd: impl AsFd) -> io::Result<bool> {
        loop {
            let left = self.0.saturating_duration_since(SystemClock.monotonic());
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            let mut fds = [PollFd::new(&fd, PollFlags::IN)];
            match poll(&mut fds, Some(&left)) {
                Err(rustix::io::Errno::INTR) => {}
                other => return Ok(other? > 0),
            }
        }
    }

    fn wait_for_end(&self, child: &Child) -> io::Result<bool> {
        let pid = rustix::process::Pid::from_child(child);
        self.wait_readable(pidfd_open(pid, PidfdFlags::empty())?)
    }
}

/// A reader that gives up at a deadline.
struct Timed<'a, R> {
    source: R,
    deadline: &'a Deadline,
}

impl<R: Read + AsFd> Read for Timed<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.deadline.wait_readable(&self.source)? {
            self.source.read(buf)
        } else {
            Err(io::ErrorKind::TimedOut.into())
        }
    }
}
