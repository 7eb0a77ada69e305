//! `coffer init`: creates an encrypted volume.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::volume::{Argon2Cost, Compression, InitOptions, SecretBytes, SlotKind};

use super::exit::Failure;
use super::secret::{Purpose, SecretOption, SecretSource};
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
    if args.kdf.is_below_floor() {
        output::warn(&format!(
            "{} is less work than RFC 9106 asks for ({}): a stolen volume is easier to guess open",
            args.kdf,
            Argon2Cost::FLOOR
        ));
    }
    let secret = source.read(&args.volume, Purpose::Create)?;
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

/// Returns the kind of slot a secret gets: random bytes are a key, and need no work for guesses;
/// text that a person may have chosen is a passphrase, wherever it comes from.
fn slot_kind(source: &SecretSource, secret: &SecretBytes) -> SlotKind {
    if secret.is_text() || !secret.suits_key_slots() {
        return SlotKind::Passphrase;
    }
    match source {
        SecretSource::Command(_) => SlotKind::Command,
        SecretSource::Credential(_) => SlotKind::Credential,
        _ => SlotKind::KeyFile,
    }
}

fn parse_kdf(text: &str) -> Result<Argon2Cost, String> {
    match text {
        "default" => return Ok(Argon2Cost::DEFAULT),
        "strong" => return Ok(Argon2Cost::STRONG),
        "min" => return Ok(Argon2Cost::FLOOR),
        _ => {}
    }
    let fields: Option<Vec<(&str, u32)>> = text
        .split(',')
        .map(|field| {
            let (name, number) = field.split_once('=')?;
            Some((name, number.parse().ok()?))
        })
        .collect();
    match fields.as_deref() {
        Some([("m", m_kib), ("t", t), ("p", p)]) => {
            let cost = Argon2Cost::new(*m_kib, *t, *p);
            if !cost.is_defined() {
                Err("Argon2id needs t and p of 1 or more, and m of 8 times p or more".to_owned())
            } else if !cost.is_within_cap() {
                Err(format!("no part may be more than {}", Argon2Cost::CAP))
            } else {
                Ok(cost)
            }
        }
        _ => Err("give default, strong, min or such as m=262144,t=3,p=4 (m in KiB)".to_owned()),
    }
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
    fn kdf_names_and_numbers() {
        assert_eq!(parse_kdf("default"), Ok(Argon2Cost::DEFAULT));
        assert_eq!(parse_kdf("strong"), Ok(Argon2Cost::STRONG));
        assert_eq!(parse_kdf("min"), Ok(Argon2Cost::FLOOR));
        assert_eq!(parse_kdf("m=1024,t=2,p=1"), Ok(Argon2Cost::new(1024, 2, 1)));
    }

    #[test]
    fn an_impossible_kdf_is_refused_with_the_reason() {
        for (text, part) in [
            ("", "such as m=262144,t=3,p=4"),
            ("m=1024", "such as"),
            ("t=1,m=1024,p=1", "such as"),
            ("m=1024,t=1,p=1,x=1", "such as"),
            ("m=64M,t=1,p=1", "such as"),
            ("m=7,t=1,p=1", "8 times p"),
            ("m=1024,t=0,p=1", "t and p of 1"),
            ("m=8388608,t=1,p=1", "more than"),
            ("m=1024,t=33,p=1", "more than"),
        ] {
            let got = parse_kdf(text);
            assert!(
                got.as_ref().is_err_and(|e| e.contains(part)),
                "{text}: {got:?}"
            );
        }
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(parse_mode("755"), Ok(0o755));
        assert_eq!(parse_mode("1777"), Ok(0o1777));
        for text in ["", "8", "rwx", "17777", "-1"] {
            assert!(parse_mode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn random_bytes_are_keys_and_text_is_a_passphrase() {
        let secret = |b: &[u8]| SecretBytes::copy_of(b).expect("locked memory");
        let key = secret(&[0xfe; 32]);
        let text = secret(b"correct horse battery staple, and a long one at that\n");
        let file = SecretSource::File("k".into());
        let command = SecretSource::Command(Vec::new());
        let credential = SecretSource::Credential("c".into());
        assert_eq!(slot_kind(&file, &key), SlotKind::KeyFile);
        assert_eq!(slot_kind(&SecretSource::Stdin, &key), SlotKind::KeyFile);
        assert_eq!(slot_kind(&command, &key), SlotKind::Command);
        assert_eq!(slot_kind(&credential, &key), SlotKind::Credential);
        assert_eq!(slot_kind(&file, &text), SlotKind::Passphrase);
        assert_eq!(slot_kind(&file, &secret(&[0xfe; 31])), SlotKind::Passphrase);
    }
}
