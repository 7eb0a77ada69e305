//! `mount.coffer`: what mount(8) and systemd run for the file system type `coffer`.
//!
//! `mount.coffer VOLUME DIR [-sfnv] [-t TYPE] [-o OPTIONS]`, with the exit codes of
//! mount(8).

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::volume::MountRequest;

use super::exit::{Exit, Failure};
use super::mount::{Options, mount};
use super::output::notice;
use super::secret::refuse_in_arguments;

/// Mount an encrypted volume; the helper of mount(8).
///
/// In fstab: `VOLUME DIR coffer secret=file:/etc/coffer/KEY,nofail 0 0`
#[derive(Debug, Parser)]
#[command(name = "mount.coffer", version, max_term_width = 100)]
#[command(
    after_help = "Exit codes are those of mount(8): 0 mounted, 1 wrong usage or permissions, \
                        2 system error, 16 state cannot be written, 32 the mount failed"
)]
struct Args {
    /// Directory of the volume
    volume: PathBuf,

    /// Empty directory where its files appear
    dir: PathBuf,

    /// Options separated by commas: secret=SOURCE and those of `coffer mount -o`
    #[arg(short = 'o', value_name = "OPTION,...")]
    options: Vec<String>,

    /// Ignore options that are not known
    #[arg(short = 's')]
    sloppy: bool,

    /// Check the options and do nothing else
    #[arg(short = 'f')]
    fake: bool,

    /// Accepted and without effect: coffer never writes the mount table
    #[arg(short = 'n')]
    no_mtab: bool,

    /// Say what was done
    #[arg(short = 'v')]
    verbose: bool,

    /// Accepted and without effect: there is one type
    #[arg(short = 't', value_name = "TYPE")]
    kind: Option<String>,
}

/// Returns the description of the helper, for its manual page.
pub fn command() -> clap::Command {
    Args::command()
}

/// Mounts what the arguments say and returns the exit code of mount(8).
pub fn run(args: &[OsString]) -> ExitCode {
    if let Err(failure) = refuse_in_arguments(args) {
        return report(&failure);
    }
    let parsed = match Args::try_parse_from(args) {
        Ok(parsed) => parsed,
        Err(e) => {
            // If the terminal is gone there is nobody to tell.
            let _ = e.print();
            return ExitCode::from(u8::from(e.use_stderr()));
        }
    };
    match mount_as_told(&parsed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

fn report(failure: &Failure) -> ExitCode {
    notice(&format!("mount.coffer: {failure}"));
    ExitCode::from(code_of_mount(failure.exit))
}

/// Returns the code of mount(8) that tells most of what happened.
const fn code_of_mount(exit: Exit) -> u8 {
    match exit {
        Exit::Usage | Exit::Policy => 1,
        Exit::Failure => 2,
        Exit::NoSpace => 16,
        Exit::WrongSecret | Exit::NotAVolume | Exit::InUse | Exit::Integrity => 32,
    }
}

fn mount_as_told(args: &Args) -> Result<(), Failure> {
    let mut options = Options::default();
    for option in args.options.iter().flat_map(|list| list.split(',')) {
        if option == "remount" {
            return Err(Failure::usage(
                "a mounted volume cannot be mounted again with other options",
                "unmount it first: umount DIR",
            ));
        }
        let known = options.add(option);
        // A secret in the open and a wrong source stay errors: they are not for another system.
        if !(args.sloppy && known.is_err() && is_foreign(option)) {
            known?;
        }
    }
    if args.fake {
        return Ok(());
    }
    let request = MountRequest {
        volume: args.volume.clone(),
        dir: args.dir.clone(),
        options: options.mount,
        foreground: false,
    };
    mount(&request, options.secret)?;
    if args.verbose {
        let (volume, dir) = (args.volume.display(), args.dir.display());
        notice(&format!("mount.coffer: {volume} mounted on {dir}"));
    }
    Ok(())
}

fn is_foreign(option: &str) -> bool {
    !option.starts_with("secret=") && super::secret::refuse_in_options([option].into_iter()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(text.split(' '))
    }

    #[test]
    fn the_arguments_of_mount_8_are_understood() {
        let a =
            args("mount.coffer /v /d -f -n -v -o rw,_netdev,nofail,secret=file:/k").expect("valid");
        assert!(a.fake && a.no_mtab && a.verbose && !a.sloppy);
        assert_eq!(mount_as_told(&a), Ok(()));
        assert!(args("mount.coffer /v").is_err());
    }

    #[test]
    fn unknown_options_are_ignored_only_when_sloppy() {
        let strict = args("mount.coffer /v /d -f -o strange=1").expect("valid");
        assert!(mount_as_told(&strict).is_err_and(|e| e.exit == Exit::Usage));
        let sloppy = args("mount.coffer /v /d -f -s -o strange=1").expect("valid");
        assert_eq!(mount_as_told(&sloppy), Ok(()));
        for secret in ["passphrase=x", "secret=x"] {
            let text = format!("mount.coffer /v /d -f -s -o {secret}");
            let refused = mount_as_told(&args(&text).expect("valid"));
            assert!(
                refused.is_err_and(|e| e.cause.contains("C-SECRETFORM")),
                "{secret}"
            );
        }
    }

    #[test]
    fn remount_is_refused_with_the_way_out() {
        let a = args("mount.coffer /v /d -f -o remount,ro").expect("valid");
        assert!(mount_as_told(&a).is_err_and(|e| e.next.contains("umount")));
    }
}
