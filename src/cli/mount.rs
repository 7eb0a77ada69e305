//! `coffer mount`: makes the files of a volume appear in a directory.

use std::ffi::OsStr;
use std::path::PathBuf;

use crate::volume::{MountOptions, MountRequest};

use super::exit::Failure;
use super::output;
use super::secret::{Purpose, SecretOption, SecretSource, refuse_in_options};

/// Mount a volume on an empty directory.
///
/// Returns when the mount answers and leaves it to a process in the background. Also as `mount -t
/// coffer VOLUME DIR` and in fstab, where the secret is an option: `-o secret=file:PATH`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory of the volume
    volume: PathBuf,

    /// Empty directory where its files appear
    dir: PathBuf,

    #[command(flatten)]
    secret: SecretOption,

    /// Options of mount(8), separated by commas
    ///
    /// ro, noexec, suid, dev, noatime, sync, dirsync, allow_other, noallow_other, context=CONTEXT.
    /// nosuid, nodev and, for root, allow_other are on by default.
    #[arg(short = 'o', value_name = "OPTION,...")]
    options: Vec<String>,

    /// Stay in the foreground until the volume is unmounted
    #[arg(long)]
    foreground: bool,
}

/// Mounts the volume.
///
/// # Errors
/// When the volume, the secret or the directory cannot be used; no mount is left.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mut options = Options::default();
    for list in &args.options {
        options.add(list)?;
    }
    if let Some(source) = args.secret.source()? {
        options.secret = Some(source);
    }
    let request = MountRequest {
        volume: args.volume.clone(),
        dir: args.dir.clone(),
        options: options.mount,
        foreground: args.foreground,
    };
    mount(&request, options.secret)?;
    let verb = if args.foreground { "was" } else { "is" };
    let (volume, dir) = (args.volume.display(), args.dir.display());
    output::notice(&format!("{volume} {verb} mounted on {dir}"));
    Ok(())
}

/// Reads the secret, by default from the terminal, and mounts.
///
/// # Errors
/// As [`run`].
pub fn mount(request: &MountRequest, secret: Option<SecretSource>) -> Result<(), Failure> {
    let source = secret.unwrap_or_default();
    let secret = source.read(&request.volume, Purpose::Unlock)?;
    crate::volume::mount(request, &secret)?;
    Ok(())
}

/// What `-o` says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What the mount is like.
    pub mount: MountOptions,
    /// Where the secret comes from.
    pub secret: Option<SecretSource>,
}

impl Options {
    /// Adds a list separated by commas.
    ///
    /// # Errors
    /// When an option is unknown or would hold a secret.
    pub fn add(&mut self, list: &str) -> Result<(), Failure> {
        refuse_in_options(list.split(','))?;
        for option in list.split(',').filter(|o| !o.is_empty()) {
            match option.strip_prefix("secret=") {
                Some(source) => self.secret = Some(SecretSource::parse(OsStr::new(source))?),
                None => self.mount.set(option)?,
            }
        }
        Ok(())
    }
}
