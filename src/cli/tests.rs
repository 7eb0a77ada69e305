//! The command line as a whole.

use clap::{CommandFactory, Parser};

use crate::volume::{Kind, MountOptions, Report, VolumeError};

use super::exit::{Exit, Failure};
use super::mount::Options;
use super::secret::SecretSource;
use super::{Cli, EXIT_CODES};

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
    super::fstab::command().debug_assert();
}

#[test]
fn every_command_of_the_design_is_there() {
    for line in [
        "coffer init /v --size 20G --compression zstd --chunk-size 64K --label l --uid 1 --gid 2 --mode 1777",
        "coffer init /v --secret file:/k --kdf m=1024,t=1,p=1",
        "coffer mount /v /d -o ro,noexec -o secret=stdin",
        "coffer mount /v /d --foreground --secret fd:3",
        "coffer umount /d --lazy",
        "coffer umount /d --force",
        "coffer list --json",
        "coffer info /v --json --secret cred:x",
        "coffer sync /d",
        "coffer resize /v --size none",
        "coffer doctor /v --json",
        "coffer completions zsh",
        "coffer man /tmp/man",
    ] {
        let parsed = Cli::try_parse_from(line.split(' '));
        assert!(parsed.is_ok(), "{line}: {:?}", parsed.err());
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for line in [
        "coffer",
        "coffer init",
        "coffer init /v --size huge",
        "coffer init /v --mode rwx",
        "coffer mount /v",
        "coffer umount /d --lazy --force",
        "coffer resize /v",
        "coffer completions tcsh",
    ] {
        assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
    }
}

#[test]
fn mount_options_add_up() {
    let mut options = Options::default();
    options
        .add("ro,secret=file:/k,_netdev,nofail")
        .expect("known");
    options.add("noexec,").expect("known");
    let expected = Options {
        mount: MountOptions {
            read_only: true,
            noexec: true,
            ..MountOptions::default()
        },
        secret: Some(SecretSource::File("/k".into())),
    };
    assert_eq!(options, expected);
    assert!(options.add("strange").is_err_and(|e| e.exit == Exit::Usage));
}

#[test]
fn every_kind_of_error_has_its_exit_code_and_next_step() {
    for (kind, code) in [
        (Kind::Failed, 1),
        (Kind::Usage, 2),
        (Kind::WrongSecret, 3),
        (Kind::NotAVolume, 4),
        (Kind::InUse, 5),
        (Kind::Integrity, 6),
        (Kind::Policy, 7),
        (Kind::NoSpace, 8),
    ] {
        let report = |message: &str| {
            Failure::from(VolumeError::Remote(Report {
                kind,
                code: None,
                message: message.to_owned(),
            }))
        };
        let failure = report("it failed");
        assert_eq!(failure.exit as u8, code);
        assert!(!failure.next.is_empty(), "{kind:?}");
        let told = report("it failed; do that");
        assert_eq!(told.to_string(), "error: it failed\n next: do that");
        assert!(EXIT_CODES.contains(&format!("\n  {code}  ")), "{code}");
    }
}
