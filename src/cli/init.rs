//! `coffer init`: creates an encrypted volume.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::volume::{Argon2Cost, Compression, InitOptions};

use super::exit::Failure;
use super::secret::{Purpose, SecretOption, parse_kdf, slot_kind, warn_if_quick};
use super::{output, size};

/// Create an encrypted volume in a new or empty directory.
///
/// Whoever loses the secret loses the data: nothing else opens the volume. A passphrase has 12
/// characters or more. A key file has 32 random bytes or more: `(umask 077; head -c 32 /dev/urandom >
/// KEYFILE)` makes one.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory of the new volume
    volume: PathBuf,

    #[command(flatten)]
    secret: SecretOption,

    /// Most bytes that files may hold together, such as 20G; without it the disk is the limit
    #[arg(long, value_parser = size::parse)]
    size: Option<u64>,

    /// Name of the volume, shown in lists and in the mount table
    #[arg(long, default_value = "", hide_default_value = true)]
    label: String,

    /// How new data is compressed
    #[arg(long, value_enum, default_value = "lz4")]
    compression: CompressionName,

    /// Bytes that are stored and shared as one piece: a power of two from 16K to 1M
    #[arg(long, value_name = "SIZE", value_parser = size::parse, default_value = "128K")]
    chunk_size: u64,

    /// Work for each guess at a passphrase: default (256 MiB), strong (2 GiB), min (64 MiB) or
    /// m=KIB,t=PASSES,p=LANES of Argon2id
    #[arg(long, value_name = "COST", value_parser = parse_kdf, default_value = "default")]
    kdf: Argon2Cost,

    /// Owner of the volume's root directory [default: who runs the command]
    #[arg(long)]
    uid: Option<u32>,

    /// Group of the volume's root directory [default: who runs the command]
    #[arg(long)]
    gid: Option<u32>,

    /// Permissions of the volume's root directory, in octal
    #[arg(long, value_parser = parse_mode, default_value = "755")]
    mode: u32,
}

/// The ways to compress, as written on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum CompressionName {
    None,
    Lz4,
    Zstd,
}

/// Creates the volume.
///
/// # Errors
/// When the secret, the directory or an option cannot be used, or the disk is full.
pub fn run(args: &Args) -> Result<(), Failure> {
    let chunk_bytes = u32::try_from(args.chunk_size).map_err(|_| {
        Failure::usage(
            "the chunk size is more than 1 MiB",
            "give a power of two from 16K to 1M",
        )
    })?;
    let source = args.secret.source()?.unwrap_or_default();
    warn_if_quick(args.kdf);
    let secret = source.read(&args.volume, Purpose::Create { hint: "" })?;
    let defaults = InitOptions::default();
    let options = InitOptions {
        label: args.label.clone(),
        size_bytes: args.size,
        compression: match args.compression {
            CompressionName::None => Compression::None,
            CompressionName::Lz4 => Compression::Lz4,
            CompressionName::Zstd => Compression::Zstd,
        },
        chunk_bytes,
        uid: args.uid.unwrap_or(defaults.uid),
        gid: args.gid.unwrap_or(defaults.gid),
        mode: args.mode,
        cost: args.kdf,
        slot: slot_kind(&source, &secret),
    };
    let id = crate::volume::init(&args.volume, &options, &secret)?;
    let dir = args.volume.display();
    output::lines(&format!("Created volume {id} in {dir}"))?;
    output::notice(&format!("Mount it with: coffer mount {dir} DIR"));
    Ok(())
}

fn parse_mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok();
    mode.filter(|m| *m <= 0o7777)
        .ok_or_else(|| "give permissions in octal, such as 755 or 1777".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal() {
        assert_eq!(parse_mode("755"), Ok(0o755));
        assert_eq!(parse_mode("1777"), Ok(0o1777));
        for text in ["", "8", "rwx", "17777", "-1"] {
            assert!(parse_mode(text).is_err(), "{text}");
        }
    }
}
