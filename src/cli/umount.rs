//! `coffer umount`: writes everything out, unmounts, and waits until the keys are gone.

use std::path::PathBuf;

use crate::volume::UmountMode;

use super::exit::Failure;

/// Write everything out, unmount, and wait until the keys are gone.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the volume is mounted, or the directory of the volume
    dir: PathBuf,

    /// Take a busy mount out of sight now; it ends when its last user has gone
    #[arg(long)]
    lazy: bool,

    /// End a busy mount: what its users do with it from then on fails
    #[arg(long, conflicts_with = "lazy")]
    force: bool,
}

/// Unmounts.
///
/// # Errors
/// When nothing is mounted there, it is busy, or not everything could be written.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mode = match (args.lazy, args.force) {
        (true, _) => UmountMode::Lazy,
        (_, true) => UmountMode::Force,
        _ => UmountMode::Refuse,
    };
    crate::volume::umount(&args.dir, mode)?;
    Ok(())
}
