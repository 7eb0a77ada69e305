//! Where a secret comes from: `--secret SOURCE`.
//!
//! A secret goes from its source straight into locked memory. It never stands in the arguments or
//! the environment of a process, and no message repeats what was given: a mistyped `--secret`
//! might be the secret itself.

mod command;
mod forbidden;
mod new;
mod prompt;
mod request;
#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, stdin};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::base::os::inherited_descriptor;
use crate::volume::{SecretBytes, VolumeError, read_key_file};

use super::exit::{Exit, Failure, chain};

pub use forbidden::{refuse_in_arguments, refuse_in_options};
pub use new::{NewSecretOption, parse_kdf, slot_kind, warn_if_quick};

/// The sources beside the terminal, for messages.
pub const SOURCES: &str = "stdin, fd:N, file:PATH, cmd:ARGV or cred:NAME";

/// What `--help` and the manual say of `--secret`.
const SOURCES_EXPLAINED: &str = "\
Where the secret comes from; one newline at its end is no part of it

prompt      asked for on the terminal: the default
stdin       standard input, to its end
fd:N        the open descriptor N, to its end
file:PATH   a file that only its owner can read
cmd:ARGV    what a program prints, at most 4096 bytes: absolute path, then arguments split at
            blanks; it is given a JSON object: purpose (unlock, create), volume_id and hints of slots
cred:NAME   a credential that systemd passes: LoadCredentialEncrypted=NAME";

/// The option of every command that needs a secret.
#[derive(Debug, Clone, clap::Args)]
pub struct SecretOption {
    /// Where the secret comes from: prompt, stdin, fd:N, file:PATH, cmd:ARGV or cred:NAME
    #[arg(long, value_name = "SOURCE", long_help = SOURCES_EXPLAINED)]
    secret: Option<OsString>,
}

impl SecretOption {
    /// Returns the source that was named, if one was.
    ///
    /// # Errors
    /// When it is none.
    pub fn source(&self) -> Result<Option<SecretSource>, Failure> {
        self.secret.as_deref().map(SecretSource::parse).transpose()
    }
}

/// Where to read a secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SecretSource {
    /// Asked for on the terminal, without echo.
    #[default]
    Prompt,
    /// All of standard input.
    Stdin,
    /// All of an open descriptor that this process inherited.
    Fd(i32),
    /// The content of a file that only its owner can read.
    File(PathBuf),
    /// What a program prints: its absolute path and its arguments, split at blanks, no shell.
    Command(Vec<OsString>),
    /// A credential that systemd passed to the service.
    Credential(String),
}

/// What a secret is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose<'a> {
    /// To open what exists: asked once.
    Unlock,
    /// For a new slot: asked twice.
    Create {
        /// What stands in the slot about where to find it.
        hint: &'a str,
    },
}

impl SecretSource {
    /// Returns the source that `text` names.
    ///
    /// # Errors
    /// When it names none; the message does not repeat the text.
    pub fn parse(text: &OsStr) -> Result<Self, Failure> {
        let bytes = text.as_bytes();
        let (kind, rest) = match bytes.iter().position(|b| *b == b':') {
            Some(at) => {
                let (kind, rest) = bytes.split_at(at);
                (kind, rest.get(1..).unwrap_or_default())
            }
            None => (bytes, &[][..]),
        };
        let path = || PathBuf::from(OsStr::from_bytes(rest));
        match (kind, rest.is_empty()) {
            (b"prompt", true) => Ok(Self::Prompt),
            (b"stdin", true) => Ok(Self::Stdin),
            (b"fd", false) => descriptor_number(rest).map(Self::Fd),
            (b"file", false) => Ok(Self::File(path())),
            (b"cmd", false) => Ok(Self::Command(words(rest))),
            (b"cred", false) => credential_name(rest).map(Self::Credential),
            (b"env", _) => Err(form(
                "a secret in the environment can be read by every process of the same user",
            )),
            _ => Err(form(
                "what `--secret` was given is not a source of a secret",
            )),
        }
    }

