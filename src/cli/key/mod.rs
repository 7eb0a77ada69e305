//! `coffer key`: who can open a volume.

mod add;
mod change;
mod list;
mod recovery;
mod remove;

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};

use crate::volume::{self, Role, SecretBytes, SlotInfo};

pub use list::Slot;

use super::exit::Failure;
use super::output;
use super::secret::{Purpose, SecretSource};

/// List, add, change and remove the keys that open a volume.
///
/// Each key slot takes one secret and has a role: admin may change keys, rw may mount for reading and
/// writing, ro only for reading. All but `list` need the secret of an admin slot, and work on a volume
/// that is mounted too: name the directory of the volume or the mount point.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::Args),
    Add(add::Args),
    Change(change::Args),
    Remove(remove::Args),
    Recovery(recovery::Args),
}

/// Does what is asked for.
///
/// # Errors
/// When the volume, a secret or an option cannot be used.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::List(args) => list::run(args),
        Command::Add(args) => add::run(args),
        Command::Change(args) => change::run(args),
        Command::Remove(args) => remove::run(args),
        Command::Recovery(args) => recovery::run(args),
    }
}

/// The roles, as written on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RoleName {
    /// May change keys
    Admin,
    /// May mount for reading and writing
    Rw,
    /// May mount for reading
    Ro,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Admin => Self::Admin,
            RoleName::Rw => Self::Rw,
            RoleName::Ro => Self::Ro,
        }
    }
}

/// Returns the directory of the volume that a command names, by itself or by its mount point.
fn volume_dir(target: &Path) -> Result<PathBuf, Failure> {
    let mount = volume::info(target)?.mount;
    Ok(mount.map_or_else(|| target.to_path_buf(), |m| m.volume_dir))
}

/// Reads the secret of an administrator.
fn own_secret(source: &SecretSource, volume_dir: &Path) -> Result<SecretBytes, Failure> {
    source.read(volume_dir, Purpose::Unlock)
}

/// Returns a slot in a few words: number, kind, role, label.
fn describe(slot: &SlotInfo) -> String {
    let label = if slot.label.is_empty() {
        String::new()
    } else {
        format!(", {}", output::printable(&slot.label))
    };
    format!("slot {} ({}, {}{label})", slot.id, slot.kind, slot.role)
}
