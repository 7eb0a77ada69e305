//! rsync and tar: a tree with everything in it goes to the mount and back, and is the same.

use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::ext4::Ext4;
use crate::harness::{TestVolume, report, shell};
use crate::manifest::Manifest;

/// Makes a tree that holds every type of file, attribute, time and name.
const TREE: &str = r#"
    mkdir plain links special names perms acl deep
    head -c 300 /dev/urandom > plain/small; : > plain/empty; head -c 5M /dev/urandom > plain/large
    seq 100000 > plain/text; head -c 4096 /dev/urandom > plain/page
    truncate -s 40M plain/sparse; for at in 0 5000 9000; do
        echo here | dd of=plain/sparse bs=4096 seek=$at conv=notrunc status=none; done
    truncate -s 3000001 plain/hole
    ln plain/small links/one; ln plain/small links/two; ln plain/large names/far
    ln -s ../plain/small links/to; ln -s /nowhere/at/all links/dangling; ln -s "$(printf 'x%.0s' {1..3000})" links/long
    mkfifo special/fifo; ln special/fifo special/fifo2; mknod special/char c 1 3; mknod special/block b 259 300000
    touch names/$'new\nline' names/' spaces ' names/-dash names/$'\xff\xfe not text' names/.hidden 'names/*?[a]' names/"$(printf 'n%.0s' {1..255})"
    for m in 0000 0444 0755 4755 2755 1777 6711; do touch perms/f$m; mkdir perms/d$m; chmod $m perms/f$m perms/d$m; done
    touch perms/owner; chown 12345:54321 perms/owner; ln -s x perms/link; chown -h 7:8 perms/link
    cp /bin/true perms/capable; setcap cap_net_raw,cap_chown+ep perms/capable
    setfattr -n user.text -v 'a value' plain/small; setfattr -n user.binary -v 0x00ff0001 plain/small
    setfattr -n user.empty plain/text; setfattr -n trusted.for.root -v secret plain; setfattr -n security.other -v 1 plain/page
    setfattr -n user.large -v "$(printf 'v%.0s' {1..2000})" plain/large
    touch acl/file; mkdir acl/dir; setfacl -m u:1234:rwx,g:99:r,m::rx acl/file
    setfacl -m u:1234:rx,d:u:1:rwx,d:g:2:-,d:o::r acl/dir; touch acl/dir/inherited
    d=deep; for i in {1..60}; do d=$d/level; mkdir $d; done; echo bottom > $d/file
    touch -d '1969-12-31 23:59:58.987654321 UTC' plain/empty; touch -d '1970-01-01 UTC' plain/text
    touch -d '1912-06-23 01:02:03.000000001 UTC' plain/page; touch -d '2039-01-01 00:00:00.999999999 UTC' perms/owner
    touch -h -d '2001-02-03 04:05:06.123456789 UTC' links/dangling special/fifo special/block
    touch -d '1999-01-01 00:00:00.5 UTC' links special perms perms/d0000 deep plain ."#;

/// Without the window a time in the same second counts as equal.
const RSYNC: &str = "rsync -aHAX --numeric-ids --modify-window=-1";
const TAR: &str = "tar --numeric-owner --xattrs --xattrs-include='*' --acls";

fn copies(from: &Path, to: &Path, script: &str) {
    let script = script
        .replace("FROM", &from.display().to_string())
        .replace("TO", &to.display().to_string())
        .replace("RSYNC", RSYNC)
        .replace("TAR", TAR);
    shell(from, &script, 300);
}

#[test]
fn rsync_and_tar_keep_everything() {
    let disk = Ext4::new(2048);
    let v = TestVolume::new();
    let root = v.mount();
    let source = disk.root().join("source");
    std::fs::create_dir(&source).expect("mounted");
    // rsync copies sockets and hard links of special files, tar does not.
    let socket = source.join("socket");
    UnixListener::bind(&socket).expect("mounted");
    shell(&source, TREE, 60);
    let all = Manifest::of(&source);
    copies(
        &source,
        &root,
        "RSYNC FROM/ TO/rsync/; RSYNC -S FROM/ TO/sparse/",
    );
    std::fs::remove_file(&socket).expect("mounted");
    // GNU tar 1.34 adds a fraction before 1970 where it must subtract it.
    let whole = "touch -d '1969-12-31 23:59:58 UTC' plain/empty plain/page
        rm special/fifo2; touch -d '1999-01-01 00:00:00.5 UTC' special
        touch -d '1999-01-01 00:00:00.5 UTC' .";
    shell(&source, whole, 10);
    let files = Manifest::of(&source);
    copies(
        &source,
        &root,
        "TAR --format=posix -S -cf TO/a.tar .; mkdir TO/tar; TAR -xpf TO/a.tar -C TO/tar",
    );
    let trees = [("rsync", &all), ("sparse", &all), ("tar", &files)];
    let check = |top: &Path| {
        for (name, expected) in trees {
            expected.assert_same(
                &Manifest::of(&top.join(name)),
                &format!("{name} in {}", top.display()),
            );
        }
    };
    check(&root);
    let root = v.remount();
    check(&root);
    let sparse = shell(&root, "stat -c %b sparse/plain/sparse tar/plain/sparse", 10);
    assert!(
        sparse
            .lines()
            .all(|b| b.parse::<u64>().is_ok_and(|b| b < 1000)),
        "{sparse}"
    );
    copies(&root, &disk.root(), "RSYNC FROM/rsync FROM/sparse TO/");
    copies(
        &root,
        &disk.root(),
        "mkdir TO/tar; TAR --format=posix -S -cf - -C tar . | TAR -xpf - -C TO/tar",
    );
    check(&disk.root());
    report(&format!(
        "rsync, tar: {} names the same, there and back",
        all.len()
    ));
}
