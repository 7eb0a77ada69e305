//! A secret for a slot that is made or changed: `--new-secret SOURCE`, and what becomes of it.

use std::ffi::OsString;
use std::path::Path;

use crate::volume::{Argon2Cost, SecretBytes, SecretForm, SlotKind};

use super::super::exit::Failure;
use super::super::output;
use super::{Purpose, SecretSource};

/// The options of every command that makes or changes a slot.
#[derive(Debug, Clone, clap::Args)]
pub struct NewSecretOption {
    /// Where the new secret comes from: prompt, stdin, fd:N, file:PATH, cmd:ARGV or cred:NAME, as
    /// with --secret
    #[arg(long, value_name = "SOURCE")]
    new_secret: Option<OsString>,

    /// Where to find the new secret, such as the path in a key service: anyone can read it, so never
    /// the secret; programs of `cmd:` are given it
    #[arg(long, default_value = "", hide_default_value = true)]
    hint: String,

    /// Work for each guess at a passphrase: default (256 MiB), strong (2 GiB), min (64 MiB) or
    /// m=KIB,t=PASSES,p=LANES of Argon2id
    #[arg(long, value_name = "COST", value_parser = parse_kdf, default_value = "default")]
    kdf: Argon2Cost,
}

impl NewSecretOption {
    /// Returns the source of the new secret.
    ///
    /// # Errors
    /// When what was named is none, or the administrator's secret takes all that it gives.
    pub fn source(&self, own: &SecretSource) -> Result<SecretSource, Failure> {
        let source = self.new_secret.as_deref().map(SecretSource::parse);
        let source = source.transpose()?.unwrap_or_default();
        if source == *own && matches!(source, SecretSource::Stdin | SecretSource::Fd(_)) {
            return Err(Failure::usage(
                "`--secret` and `--new-secret` cannot both be read to the end of one stream",
                "give one of them otherwise, such as `--new-secret fd:3` with `3< FILE`",
            ));
        }
        Ok(source)
    }

    /// Reads the new secret.
    ///
    /// # Errors
    /// As [`SecretSource::read`].
    pub fn read(
        &self,
        source: &SecretSource,
        volume_dir: &Path,
    ) -> Result<(SecretForm, SecretBytes), Failure> {
        let secret = source.read(volume_dir, Purpose::Create { hint: &self.hint })?;
        let kind = slot_kind(source, &secret);
        if kind == SlotKind::Passphrase {
            warn_if_quick(self.kdf);
        }
        let form = SecretForm {
            kind,
            hint: self.hint.clone(),
            cost: self.kdf,
        };
        Ok((form, secret))
    }
}

/// Warns of a cost that is less than what is recommended.
pub fn warn_if_quick(cost: Argon2Cost) {
    if cost.is_below_floor() {
        output::warn(&format!(
            "{cost} is less work than RFC 9106 asks for ({}): a stolen volume is easier to guess open",
            Argon2Cost::FLOOR
        ));
    }
}

/// Returns the kind of slot a secret gets: random bytes are a key, and need no work for guesses;
/// text that a person may have chosen is a passphrase, wherever it comes from.
pub fn slot_kind(source: &SecretSource, secret: &SecretBytes) -> SlotKind {
    if secret.is_text() || !secret.suits_key_slots() {
        return SlotKind::Passphrase;
    }
    match source {
        SecretSource::Command(_) => SlotKind::Command,
        SecretSource::Credential(_) => SlotKind::Credential,
        _ => SlotKind::KeyFile,
    }
}

/// Returns the work that a text names.
///
/// # Errors
/// When it names none, or one that Argon2id is not defined for.
pub fn parse_kdf(text: &str) -> Result<Argon2Cost, String> {
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

    #[test]
    fn one_stream_gives_one_secret() {
        let new = |source: &str| NewSecretOption {
            new_secret: Some(source.into()),
            hint: String::new(),
            kdf: Argon2Cost::DEFAULT,
        };
        let stdin = SecretSource::Stdin;
        let refused = new("stdin").source(&stdin).expect_err("refused");
        assert!(refused.cause.contains("one stream"), "{refused}");
        assert_eq!(new("fd:3").source(&stdin), Ok(SecretSource::Fd(3)));
        let prompt = SecretSource::Prompt;
        assert_eq!(new("prompt").source(&prompt), Ok(SecretSource::Prompt));
    }
}
