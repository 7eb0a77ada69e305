//! The command line: parse, call the volume layer, print, end with the right code.
//!
//! One file per command, with its arguments and what it does. Results go to standard output,
//! everything else to standard error. The binary is also `mount.coffer` and `fsck.coffer`, the helpers
//! of mount(8) and fsck(8), when it is called by one of those names, and the processes of a mount when `volume` starts it as one.

mod completions;
mod confirm;
mod doctor;
mod exit;
mod fsck;
mod fstab;
mod info;
mod init;
mod key;
mod list;
mod man;
mod mount;
mod output;
mod progress;
mod resize;
mod secret;
mod size;
mod sync;
mod umount;

#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::base::hardening;
use crate::volume;

use exit::{Exit, Failure};
use output::notice;

/// What `coffer help` and the manual say below the options.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed for another reason than those below
  2  the command line is wrong
  3  wrong secret: no key slot of the volume accepts it
  4  not a volume, or one of a format this version does not know
  5  in use: the volume is open or mounted elsewhere, or the mount is busy
  6  integrity: the volume is damaged or was tampered with
  7  refused by a rule of this host or this volume
  8  no space: the disk or the size limit of the volume is full";

/// Encrypted, persistent volumes for containers and hosts.
#[derive(Debug, Parser)]
#[command(name = "coffer", version, after_help = EXIT_CODES, max_term_width = 100)]
#[command(arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Args),
    Mount(mount::Args),
    Umount(umount::Args),
    List(list::Args),
    Info(info::Args),
    Key(key::Args),
    Sync(sync::Args),
    Resize(resize::Args),
    Fsck(fsck::Args),
    Doctor(doctor::Args),
    Completions(completions::Args),
    Man(man::Args),
}

impl Command {
    fn run(&self) -> Result<ExitCode, Failure> {
        let done = |()| ExitCode::SUCCESS;
        match self {
            Self::Init(args) => init::run(args).map(done),
            Self::Mount(args) => mount::run(args).map(done),
            Self::Umount(args) => umount::run(args).map(done),
            Self::List(args) => list::run(args).map(done),
            Self::Info(args) => info::run(args).map(done),
            Self::Key(args) => key::run(args).map(done),
            Self::Sync(args) => sync::run(args).map(done),
            Self::Resize(args) => resize::run(args).map(done),
            Self::Fsck(args) => Ok(fsck::run(args)),
            Self::Doctor(args) => doctor::run(args),
            Self::Completions(args) => completions::run(args).map(done),
            Self::Man(args) => man::run(args).map(done),
        }
    }
}

/// Runs what the arguments of the process ask for and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    // Secrets and keys pass through this process, whatever it is started as.
    if let Err(e) = hardening::hide_memory() {
        notice(&format!(
            "error: the memory of this process cannot be hidden: {e}"
        ));
        return Exit::Failure.into();
    }
    let args: Vec<OsString> = std::env::args_os().collect();
    let program = args
        .first()
        .map_or(OsStr::new("coffer"), OsString::as_os_str);
    let program = Path::new(program).file_name().and_then(OsStr::to_str);
    if matches!(program, Some("mount.coffer" | "mount.fuse.coffer")) {
        return fstab::run(&args);
    }
    if program == Some("fsck.coffer") {
        return fsck::fsck8::run(&args);
    }
    let done = |()| ExitCode::SUCCESS;
    let result = match args.get(1).and_then(|a| a.to_str()) {
        Some(volume::PARENT) => volume::parent_main().map(done).map_err(Failure::from),
        Some(volume::WORKER) => volume::worker_main().map(done).map_err(Failure::from),
        _ => run(&args),
    };
    result.unwrap_or_else(|failure| {
        notice(&failure.to_string());
        failure.exit.into()
    })
}

fn run(args: &[OsString]) -> Result<ExitCode, Failure> {
    secret::refuse_in_arguments(args)?;
    match Cli::try_parse_from(args) {
        Ok(cli) => cli.command.run(),
        Err(e) => {
            // Help goes to standard output and is no error; if printing fails there is nobody to tell.
            let _ = e.print();
            let code = u8::try_from(e.exit_code()).unwrap_or(2);
            Ok(match args.get(1).is_some_and(|a| a == "fsck") && code > 0 {
                true => fsck::Verdict::Usage.into(),
                false => ExitCode::from(code),
            })
        }
    }
}
