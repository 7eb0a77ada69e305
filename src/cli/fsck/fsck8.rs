//! `fsck.coffer`: what fsck(8) and systemd run for the file system type `coffer`.
//!
//! fsck(8) passes no options of fstab, so the secret is looked up there: in the line whose first word
//! is the volume, `secret=SOURCE` among its options.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::base::os::inherited_descriptor;
use crate::base::sync::Mutex;
use crate::cli::exit::Failure;
use crate::cli::output;
use crate::cli::progress::{Meter, Show};
use crate::cli::secret::{SecretSource, refuse_in_arguments};
use crate::volume::{CheckOptions, Phase, Progress};

use super::{EXIT_CODES, Verdict, check, ended, text, verdict_of};

const FSTAB: &str = "/etc/fstab";

/// Check an encrypted volume; the helper of fsck(8).
///
/// The secret comes from the option secret=SOURCE of the volume in /etc/fstab, or from the terminal.
/// Nothing is changed, whatever is asked for: `coffer fsck` is for that.
#[derive(Debug, Parser)]
#[command(name = "fsck.coffer", max_term_width = 100, after_help = EXIT_CODES)]
struct Args {
    /// Directory of the volume
    volume: PathBuf,

    /// Accepted: no questions are asked
    #[arg(short = 'a')]
    automatic: bool,

    /// Accepted: no questions are asked
    #[arg(short = 'p')]
    preen: bool,

    /// Accepted: no questions are asked
    #[arg(short = 'y')]
    yes: bool,

    /// Change nothing
    #[arg(short = 'n')]
    no_changes: bool,

    /// Accepted: every check is a whole one
    #[arg(short = 'f')]
    force: bool,

    /// Accepted and without effect
    #[arg(short = 'r')]
    interactive: bool,

    /// Accepted and without effect
    #[arg(short = 'l')]
    lock: bool,

    /// Accepted: a mounted volume is checked as its last commit has left it
    #[arg(short = 'M')]
    skip_mounted: bool,

    /// Say what was looked at, also when all is well
    #[arg(short = 'v', short_alias = 'V')]
    verbose: bool,

    /// Show progress: on the terminal with 0, for programs on the open descriptor FD (fsck(8): -C[FD])
    #[arg(long, value_name = "FD")]
    progress_fd: Option<i32>,

    /// Accepted and without effect: there is one type
    #[arg(short = 't', value_name = "TYPE")]
    kind: Option<String>,
}

/// Returns the description of the helper, for its manual page.
pub fn command() -> clap::Command {
    Args::command()
}

/// Checks what the arguments say and returns the exit code of fsck(8).
pub fn run(args: &[OsString]) -> ExitCode {
    let args = args.iter().map(|a| progress_option(a));
    let args: Vec<OsString> = args.collect();
    let parsed = refuse_in_arguments(&args).map(|()| Args::try_parse_from(&args));
    match parsed {
        Err(failure) => ended(Err(failure)),
        Ok(Err(e)) => {
            // If the terminal is gone there is nobody to tell.
            let _ = e.print();
            match e.use_stderr() {
                true => Verdict::Usage.into(),
                false => ExitCode::SUCCESS,
            }
        }
        Ok(Ok(args)) => ended(check_as_told(&args)),
    }
}

/// Returns `-C` and `-CFD`, whose descriptor is optional, as an option with a value.
fn progress_option(argument: &OsStr) -> OsString {
    let text = argument.to_str().and_then(|a| a.strip_prefix("-C"));
    match text {
        Some("") => "--progress-fd=0".into(),
        Some(fd) if fd.bytes().all(|b| b.is_ascii_digit()) => format!("--progress-fd={fd}").into(),
        _ => argument.to_owned(),
    }
}

fn check_as_told(args: &Args) -> Result<Verdict, Failure> {
    let secret = secret_of(&args.volume)?;
    let options = CheckOptions::default();
    let report = match args.progress_fd {
        Some(fd) if fd > 0 => {
            let steps = Steps::to(fd, &args.volume)?;
            check(&args.volume, secret, options, &|p| steps.show(p))?
        }
        progress => {
            let show = progress.map_or(Show::Never, |_| Show::Auto);
            let meter = Meter::new(show);
            check(&args.volume, secret, options, &|p| meter.show(p))?
        }
    };
    if args.verbose || !report.is_clean() {
        output::lines(&text::report(&args.volume, &report))?;
    }
    Ok(verdict_of(&report))
}

/// Progress as the helpers of fsck(8) give it: `PASS DONE TOTAL DEVICE` on lines of a descriptor.
struct Steps {
    file: Mutex<(File, (u8, u64))>,
    volume: String,
}