    /// Reads the secret of the volume in `volume_dir`.
    ///
    /// # Errors
    /// When the source has none to give, it is empty, or the environment holds one too.
    pub fn read(&self, volume_dir: &Path, purpose: Purpose<'_>) -> Result<SecretBytes, Failure> {
        forbidden::refuse_in_environment(std::env::vars_os().map(|(name, _)| name))?;
        let secret = match self {
            Self::Prompt => prompt::ask(volume_dir, purpose)?,
            Self::Stdin => read_stdin()?,
            Self::Fd(n) => read_descriptor(*n)?,
            Self::File(path) => read_key_file(path, volume_dir).map_err(VolumeError::from)?,
            Self::Command(argv) => command::run(argv, &request::about(volume_dir, purpose))?,
            Self::Credential(name) => read_credential(name)?,
        };
        if purpose == Purpose::Unlock && secret.passphrase_chars() == 0 {
            // No volume has such a secret; the work of trying it would only hide the mistake.
            return Err(Failure::new(
                Exit::WrongSecret,
                "C-NOSLOT: the secret is empty",
                "give the secret of the volume",
            ));
        }
        Ok(secret)
    }
}

fn read_all(source: &mut dyn Read, what: &str) -> Result<SecretBytes, Failure> {
    SecretBytes::read_from(source).map_err(|e| {
        let cause = format!("the secret cannot be read from {what}: {}", chain(&e));
        Failure::new(Exit::Failure, cause, "")
    })
}

/// Reads the descriptor itself: the buffer of `Stdin` is ordinary memory that nobody wipes.
fn read_stdin() -> Result<SecretBytes, Failure> {
    let fd = stdin().as_fd().try_clone_to_owned().map_err(|e| {
        let cause = format!("standard input cannot be read: {e}");
        Failure::new(Exit::Failure, cause, "")
    })?;
    read_all(&mut File::from(fd), "standard input")
}

fn read_descriptor(n: i32) -> Result<SecretBytes, Failure> {
    let what = format!("descriptor {n}");
    let fd = inherited_descriptor(n).map_err(|e| {
        Failure::usage(
            format!("the secret cannot be read from {what}: {e}"),
            format!("let the caller open it, such as `{n}< FILE` in a shell"),
        )
    })?;
    read_all(&mut File::from(fd), &what)
}

fn read_credential(name: &str) -> Result<SecretBytes, Failure> {
    let unit = format!("run coffer from a unit with LoadCredentialEncrypted={name}");
    let Some(directory) = std::env::var_os("CREDENTIALS_DIRECTORY") else {
        return Err(Failure::usage(
            format!("systemd passed no credentials, so there is no `{name}`"),
            unit,
        ));
    };
    let path = Path::new(&directory).join(name);
    let mut file = File::open(&path).map_err(|e| {
        let cause = format!("the credential `{name}` cannot be read: {e}");
        Failure::new(Exit::Failure, cause, unit)
    })?;
    read_all(&mut file, &format!("the credential `{name}`"))
}

fn descriptor_number(text: &[u8]) -> Result<i32, Failure> {
    let number = str::from_utf8(text).ok().and_then(|t| t.parse().ok());
    number.filter(|n| *n > 2).ok_or_else(|| {
        Failure::usage(
            "`fd:` needs the number of an open descriptor, 3 or higher",
            "use `--secret stdin` for standard input, or `--secret fd:3` with `3< FILE`",
        )
    })
}

fn words(text: &[u8]) -> Vec<OsString> {
    text.split(|b| *b == b' ')
        .filter(|w| !w.is_empty())
        .map(|w| OsStr::from_bytes(w).to_owned())
        .collect()
}

fn credential_name(text: &[u8]) -> Result<String, Failure> {
    let name = str::from_utf8(text).ok();
    let name = name.filter(|n| !n.contains('/') && *n != "." && *n != "..");
    name.map(str::to_owned).ok_or_else(|| {
        Failure::usage(
            "`cred:` needs the plain name of a credential",
            "give the name that stands in LoadCredentialEncrypted=NAME",
        )
    })
}

/// Returns the failure of a secret given in a way that exposes it.
fn form(cause: &str) -> Failure {
    Failure::usage(
        format!("C-SECRETFORM: {cause}"),
        format!(
            "leave it out to be asked, or use `--secret` with {SOURCES}; \
             if a secret was given, others may have read it: replace it"
        ),
    )
}
