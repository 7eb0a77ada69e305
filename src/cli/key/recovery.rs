//! `coffer key recovery`: a code for paper.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::PathBuf;

use crate::volume::{Argon2Cost, SecretForm, SlotChange, SlotKind};

use super::super::exit::{Exit, Failure};
use super::super::output;
use super::super::secret::SecretOption;
use super::{RoleName, describe, own_secret, volume_dir};

/// Print a new recovery code, which opens the volume when every other secret is lost.
///
/// The code is 36 characters with a checksum, and is shown only now: write it down or print it, and
/// keep it where a thief of the volume does not find it. It is typed wherever the passphrase is asked
/// for; small letters, blanks and dashes do not matter.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory of the volume, or where it is mounted
    volume: PathBuf,

    #[command(flatten)]
    secret: SecretOption,

    /// What the code allows
    #[arg(long, value_enum, default_value = "admin")]
    role: RoleName,

    /// Where it is kept, or what for; anyone can read it
    #[arg(long, default_value = "recovery code")]
    label: String,
}

/// Adds a slot for a new code and prints the code.
///
/// # Errors
/// When the secret is not an administrator's, or the code cannot be printed.
pub fn run(args: &Args) -> Result<(), Failure> {
    let source = args.secret.source()?.unwrap_or_default();
    let secret = own_secret(&source, &volume_dir(&args.volume)?)?;
    let code = crate::volume::recovery_code()?;
    let change = SlotChange::Add {
        role: args.role.into(),
        label: args.label.clone(),
        form: SecretForm {
            kind: SlotKind::Recovery,
            hint: String::new(),
            cost: Argon2Cost::DEFAULT,
        },
    };
    let slot = crate::volume::change_slots(&args.volume, &change, &secret, Some(&code))?;
    // Not through the buffer of `Stdout`, which is ordinary memory that nobody wipes.
    let print = || {
        let mut out = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
        code.write_to(&mut out)?;
        out.write_all(b"\n")
    };
    print().map_err(|e| {
        let id = slot.id;
        let cause = format!("the code of slot {id} cannot be printed: {e}");
        let next = format!("remove the slot, which nobody can use: coffer key remove VOLUME {id}");
        Failure::new(Exit::Failure, cause, next)
    })?;
    output::notice(&format!(
        "Added {}: write the code down, it is not shown again",
        describe(&slot)
    ));
    Ok(())
}
