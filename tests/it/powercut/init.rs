//! The power goes while a volume is made: it is whole, or the same command makes it.

use std::path::Path;

use coffer::base::Ino;
use coffer::volume::{self, Access, Argon2Cost, InitOptions, Kind, SecretBytes, Volume};

use super::cut::{Choice, Platter};
use super::disk::{Image, long};
use super::record::Disk;
use super::recording::Recording;
use super::verify;
use crate::dice::Dice;
use crate::harness::{PASSPHRASE, length, report};

fn secret() -> SecretBytes {
    SecretBytes::copy_of(PASSPHRASE.as_bytes()).expect("memory for a secret")
}

/// Opens what is there; none if there is no volume yet.
fn open(dir: &Path) -> Result<Option<String>, String> {
    let locked = match Volume::open(dir) {
        Err(e) if e.kind() == Kind::NotAVolume => return Ok(None),
        other => other.map_err(|e| format!("it does not open: {e:?}"))?,
    };
    let id = locked.info().volume_id;
    verify::forget_boot(&id);
    let opened = locked.unlock(&secret(), Access::ReadWrite);
    let volume = opened.map_err(|e| format!("it does not unlock: {e:?}"))?;
    let root = volume.fs().getattr(Ino::ROOT);
    volume
        .close()
        .map_err(|e| format!("it does not close: {e:?}"))?;
    root.map_err(|e| format!("it has no root: {e}"))?;
    Ok(Some(id))
}

fn make(dir: &Path) -> Result<String, String> {
    let options = InitOptions {
        cost: Argon2Cost::new(64, 1, 1),
        ..InitOptions::default()
    };
    volume::init(dir, &options, &secret()).map_err(|e| format!("it cannot be made: {e:?}"))
}

/// Opens what a cut has left of a volume, or makes it; returns whether it was there.
fn look(image: Image) -> Result<bool, String> {
    let top = tempfile::tempdir().expect("a directory for the disk");
    let _mounted = Disk::new(image).mount(top.path());
    let dir = top.path().join("volume");
    let found = open(&dir)?;
    let id = match &found {
        Some(id) => id.clone(),
        None => {
            make(&dir)?;
            open(&dir)?.ok_or("it is not there after it was made")?
        }
    };
    verify::forget_boot(&id);
    Ok(found.is_some())
}

#[test]
fn a_volume_is_made_whole_or_is_made_again() {
    let recording = Recording::of(3, |_| ());
    let mut dice = Dice::new(recording.seed);
    let mut platter = Platter::new(Image::new());
    let (mut whole, mut disks) = (0, 0);
    for at in 0..=recording.made {
        platter.advance(&recording.trace, at);
        let random = (0..length(2, 20)).map(|_| Choice::Random(dice.next()));
        let choices: Vec<Choice> = [Choice::Nothing, Choice::Everything]
            .into_iter()
            .chain(random)
            .collect();
        for choice in choices {
            let found = look(platter.cut(&recording.trace, choice));
            let found = found.unwrap_or_else(|why| panic!("cut at {at}, {choice:?}: {why}"));
            assert!(
                found || at < recording.made,
                "init had returned, {choice:?}"
            );
            whole += u64::from(found);
            disks += 1;
        }
    }
    let made = long(recording.made);
    report(&format!(
        "powercut: {disks} disks of a volume being made in {made} operations, {whole} were whole"
    ));
    assert!(0 < whole && whole < disks);
}
