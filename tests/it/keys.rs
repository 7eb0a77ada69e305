//! Keys as an administrator uses them: given, changed and taken, on a volume at rest and mounted.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Outcome, TestVolume, coffer, run, shell};

/// Arguments for a quick derivation of new passphrases.
const QUICK: [&str; 2] = ["--kdf", "m=64,t=1,p=1"];

/// Runs `coffer key ...` with the administrator's secret.
#[track_caller]
fn key(v: &TestVolume, command: &str, target: &Path, args: &[&str]) -> Outcome {
    key_with(&v.secret(), command, target, args)
}

#[track_caller]
fn key_with(secret: &str, command: &str, target: &Path, args: &[&str]) -> Outcome {
    let mut coffer = coffer(["key", command, "--secret", secret]);
    coffer.arg(target).args(args);
    run(&coffer, 60)
}

#[track_caller]
fn list(target: &Path) -> Vec<Value> {
    let mut command = coffer(["key", "list", "--json"]);
    command.arg(target);
    let document: Value = serde_json::from_str(&run(&command, 60).ok()).expect("one document");
    assert_eq!(document["schema"], "coffer.key-list.v1");
    document["slots"].as_array().expect("a list").clone()
}

/// Writes a secret into a file of its own and returns its source.
fn secret_file(v: &TestVolume, name: &str, bytes: &[u8]) -> String {
    let path = v.scratch().join(name);
    fs::write(&path, bytes).expect("own directory");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("own directory");
    format!("file:{}", path.display())
}

#[track_caller]
fn mount_with(v: &TestVolume, secret: &str, options: &[&str]) -> Outcome {
    let mut command = coffer(["mount", "--secret", secret]);
    command.args(options).arg(v.volume()).arg(v.root());
    run(&command, 60)
}

#[test]
fn a_colleague_comes_and_goes() {
    let v = TestVolume::new();
    let bob = secret_file(&v, "bob", b"the passphrase of bob\n");
    let new = ["--new-secret", &bob, "--label", "Bob", QUICK[0], QUICK[1]];
    let said = key(&v, "add", v.volume(), &new).ok();
    assert_eq!(said, "Added slot 2 (passphrase, rw, Bob)\n");
    let slots = list(v.volume());
    assert_eq!(slots.len(), 2);
    assert_eq!(
        (&slots[1]["role"], &slots[1]["label"]),
        (&"rw".into(), &"Bob".into())
    );

    mount_with(&v, &bob, &[]).ok();
    fs::write(v.root().join("from-bob"), "hello").expect("bob may write");
    v.umount();

    let bob2 = secret_file(&v, "bob2", b"another passphrase of bob\n");
    let args = ["--slot", "2", "--new-secret", &bob2, QUICK[0], QUICK[1]];
    key(&v, "change", v.volume(), &args).ok();
    mount_with(&v, &bob, &[]).fails(3, &["C-NOSLOT"]);
    mount_with(&v, &bob2, &[]).ok();
    v.umount();

    key(&v, "remove", v.volume(), &["2"]).fails(2, &["would remove slot 2", "--yes"]);
    let said = key(&v, "remove", v.volume(), &["2", "--dry-run"]).ok();
    assert_eq!(said, "would remove slot 2 (passphrase, rw, Bob)\n");
    assert_eq!(list(v.volume()).len(), 2);
    key(&v, "remove", v.volume(), &["2", "--yes"]).ok();
    mount_with(&v, &bob2, &[]).fails(3, &["C-NOSLOT"]);
    let root = v.mount();
    assert_eq!(
        fs::read(root.join("from-bob")).expect("it is there"),
        b"hello"
    );
    v.umount();
}

#[test]
fn keys_of_a_mounted_volume_change_while_it_is_used() {
    let v = TestVolume::new();
    let root = v.mount();
    shell(&root, "echo before > file", 60);
    let machine = secret_file(&v, "machine", &[0xa7; 32]);
    let new = ["--new-secret", &machine, "--label", "server 4"];
    let said = key(&v, "add", &root, &new).ok();
    assert_eq!(said, "Added slot 2 (keyfile, rw, server 4)\n");
    // The directory of the volume names the mounted volume too.
    assert_eq!(list(v.volume()).len(), 2);
    assert_eq!(v.info()["slots"][1]["label"], "server 4");
    let own = secret_file(&v, "own", b"my new long passphrase");
    key(
        &v,
        "change",
        v.volume(),
        &["--new-secret", &own, QUICK[0], QUICK[1]],
    )
    .ok();
    let wrong = key(&v, "add", &root, &["--new-secret", &machine]);
    wrong.fails(3, &["C-NOSLOT"]);
    shell(&root, "echo after >> file; sync file", 60);
    v.kill_worker();

    v.try_mount(&[]).fails(3, &["C-NOSLOT"]);
    mount_with(&v, &machine, &[]).ok();
    assert_eq!(shell(&root, "cat file", 60), "before\nafter\n");
    key_with(&own, "remove", &root, &["2", "--yes"]).ok();
    v.umount();
    mount_with(&v, &machine, &[]).fails(3, &["C-NOSLOT"]);
    mount_with(&v, &own, &[]).ok();
    v.umount();
}

