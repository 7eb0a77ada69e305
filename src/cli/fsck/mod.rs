//! `coffer fsck`: looks whether a volume is whole, with the exit codes of fsck(8).

mod document;
pub mod fsck8;
mod text;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::volume::{self, CheckOptions, CheckReport, Locked, Volume, Watch};

use super::exit::{Exit, Failure};
use super::output;
use super::progress::{Meter, Show};
use super::secret::{Purpose, SecretOption, SecretSource};

/// What `coffer help fsck` and the manual say below the options.
const EXIT_CODES: &str = "\
Exit codes, as of fsck(8):
  0   clean
  4   damage was found
  8   the volume could not be looked at: wrong secret, in use, unreadable
  16  the command line is wrong";

/// Check whether a volume is whole.
///
/// Looks at every record: names, inodes, links, contents, blocks and their references, packs, set
/// digests, both copies of the header. Says which files and bytes are touched. Changes nothing. A
/// mounted volume is checked as its last commit has left it, and needs no secret.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Args {
    /// Directory of the volume, or where it is mounted
    volume: PathBuf,

    #[command(flatten)]
    secret: SecretOption,

    /// Read, open and compare the contents of every file too
    #[arg(long)]
    read_data: bool,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    /// How to show progress
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    progress: Show,
}

/// How a check ends: the codes of fsck(8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    /// Nothing is wrong.
    Clean = 0,
    /// Something is wrong.
    Damaged = 4,
    /// It could not be looked at.
    Failed = 8,
    /// The command line is wrong.
    Usage = 16,
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        // The enum is `repr(u8)`: every variant is its own exit code.
        Self::from(verdict as u8)
    }
}

impl From<&Failure> for Verdict {
    fn from(failure: &Failure) -> Self {
        match failure.exit {
            Exit::Usage => Self::Usage,
            _ => Self::Failed,
        }
    }
}

/// Checks the volume and prints what was found.
pub fn run(args: &Args) -> ExitCode {
    let verdict = args.secret.source().and_then(|secret| {
        let options = CheckOptions {
            read_data: args.read_data,
        };
        let meter = Meter::new(args.progress);
        let report = check(&args.volume, secret, options, &|p| meter.show(p))?;
        drop(meter);
        match args.json {
            true => document::print(&args.volume, &report)?,
            false => output::lines(&text::report(&args.volume, &report))?,
        }
        Ok(verdict_of(&report))
    });
    ended(verdict)
}

/// Tells of a failure, and returns the exit code.
fn ended(verdict: Result<Verdict, Failure>) -> ExitCode {
    let verdict = verdict.unwrap_or_else(|failure| {
        output::notice(&failure.to_string());
        Verdict::from(&failure)
    });
    verdict.into()
}

fn verdict_of(report: &CheckReport) -> Verdict {
    match report.is_clean() {
        true => Verdict::Clean,
        false => Verdict::Damaged,
    }
}

/// Checks a volume, mounted or not; asks for its secret if it needs one.
fn check(
    target: &Path,
    secret: Option<SecretSource>,
    options: CheckOptions,
    watch: &Watch<'_>,
) -> Result<CheckReport, Failure> {
    if volume::info(target)?.mount.is_some() {
        return Ok(volume::check_mounted(target, options, watch)?);
    }
    let volume = Volume::<Locked>::open(target)?;
    let secret = secret.unwrap_or_default().read(target, Purpose::Unlock)?;
    Ok(volume.check(&secret, options, watch)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_the_codes_of_fsck_8() {
        for exit in [
            Exit::WrongSecret,
            Exit::InUse,
            Exit::Integrity,
            Exit::NotAVolume,
        ] {
            let failure = Failure::new(exit, "it failed", "");
            assert_eq!(Verdict::from(&failure), Verdict::Failed);
        }
        assert_eq!(Verdict::from(&Failure::usage("no", "")), Verdict::Usage);
        for verdict in [
            Verdict::Clean,
            Verdict::Damaged,
            Verdict::Failed,
            Verdict::Usage,
        ] {
            assert!(EXIT_CODES.contains(&format!("\n  {} ", verdict as u8)));
        }
    }
}
