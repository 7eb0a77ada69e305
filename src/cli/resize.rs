//! `coffer resize`: changes how much a volume may hold.

use std::path::PathBuf;

use crate::volume::{Access, Locked, Volume};

use super::exit::Failure;
use super::secret::{Purpose, SecretOption};
use super::{output, size};

/// Change how many bytes the files of a volume may hold together.
///
/// A mounted volume needs no secret.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory of the volume, or where it is mounted
    volume: PathBuf,

    /// The new size, such as 20G, or none for no limit but the disk
    #[arg(long, value_parser = parse_limit)]
    size: Limit,

    #[command(flatten)]
    secret: SecretOption,
}

/// What a volume may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit(Option<u64>);

fn parse_limit(text: &str) -> Result<Limit, String> {
    if text == "none" {
        return Ok(Limit(None));
    }
    size::parse(text).map(|bytes| Limit(Some(bytes)))
}

/// Changes the size.
///
/// # Errors
/// When the files hold more already, or the volume cannot be opened for writing.
pub fn run(args: &Args) -> Result<(), Failure> {
    let Limit(bytes) = args.size;
    if crate::volume::info(&args.volume)?.mount.is_some() {
        crate::volume::resize(&args.volume, bytes)?;
    } else {
        let source = args.secret.source()?.unwrap_or_default();
        let volume = Volume::<Locked>::open(&args.volume)?;
        let secret = source.read(&args.volume, Purpose::Unlock)?;
        let mut volume = volume.unlock(&secret, Access::ReadWrite)?;
        volume.resize(bytes)?;
        volume.close()?;
    }
    let dir = args.volume.display();
    let limit = bytes.map_or_else(|| "what the disk holds".to_owned(), size::show);
    output::lines(&format!("{dir} may now hold {limit}"))
}
