//! Rename storms: many threads move files and directories up, down and over each other.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::dice::Dice;
use crate::harness::{TestVolume, length, report};

const THREADS: u64 = 12;

/// Returns some path of at most four levels.
fn somewhere(root: &Path, dice: &mut Dice) -> PathBuf {
    let mut path = root.to_owned();
    for _ in 0..=dice.below(4) {
        path.push(format!("n{}", dice.below(4)));
    }
    path
}

/// Does one thing somewhere; what a tree that others change may answer is no failure.
fn step(root: &Path, dice: &mut Dice) -> Option<()> {
    let (a, b) = (somewhere(root, dice), somewhere(root, dice));
    let done = match dice.below(12) {
        0 | 1 => rustix::fs::mkdir(&a, rustix::fs::Mode::RWXU),
        2 => fs::write(&a, a.as_os_str().as_encoded_bytes())
            .map_err(|e| Errno::from_io_error(&e).expect("an errno")),
        3 => rustix::fs::link(&a, &b),
        4 => rustix::fs::symlink(&b, &a),
        5 => rustix::fs::unlink(&a),
        6 => rustix::fs::rmdir(&a),
        7 | 8 => renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE),
        9 => renameat_with(CWD, &a, CWD, &b, RenameFlags::NOREPLACE),
        _ => rustix::fs::rename(&a, &b),
    };
    match done {
        Ok(()) => Some(()),
        Err(
            Errno::NOENT
            | Errno::EXIST
            | Errno::NOTDIR
            | Errno::ISDIR
            | Errno::NOTEMPTY
            | Errno::INVAL
            | Errno::LOOP
            | Errno::PERM,
        ) => None,
        Err(e) => panic!("{} and {}: {e}", a.display(), b.display()),
    }
}

/// What a tree holds, by inode: names of files, and of each directory its parent.
#[derive(Default, PartialEq, Eq, Debug)]
struct Tree {
    /// Links each inode says it has, and its names.
    files: BTreeMap<u64, (u64, Vec<PathBuf>)>,
    dirs: BTreeMap<u64, PathBuf>,
}

/// Walks a tree and asserts that every directory is reached once and counts its subdirectories.
fn walk(root: &Path) -> Tree {
    let mut tree = Tree::default();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        let about = fs::metadata(&dir).expect("it is in the tree");
        let twice = tree.dirs.insert(about.ino(), dir.clone());
        assert_eq!(twice, None, "{} is reached twice", dir.display());
        let mut below = 0;
        for entry in fs::read_dir(&dir).expect("it can be listed") {
            let path = entry.expect("the listing goes on").path();
            let about = fs::symlink_metadata(&path).expect("its name leads to it");
            if about.is_dir() {
                below += 1;
                open.push(path);
            } else {
                let file = tree.files.entry(about.ino()).or_default();
                file.0 = about.nlink();
                file.1.push(path);
            }
        }
        assert_eq!(about.nlink(), 2 + below, "links of {}", dir.display());
        let up = fs::metadata(dir.join("..")).expect("it has a parent").ino();
        let parent = dir.parent().filter(|_| dir != root).unwrap_or(root);
        if dir != root {
            let parent = fs::metadata(parent).expect("it is in the tree").ino();
            assert_eq!(up, parent, "parent of {}", dir.display());
        }
    }
    for (links, names) in tree.files.values_mut() {
        assert_eq!(*links, names.len() as u64, "links of {names:?}");
        names.sort();
    }
    tree
}

#[test]
fn a_storm_of_renames_leaves_a_tree() {
    let v = TestVolume::new();
    let root = v.mount();
    let (rounds, steps) = (length(2, 20), length(400, 20_000));
    let mut done = 0;
    let mut last = Tree::default();
    for round in 0..rounds {
        let counts = std::thread::scope(|scope| {
            let storm = |seed| {
                let mut dice = Dice::new(seed);
                let root = &root;
                move || (0..steps).filter_map(|_| step(root, &mut dice)).count()
            };
            let threads: Vec<_> = (0..THREADS)
                .map(|n| scope.spawn(storm(round * THREADS + n + 1)))
                .collect();
            let joined = threads.into_iter().map(|t| t.join().expect("no failure"));
            joined.sum::<usize>()
        });
        done += counts;
        let tree = walk(&root);
        v.remount();
        last = walk(&root);
        assert!(tree == last, "the tree has changed: {tree:?} {last:?}");
    }
    report(&format!(
        "storm: {THREADS} threads, {} steps, {done} of them changed something; {} directories, {} files at the end",
        rounds * THREADS * steps,
        last.dirs.len(),
        last.files.len()
    ));
    assert!(last.dirs.len() > 1);
}
