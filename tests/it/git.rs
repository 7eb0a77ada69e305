//! Git on a mount: clone, check, change, pack, check again after a remount.

use std::path::Path;

use crate::harness::{TestVolume, shell};

#[test]
fn a_clone_is_sound() {
    let v = TestVolume::new();
    let root = v.mount();
    // A repository of its own, so that the test also runs from an unpacked archive.
    shell(
        v.scratch(),
        &format!(
            "git init -q origin; cd origin; git config user.name x; git config user.email x@example.com
            cp -r {}/src .; for i in $(seq 20); do echo $i > n; git add -A; git commit -qm $i; done",
            Path::new(env!("CARGO_MANIFEST_DIR")).display()
        ),
        120,
    );
    shell(
        &root,
        "git clone -q --no-hardlinks ../origin clone; cd clone; git fsck --full --strict
        git config user.name x; git config user.email x@example.com
        git checkout -qb work HEAD~10; git mv src source; git commit -qam moved; git gc -q
        test -z \"$(git status --porcelain)\"",
        240,
    );
    let root = v.remount();
    shell(
        &root,
        "cd clone; git fsck --full --strict; test -z \"$(git status --porcelain)\"
        git checkout -q -; diff -r src ../../origin/src; git worktree add -q ../tree work; ls ../tree/source",
        240,
    );
}
