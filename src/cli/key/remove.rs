//! `coffer key remove`: one key less.

use std::path::PathBuf;

use crate::volume::SlotChange;

use super::super::confirm::Consent;
use super::super::exit::Failure;
use super::super::output;
use super::super::secret::SecretOption;
use super::{describe, own_secret, volume_dir};

/// Remove a key slot: its secret no longer opens the volume.
///
/// Whoever has opened the volume with it may have kept its keys, or a copy of the old header: this
/// keeps out who has only the secret.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory of the volume, or where it is mounted
    volume: PathBuf,

    /// Number of the slot, as `coffer key list` shows it
    slot: u16,

    #[command(flatten)]
    secret: SecretOption,

    #[command(flatten)]
    consent: Consent,
}

/// Removes the key.
///
/// # Errors
/// When the secret is not an administrator's, there is no such slot, or it is the last admin slot.
pub fn run(args: &Args) -> Result<(), Failure> {
    let source = args.secret.source()?.unwrap_or_default();
    let slots = crate::volume::info(&args.volume)?.header.slots;
    if let Some(slot) = slots.iter().find(|s| s.id == args.slot) {
        if !args.consent.to(&format!("remove {}", describe(slot)))? {
            return Ok(());
        }
    }
    let secret = own_secret(&source, &volume_dir(&args.volume)?)?;
    let change = SlotChange::Remove { slot: args.slot };
    let slot = crate::volume::change_slots(&args.volume, &change, &secret, None)?;
    output::lines(&format!("Removed {}", describe(&slot)))
}
