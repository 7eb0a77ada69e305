//! `coffer sync`: waits until everything written so far is durable.

use std::path::PathBuf;

use super::exit::Failure;

/// Wait until everything written so far to a mounted volume is durable.
///
/// sync(1) does not reach file systems in user space; this does.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the volume is mounted, or the directory of the volume
    dir: PathBuf,
}

/// Waits.
///
/// # Errors
/// When nothing is mounted there, or the disk fails.
pub fn run(args: &Args) -> Result<(), Failure> {
    crate::volume::sync(&args.dir)?;
    Ok(())
}
