//! Creation refused, interrupted at every step, and on a full disk.

use super::*;
use crate::volume::runtime::Runtime;
use crate::volume::{Kind, Locked, Volume};

fn options() -> InitOptions {
    InitOptions {
        cost: keys::Argon2Cost::new(8, 1, 1),
        ..InitOptions::default()
    }
}

fn secret() -> SecretBytes {
    SecretBytes::copy_of(b"correct horse battery staple").expect("locked memory")
}

/// Opens the volume for writing and closes it again.
fn open_and_close(dir: &Path, runtime: &Path) {
    let volume = Volume::<Locked>::open(dir).expect("a volume");
    let volume = volume
        .unlock_in(&Runtime::at(runtime), &secret(), Access::ReadWrite)
        .expect("it opens");
    volume.close().expect("it closes");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it exists").permissions().mode() & 0o7777
}

#[test]
fn a_new_volume_is_private_and_opens() {
    let temp = tempfile::tempdir().expect("a directory");
    let dir = temp.path().join("new");
    let id = init(&dir, &options(), &secret()).expect("it is made");
    assert_eq!(id.len(), 32);
    for path in [dir.clone(), dir.join("kv"), dir.join("packs")] {
        assert_eq!(mode(&path), 0o700, "{}", path.display());
    }
    assert!(!dir.join("init").exists());
    open_and_close(&dir, &temp.path().join("run"));
}

#[test]
fn an_existing_empty_directory_becomes_private() {
    let temp = tempfile::tempdir().expect("a directory");
    let dir = temp.path().join("empty");
    fs::create_dir(&dir).expect("a directory");
    fs::set_permissions(&dir, Permissions::from_mode(0o755)).expect("a mode");
    init(&dir, &options(), &secret()).expect("it is made");
    assert_eq!(mode(&dir), 0o700);
}

#[test]
fn a_creation_that_a_crash_interrupted_starts_again() {
    for done in 0..STEPS.len() {
        let temp = tempfile::tempdir().expect("a directory");
        let dir = temp.path().join("volume");
        let making = Making::new(Layout::new(&dir), &options(), &secret()).expect("keys");
        make_dir(&dir).expect("a directory");
        let marker = making.begin().expect("a marker");
        for step in &STEPS[..done] {
            step(&making).expect("a step");
        }
        // The crash: nothing is undone, and the kernel gives the lock back.
        drop((marker, making));
        let opened = Volume::<Locked>::open(&dir).map(drop);
        assert!(
            matches!(opened, Err(VolumeError::Unfinished { .. })),
            "after {done} steps: {opened:?}"
        );
        init(&dir, &options(), &secret()).expect("it starts again");
        open_and_close(&dir, &temp.path().join("run"));
    }
}

#[test]
fn what_is_no_place_for_a_volume_is_refused_and_left_alone() {
    let temp = tempfile::tempdir().expect("a directory");
    let refuse = |dir: &Path| init(dir, &options(), &secret()).expect_err("refused");

    let volume = temp.path().join("volume");
    init(&volume, &options(), &secret()).expect("it is made");
    assert!(matches!(
        refuse(&volume),
        VolumeError::AlreadyAVolume { .. }
    ));

    let foreign = temp.path().join("foreign");
    fs::create_dir(&foreign).expect("a directory");
    fs::write(foreign.join("letter"), "dear").expect("a file");
    assert!(matches!(refuse(&foreign), VolumeError::NotEmpty { .. }));
    assert_eq!(fs::read(foreign.join("letter")).expect("a file"), b"dear");

    // A file with the marker's name does not make other files ours.
    fs::write(foreign.join("init"), "").expect("a file");
    assert!(matches!(refuse(&foreign), VolumeError::NotEmpty { .. }));

    let file = foreign.join("letter");
    assert!(matches!(refuse(&file), VolumeError::NotDirectory { .. }));

    let nowhere = temp.path().join("no/where");
    assert!(matches!(refuse(&nowhere), VolumeError::Missing { .. }));
}

#[test]
fn a_refused_secret_leaves_nothing() {
    let temp = tempfile::tempdir().expect("a directory");
    let dir = temp.path().join("volume");
    let short = SecretBytes::copy_of(b"short").expect("locked memory");
    let refused = init(&dir, &options(), &short).expect_err("refused");
    assert_eq!(refused.kind(), Kind::Policy);
    assert_eq!(refused.code().as_deref(), Some("C-SECRETFORM"));
    assert!(!dir.exists());
}

#[test]
fn a_failed_creation_is_cleaned_up() {
    let temp = tempfile::tempdir().expect("a directory");
    let dir = temp.path().join("volume");
    fs::create_dir(&dir).expect("a directory");
    let making = Making::new(Layout::new(&dir), &options(), &secret()).expect("keys");
    let marker = making.begin().expect("a marker");
    STEPS
        .iter()
        .try_for_each(|step| step(&making))
        .expect("all");
    making.undo(false);
    drop(marker);
    assert_eq!(fs::read_dir(&dir).expect("a directory").count(), 0);
    making.undo(true);
    assert!(!dir.exists());
}

#[test]
fn two_creations_of_one_directory_do_not_mix() {
    let temp = tempfile::tempdir().expect("a directory");
    let dir = temp.path().join("volume");
    let making = Making::new(Layout::new(&dir), &options(), &secret()).expect("keys");
    make_dir(&dir).expect("a directory");
    let marker = making.begin().expect("a marker");
    let second = init(&dir, &options(), &secret()).expect_err("refused");
    assert_eq!(second.kind(), Kind::InUse);
    STEPS
        .iter()
        .try_for_each(|step| step(&making))
        .expect("all");
    drop(marker);
    open_and_close(&dir, &temp.path().join("run"));
}

#[test]
fn impossible_options_are_refused() {
    let temp = tempfile::tempdir().expect("a directory");
    let dir = temp.path().join("volume");
    let wrong = [
        InitOptions {
            chunk_bytes: 100_000,
            ..options()
        },
        InitOptions {
            chunk_bytes: 2 << 20,
            ..options()
        },
        InitOptions {
            size_bytes: Some(4096),
            ..options()
        },
        InitOptions {
            mode: 0o17_777,
            ..options()
        },
    ];
    for o in wrong {
        let refused = init(&dir, &o, &secret()).expect_err("refused");
        assert_eq!(refused.kind(), Kind::Usage, "{refused}");
        assert!(!dir.exists());
    }
}
