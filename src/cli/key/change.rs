//! `coffer key change`: another secret for a slot.

use std::path::PathBuf;

use crate::volume::SlotChange;

use super::super::exit::Failure;
use super::super::output;
use super::super::secret::{NewSecretOption, SecretOption};
use super::{describe, own_secret, volume_dir};

/// Give a key slot another secret: without --slot the one that the given secret opens.
///
/// The slot keeps its number, role and label. Its old secret no longer opens the volume.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory of the volume, or where it is mounted
    volume: PathBuf,

    /// Number of the slot, as `coffer key list` shows it
    #[arg(long)]
    slot: Option<u16>,

    #[command(flatten)]
    secret: SecretOption,

    #[command(flatten)]
    new: NewSecretOption,
}

/// Changes the secret.
///
/// # Errors
/// When the secret is not an administrator's, or the new one cannot be used.
pub fn run(args: &Args) -> Result<(), Failure> {
    let source = args.secret.source()?.unwrap_or_default();
    let new_source = args.new.source(&source)?;
    let dir = volume_dir(&args.volume)?;
    let secret = own_secret(&source, &dir)?;
    let (form, new_secret) = args.new.read(&new_source, &dir)?;
    let change = SlotChange::Replace {
        slot: args.slot,
        form,
    };
    let slot = crate::volume::change_slots(&args.volume, &change, &secret, Some(&new_secret))?;
    output::lines(&format!("Changed {}", describe(&slot)))
}
