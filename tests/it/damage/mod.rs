//! Damaged packs: only what lies in the damaged place is lost, it is told as an error, and the log says
//! why. Never are other bytes returned.

mod disk;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::dice::Dice;
use crate::harness::{TestVolume, length, report};
use crate::kills;

/// What is read at once; blocks and their frames are not smaller.
const PIECE: usize = 4096;

/// A frame of a chunk of 128 KiB.
const FRAME: usize = 16 << 10;

fn packs(v: &TestVolume) -> Vec<PathBuf> {
    let dir = fs::read_dir(v.volume().join("packs")).expect("a volume has packs");
    let paths = dir.map(|e| e.expect("it can be read").path());
    let is_pack = |p: &PathBuf| p.file_name().is_some_and(|n| n != "reserve");
    paths.filter(is_pack).collect()
}

/// Flips a bit of a file.
fn flip(path: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(path);
    let file = file.expect("own directory");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("inside the file");
    file.write_all_at(&[byte[0] ^ 4], at)
        .expect("own directory");
}

/// Reads a file piece by piece and returns where it could not be read.
fn unreadable(path: &Path, expected: &[u8]) -> Vec<usize> {
    let file = File::open(path).expect("a damaged file can be opened");
    let meta = file.metadata().expect("it is open");
    assert_eq!(meta.len(), expected.len() as u64);
    let mut lost = Vec::new();
    for (n, right) in expected.chunks(PIECE).enumerate() {
        let at = n * PIECE;
        let mut found = vec![0; right.len()];
        match file.read_exact_at(&mut found, at as u64) {
            Ok(()) => assert!(found == right, "{}: wrong bytes at {at}", path.display()),
            Err(e) => {
                assert_eq!(e.raw_os_error(), Some(libc::EIO), "{}", path.display());
                lost.push(at);
            }
        }
    }
    lost
}

/// What files must hold.
type Files = BTreeMap<String, Vec<u8>>;

/// Writes a file and waits until it is durable.
fn write_synced(root: &Path, files: &mut Files, name: &str, bytes: Vec<u8>) {
    let file = File::create(root.join(name)).expect("a new file");
    file.write_all_at(&bytes, 0).expect("it is written");
    file.sync_all().expect("it is durable");
    files.insert(name.to_owned(), bytes);
}

/// Writes some files whose contents nothing can compress.
fn write_some(root: &Path, dice: &mut Dice) -> Files {
    let mut files = Files::new();
    for n in 0..12 {
        let len = dice.size(900_000);
        write_synced(root, &mut files, &format!("f{n}"), dice.bytes(len));
    }
    files
}

/// Returns the frames that cannot be read, by the names of their files.
fn damaged(root: &Path, files: &Files) -> BTreeSet<(String, usize)> {
    let frames = |(name, bytes): (&String, &Vec<u8>)| {
        let lost = unreadable(&root.join(name), bytes).into_iter();
        lost.map(|at| (name.clone(), at / FRAME))
            .collect::<Vec<_>>()
    };
    files.iter().flat_map(frames).collect()
}

/// Returns what the worker has logged.
fn log(v: &TestVolume) -> String {
    let log = Path::new("/run/coffer").join(v.id()).join("log");
    fs::read_to_string(log).expect("a mount has a log")
}

#[test]
fn a_flipped_bit_costs_one_frame_of_one_file() {
    let v = TestVolume::new();
    let root = v.mount();
    let mut dice = kills::dice();
    let mut files = write_some(&root, &mut dice);
    v.umount();
    let (mut hits, flips) = (0, length(8, 60));
    for _ in 0..flips {
        let paths = packs(&v);
        let pack = &paths[dice.size(paths.len() as u64)];
        let at = dice.below(fs::metadata(pack).expect("it is there").len());
        flip(pack, at);
        let root = v.mount();
        let lost = damaged(&root, &files);
        assert!(lost.len() <= 1, "one bit damages {lost:?}");
        if let Some((name, _)) = lost.first() {
            hits += 1;
            let text = log(&v);
            assert!(text.contains("ERROR C-AEAD: block "), "{text}");
            // The volume goes on, and so does the file, with other contents.
            let anew = dice.bytes(files[name].len());
            write_synced(&root, &mut files, name, anew);
            v.remount();
        }
        assert_eq!(damaged(&root, &files), BTreeSet::new());
        v.umount();
    }
    report(&format!(
        "damage: {flips} flipped bits, {hits} unreadable frames"
    ));
    assert!(hits > 0);
}
