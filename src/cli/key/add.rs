//! `coffer key add`: one more key.

use std::path::PathBuf;

use crate::volume::SlotChange;

use super::super::exit::Failure;
use super::super::output;
use super::super::secret::{NewSecretOption, SecretOption};
use super::{RoleName, describe, own_secret, volume_dir};

/// Let one more secret open a volume.
///
/// Random bytes (32 or more) become a key, text becomes a passphrase.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory of the volume, or where it is mounted
    volume: PathBuf,

    #[command(flatten)]
    secret: SecretOption,

    #[command(flatten)]
    new: NewSecretOption,

    /// What the new secret allows
    #[arg(long, value_enum, default_value = "rw")]
    role: RoleName,

    /// Whose it is, or what for; anyone can read it
    #[arg(long, default_value = "", hide_default_value = true)]
    label: String,
}

/// Adds the key.
///
/// # Errors
/// When the secret is not an administrator's, or the new one cannot be used.
pub fn run(args: &Args) -> Result<(), Failure> {
    let source = args.secret.source()?.unwrap_or_default();
    let new_source = args.new.source(&source)?;
    let dir = volume_dir(&args.volume)?;
    let secret = own_secret(&source, &dir)?;
    let (form, new_secret) = args.new.read(&new_source, &dir)?;
    let change = SlotChange::Add {
        role: args.role.into(),
        label: args.label.clone(),
        form,
    };
    let slot = crate::volume::change_slots(&args.volume, &change, &secret, Some(&new_secret))?;
    output::lines(&format!("Added {}", describe(&slot)))
}