impl Steps {
    fn to(fd: i32, volume: &Path) -> Result<Self, Failure> {
        let fd = inherited_descriptor(fd).map_err(|e| {
            let cause = format!("progress cannot be written to descriptor {fd}: {e}");
            Failure::usage(cause, "let the caller open it")
        })?;
        Ok(Self {
            file: Mutex::new((File::from(fd), (0, 0))),
            volume: output::printable(&volume.display().to_string()),
        })
    }

    fn show(&self, p: Progress) -> bool {
        let pass = match p.phase {
            Phase::Records => 1,
            Phase::Data => 2,
            Phase::Names => 3,
        };
        let share = u64::try_from(u128::from(p.done) * 100 / u128::from(p.total.max(1)));
        let step = (pass, share.unwrap_or(100).min(100));
        let (file, last) = &mut *self.file.lock();
        if *last < step {
            *last = step;
            // If nobody reads it, nobody misses it.
            let _ = writeln!(file, "{} {} 100 {}", step.0, step.1, self.volume);
        }
        true
    }
}

/// Returns the source of the secret that fstab names for a volume.
fn secret_of(volume: &Path) -> Result<Option<SecretSource>, Failure> {
    match std::fs::read(FSTAB) {
        Ok(text) => secret_in(&text, volume),
        // Then it is asked for.
        Err(_) => Ok(None),
    }
}

fn secret_in(fstab: &[u8], volume: &Path) -> Result<Option<SecretSource>, Failure> {
    let lines = fstab.split(|b| *b == b'\n');
    let fields = lines.map(|line| {
        let words = line
            .split(u8::is_ascii_whitespace)
            .filter(|w| !w.is_empty());
        words.map(unescaped).collect::<Vec<_>>()
    });
    for fields in fields {
        let [device, _, kind, options, ..] = &fields[..] else {
            continue;
        };
        if device.as_slice() != volume.as_os_str().as_bytes() || kind != b"coffer" {
            continue;
        }
        let mut options = options.split(|b| *b == b',');
        let source = options.find_map(|o| o.strip_prefix(b"secret="));
        return source
            .map(|s| SecretSource::parse(OsStr::from_bytes(s)))
            .transpose();
    }
    Ok(None)
}

/// Returns a word of fstab(5) with its octal escapes resolved.
fn unescaped(word: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(word.len());
    let mut rest = word;
    while let [first, behind @ ..] = rest {
        let octal = behind.get(..3).and_then(|d| str::from_utf8(d).ok());
        let escaped = octal.and_then(|d| u8::from_str_radix(d, 8).ok());
        match escaped.filter(|_| *first == b'\\') {
            Some(byte) => {
                out.push(byte);
                rest = behind.get(3..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = behind;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Args, clap::Error> {
        let words = text.split(' ').map(|a| progress_option(OsStr::new(a)));
        Args::try_parse_from(words)
    }

    #[test]
    fn the_arguments_of_fsck_8_are_understood() {
        for options in [
            "-a",
            "-p",
            "-y",
            "-n",
            "-f",
            "-a -f -C0",
            "-y -C5",
            "-C",
            "-V",
            "-t coffer",
        ] {
            let args = parsed(&format!("fsck.coffer {options} /v"));
            assert_eq!(args.expect(options).volume, Path::new("/v"));
        }
        assert_eq!(
            parsed("fsck.coffer -C7 /v").expect("valid").progress_fd,
            Some(7)
        );
        assert_eq!(
            parsed("fsck.coffer -C /v").expect("valid").progress_fd,
            Some(0)
        );
        assert!(parsed("fsck.coffer").is_err());
        assert!(parsed("fsck.coffer -Q /v").is_err());
    }

    #[test]
    fn the_secret_comes_from_the_line_of_the_volume() {
        let fstab = b"# comment\n/dev/sda1 / ext4 defaults 0 1\n/v /mnt ext4 secret=prompt 0 0\n\
            /a\\040b /m coffer ro,secret=file:/k,nofail 0 2\n/v /m coffer nofail 0 2\n";
        let of = |volume: &str| secret_in(fstab, Path::new(volume));
        assert_eq!(of("/a b"), Ok(Some(SecretSource::File("/k".into()))));
        assert_eq!(of("/v"), Ok(None));
        assert_eq!(of("/elsewhere"), Ok(None));
        let wrong = secret_in(b"/v /m coffer secret=hunter2 0 2", Path::new("/v"));
        assert!(wrong.is_err_and(|e| !e.cause.contains("hunter2")));
    }
}
