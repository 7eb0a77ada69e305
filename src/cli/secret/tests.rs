//! Sources of secrets, good and bad.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::super::exit::{Exit, Failure};
use super::command::{check_program, run_within};
use super::forbidden::refuse_in_environment;
use super::{Purpose, SecretBytes, SecretSource, refuse_in_arguments, refuse_in_options};

fn parse(text: &str) -> Result<SecretSource, Failure> {
    SecretSource::parse(OsStr::new(text))
}

fn secret(bytes: &[u8]) -> SecretBytes {
    SecretBytes::copy_of(bytes).expect("locked memory")
}

fn os(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn run(command: &[&str]) -> Result<SecretBytes, Failure> {
    run_within(&os(command), "{}", Duration::from_secs(20))
}

#[test]
fn every_source_has_its_spelling() {
    assert_eq!(parse("prompt"), Ok(SecretSource::Prompt));
    assert_eq!(parse("stdin"), Ok(SecretSource::Stdin));
    assert_eq!(parse("fd:7"), Ok(SecretSource::Fd(7)));
    assert_eq!(parse("file:/a:b"), Ok(SecretSource::File("/a:b".into())));
    assert_eq!(
        parse("cmd:/bin/pass  show x"),
        Ok(SecretSource::Command(os(&["/bin/pass", "show", "x"])))
    );
    assert_eq!(parse("cred:db"), Ok(SecretSource::Credential("db".into())));
}

#[test]
fn what_is_no_source_is_refused_and_not_repeated() {
    for text in [
        "",
        "hunter2",
        "hunter2:x",
        "prompt:hunter2",
        "file:",
        "fd:",
        "fd:1",
        "fd:-1",
        "fd:hunter2",
        "cmd:",
        "cred:",
        "cred:../hunter2",
        "env:HUNTER2",
        "pass:hunter2",
    ] {
        let refused = parse(text).expect_err(text);
        assert_eq!(refused.exit, Exit::Usage, "{text}");
        assert!(!refused.next.is_empty(), "{text}");
        assert!(
            !refused.to_string().to_lowercase().contains("hunter2"),
            "{refused}"
        );
    }
}

#[test]
fn options_that_would_hold_a_secret_are_refused() {
    for option in [
        "--passphrase",
        "--password=hunter2",
        "--pass",
        "--passphrase-fd",
        "--key=hunter2",
    ] {
        let refused = refuse_in_arguments(&os(&["coffer", "mount", option])).expect_err(option);
        assert_eq!(refused.exit, Exit::Usage);
        assert!(refused.cause.contains("C-SECRETFORM"), "{refused}");
        assert!(refused.next.contains("file:PATH"), "{refused}");
        assert!(!refused.to_string().contains("hunter2"), "{refused}");
    }
    assert_eq!(
        refuse_in_arguments(&os(&["coffer", "mount", "--secret", "stdin"])),
        Ok(())
    );
    assert_eq!(
        refuse_in_arguments(&os(&["coffer", "mount", "--", "--password"])),
        Ok(())
    );
    let refused = refuse_in_options(["ro", "password=hunter2"].into_iter()).expect_err("refused");
    assert!(refused.cause.contains("`-o password`"), "{refused}");
    assert_eq!(
        refuse_in_options(["ro", "secret=file:/k"].into_iter()),
        Ok(())
    );
}

#[test]
fn variables_that_would_hold_a_secret_are_refused() {
    let refuse = |name: &str| refuse_in_environment(os(&["PATH", name]).into_iter());
    for name in [
        "COFFER_PASSPHRASE",
        "COFFER_PASSWORD",
        "COFFER_SECRET",
        "COFFER_KEY",
    ] {
        let refused = refuse(name).expect_err(name);
        assert_eq!(refused.exit, Exit::Usage);
        assert!(refused.next.contains(&format!("unset {name}")), "{refused}");
    }
    for name in ["PASSPHRASE", "COFFER_LOG", "MY_COFFER_KEY"] {
        assert_eq!(refuse(name), Ok(()), "{name}");
    }
}

#[test]
fn a_descriptor_is_read_to_its_end() {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    writer
        .write_all(b"from a pipe\n")
        .expect("room in the pipe");
    drop(writer);
    let source = SecretSource::Fd(reader.as_raw_fd());
    let got = source.read(Path::new("/v"), Purpose::Unlock);
    assert_eq!(got, Ok(secret(b"from a pipe")));
    let closed = SecretSource::Fd(999_999).read(Path::new("/v"), Purpose::Unlock);
    assert!(closed.is_err_and(|e| e.exit == Exit::Usage && e.cause.contains("999999")));
}

#[test]
fn an_empty_secret_opens_nothing() {
    for content in ["", "\n"] {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        writer
            .write_all(content.as_bytes())
            .expect("room in the pipe");
        drop(writer);
        let source = SecretSource::Fd(reader.as_raw_fd());
        let refused = source.read(Path::new("/v"), Purpose::Unlock);
        assert!(refused.is_err_and(|e| e.exit == Exit::WrongSecret && e.cause.contains("empty")));
    }
}

#[test]
fn a_program_gives_what_it_prints() {
    assert_eq!(
        run(&["/bin/echo", "from", "a program"]),
        Ok(secret(b"from a program"))
    );
}

#[test]
fn a_program_that_fails_gives_nothing() {
    for command in [
        &["/bin/false"][..],
        &["/bin/ls", "/missing/file"],
        &["/missing/program"],
        &[],
    ] {
        assert!(run(command).is_err(), "{command:?}");
    }
    let failed = run(&["/bin/false"]).expect_err("it fails");
    assert!(failed.cause.contains("exit status: 1"), "{failed}");
    assert!(run(&["echo", "x"]).is_err_and(|e| e.cause.contains("not absolute")));
}

#[test]
fn a_program_that_takes_too_long_is_ended() {
    let limit = Duration::from_millis(50);
    let slow = run_within(&os(&["/bin/sleep", "1000"]), "{}", limit);
    assert!(slow.is_err_and(|e| e.cause.contains("took longer")));
}

#[test]
fn a_program_that_others_can_change_is_not_run() {
    let dir = tempfile::tempdir().expect("a directory");
    let program = dir.path().join("program");
    fs::write(&program, "#!/bin/sh\necho secret\n").expect("a file");
    for mode in [0o775, 0o757] {
        fs::set_permissions(&program, fs::Permissions::from_mode(mode)).expect("permissions");
        let refused = run_within(&[program.clone().into()], "{}", Duration::from_secs(20));
        assert!(refused.is_err_and(|e| e.exit == Exit::Policy), "{mode:o}");
    }
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("permissions");
    assert_eq!(check_program(&program), Ok(()));
}