#[test]
fn each_role_may_what_it_may() {
    let v = TestVolume::new();
    let writer = secret_file(&v, "writer", &[0xb1; 32]);
    let reader = secret_file(&v, "reader", &[0xb2; 32]);
    key(&v, "add", v.volume(), &["--new-secret", &writer]).ok();
    key(
        &v,
        "add",
        v.volume(),
        &["--new-secret", &reader, "--role", "ro"],
    )
    .ok();
    for secret in [&writer, &reader] {
        let more = secret_file(&v, "more", &[0xb3; 32]);
        let refused = key_with(secret, "add", v.volume(), &["--new-secret", &more]);
        refused.fails(7, &["C-POLICY", "may not change keys", "admin slot"]);
        let refused = key_with(secret, "remove", v.volume(), &["1", "--yes"]);
        refused.fails(7, &["C-POLICY", "may not change keys"]);
    }
    let last = key(&v, "remove", v.volume(), &["1", "--yes"]);
    last.fails(
        7,
        &[
            "C-POLICY",
            "last one with the role admin",
            "add another admin slot",
        ],
    );
    key(&v, "remove", v.volume(), &["9", "--yes"]).fails(2, &["no slot 9", "coffer key list"]);
    let known = key(&v, "add", v.volume(), &["--new-secret", &writer]);
    known.fails(7, &["slot 2 takes this secret already"]);

    let root = v.mount();
    shell(&root, "echo text > file", 60);
    // Each commit of a volume with a reader is signed, the last one before a kill too.
    shell(&root, "echo more >> file; sync file", 60);
    v.kill_worker();
    mount_with(&v, &reader, &[]).fails(7, &["C-POLICY", "-o ro"]);
    mount_with(&v, &writer, &[]).ok();
    v.umount();
    mount_with(&v, &reader, &["-o", "ro"]).ok();
    assert_eq!(shell(&root, "cat file", 60), "text\nmore\n");
    fs::write(root.join("file"), "").expect_err("it is mounted read-only");
    let refused = key(&v, "remove", &root, &["2", "--yes"]);
    refused.fails(7, &["C-POLICY", "read-only"]);
    v.umount();
}

#[test]
fn a_recovery_code_opens_when_all_else_is_lost() {
    let v = TestVolume::new();
    let code = key(&v, "recovery", v.volume(), &[]).ok();
    let code = code.trim_end();
    assert_eq!(code.len(), 44, "{code}");
    let paper = secret_file(&v, "paper", code.to_lowercase().as_bytes());
    let own = secret_file(&v, "own", b"a passphrase not to forget");
    let args = ["--slot", "1", "--new-secret", &own, QUICK[0], QUICK[1]];
    key_with(&paper, "change", v.volume(), &args).ok();
    mount_with(&v, &own, &[]).ok();
    v.umount();
    let mut typo = code.as_bytes().to_vec();
    typo.swap(0, 1);
    if typo[0] == typo[1] {
        typo[0] = if typo[0] == b'7' { b'8' } else { b'7' };
    }
    let typo = secret_file(&v, "typo", &typo);
    mount_with(&v, &typo, &[]).fails(3, &["recovery code", "compare it with the paper"]);
}

#[test]
fn a_program_that_gives_the_key_is_told_which() {
    let v = TestVolume::new();
    let program = v.scratch().join("service");
    let script = format!(
        "#!/bin/sh\ncat >> {0}/asked; echo >> {0}/asked\nhead -c 32 {0}/service.key\n",
        v.scratch().display()
    );
    fs::write(&program, script).expect("own directory");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("own directory");
    fs::write(v.scratch().join("service.key"), [0xc9; 64]).expect("own directory");
    let source = format!("cmd:{}", program.display());
    let new = ["--new-secret", &source, "--hint", "vault/prod/7"];
    let said = key(&v, "add", v.volume(), &new).ok();
    assert_eq!(said, "Added slot 2 (command, rw)\n");
    mount_with(&v, &source, &[]).ok();
    v.umount();
    let asked = fs::read_to_string(v.scratch().join("asked")).expect("it was asked");
    let asked: Vec<Value> = asked
        .lines()
        .map(|l| serde_json::from_str(l).expect("JSON"))
        .collect();
    let purposes: Vec<_> = asked.iter().map(|a| &a["purpose"]).collect();
    assert_eq!(purposes, ["create", "unlock"]);
    for a in asked {
        assert_eq!(a["volume_id"], v.id());
        assert_eq!(a["hints"], serde_json::json!(["vault/prod/7"]));
    }
}

#[test]
fn a_credential_of_systemd_is_a_key() {
    let v = TestVolume::new();
    let credentials = v.scratch().join("credentials");
    fs::create_dir(&credentials).expect("own directory");
    fs::write(credentials.join("volume"), [0xd4; 48]).expect("own directory");
    let as_unit = |command: &mut Command| {
        command.env("CREDENTIALS_DIRECTORY", &credentials);
        run(command, 60)
    };
    let secret = v.secret();
    let mut add = coffer([
        "key",
        "add",
        "--secret",
        &secret,
        "--new-secret",
        "cred:volume",
    ]);
    let said = as_unit(add.arg(v.volume())).ok();
    assert_eq!(said, "Added slot 2 (credential, rw)\n");
    let mut mount = coffer(["mount", "--secret", "cred:volume"]);
    as_unit(mount.arg(v.volume()).arg(v.root())).ok();
    v.umount();
    mount_with(&v, "cred:volume", &[]).fails(2, &["systemd passed no credentials"]);
}
