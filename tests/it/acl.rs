//! Access control lists: the same steps on ext4 and on a mount print the same, error by error.
//!
//! Each case is a script; `try` shows how a command ends, `state` the modes, owners, lists and
//! xattrs of everything below, `who` what some users may do with a file.

use crate::dice::Dice;
use crate::ext4::{Ext4, same_output};
use crate::harness::{TestVolume, length, report};

/// The words of the scripts. Users 1 to 4 are daemon, bin, sys and sync; nobody has a second group.
const WORDS: &str = r#"
exec 2>&1; set +e; umask 022; chmod 755 .
as() { local u=$1; shift; setpriv --reuid="$u" --regid="$u" --clear-groups -- "$@"; }
try() { "$@"; echo "$* = $?"; }
each() { find . -mindepth 1 "${@:2}" | sort | xargs -r -d '\n' $1; }
state() { each "stat -c %n_%A_%u:%g_%h"; each "getfacl -npE" ! -type l; each "getfattr -h -m -" | grep -v '^$'; }
who() {
    local u
    for u in 1 2 3 4; do as $u sh -c 'for p; do
        echo "$0 $p $(test -r $p && echo r; test -w $p && echo w; test -x $p && echo x)"
    done' "$u" "$@"; done
}
raw() { # file, name, hex: sets the bytes of a list
    try setfattr -h -n "system.posix_acl_$2" -v "0x$3" "$1"
}
"#;

/// Names of cases and their scripts.
const CASES: &[(&str, &str)] = &[
    (
        "a named user brings a mask; chmod moves the mask; removal keeps the mode",
        "echo x > f; chmod 640 f; try setfacl -m u:1:rw f; state
        for m in 600 660 604 777 000 2750; do try chmod $m f; state; who f; done
        try setfacl -m m::r f; state; try setfacl -x u:1 f; state
        try setfacl -x m f; state; try setfacl -m u:1:rwx,g:2:rx f; try setfacl -b f; state",
    ),
    (
        "the mask bounds named users, named groups and the group",
        "echo x > f; chown 4:3 f
        for m in --- r-- -w- rw- r-x rwx; do
            setfacl --set u::r--,u:1:rwx,g::rw-,g:2:r-x,m::$m,o::--- f; state; who f
        done",
    ),
    (
        "without a mask the group bits are the group's",
        "echo x > f; chown 4:3 f; try setfacl --set u::rw,g::r,o::- f; state; who f
        try setfacl -n -m u:1:rwx f; state; try setfacl -n -m u:1:rwx,m::r f; state; who f
        chmod g=rw f; state; who f",
    ),
    (
        "new entries take the default list, whatever the umask",
        "for acl in u::rwx,g::rx,o:: u::rwx,u:1:rwx,g::rx,m::rwx,o::rx u::rw,u:1:x,g:2:w,g::,m::rw,o::r u::,g::,o::; do
            mkdir d; try setfacl -d --set $acl d
            for u in 000 022 027 077 777; do
                umask $u
                echo x > d/file$u; mkdir d/dir$u; mkfifo d/fifo$u; mknod d/chr$u c 1 3; mknod d/blk$u b 7 9; ln -s f d/link$u
                perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local=>$ARGV[0],Listen=>1) or die \"$!\\n\"' d/sock$u
                perl -MFcntl -e 'for my $m (0,0600,0640,0666,0700,0711,0777,04755,02755,01777) { my $n = sprintf \"%04o\", $m;
                    sysopen(F, \"$ARGV[0]/open$ARGV[1]-$n\", O_CREAT|O_WRONLY|O_EXCL, $m) or print \"$n: $!\\n\";
                    mkdir(\"$ARGV[0]/mk$ARGV[1]-$n\", $m) or print \"$n: $!\\n\" }' d $u
            done
            umask 022; state; rm -rf d
        done",
    ),
    (
        "subdirectories hand the default list on",
        "mkdir d; setfacl -d -m u:1:rwx,g:2:rx d; mkdir -p d/a/b/c; echo x > d/a/b/c/f; state
        try setfacl -k d/a; mkdir d/a/new; echo x > d/a/g; state
        try setfacl -d -m u:3:r d/a/b; mkdir d/a/b/m; state; who d/a/b/c/f d/a/b/m",
    ),
    (
        "the umask rules where there is no default list",
        "for u in 000 022 077 777; do umask $u; mkdir d$u; echo x > f$u; mkfifo p$u; done; umask 022; state
        setfacl -m u:1:rwx .; umask 077; mkdir e; echo x > g; umask 022; state",
    ),
    (
        "set-group-id and the sticky bit live beside lists",
        "mkdir d; chgrp 3 d; chmod 2775 d; setfacl -m d:u:1:rwx,u:1:rwx d
        as 1 sh -c 'echo x > d/f; mkdir d/s; echo x > d/s/f'; state
        mkdir t; chmod 1777 t; setfacl -m u:1:rwx,d:u:1:rwx t; echo x > t/root
        try as 1 rm -f t/root; try as 2 rm -f t/root; as 2 sh -c 'echo x > t/two'; try as 1 rm -f t/two; state
        chmod 4755 d/f; try as 1 setfacl -m u:2:rx d/f; state; chmod 6755 d/f; try setfacl -m u:2:rx d/f; state
        try as 1 setfacl -m u:3:rx d/f; state",
    ),
    (
        "only the owner sets lists",
        "echo x > f; echo x > g; chown 1:1 g; chmod 777 .
        try as 1 setfacl -m u:1:rwx f; try as 1 setfacl -m u:2:rw g; state; who f g
        try as 2 setfacl -m u:2:rwx g; try as 2 setfacl -b g; try as 2 chmod 777 g; try as 1 chmod 600 g; state
        try as 1 setfacl -b g; state; mkdir d; try as 1 setfacl -d -m u:1:rwx d; state",
    ),
    (
        "chown keeps the list and ends set-user-id",
        "echo x > f; setfacl -m u:1:rw,g:2:r f; chmod 6775 f; state
        try chown 1 f; state; chmod 6775 f; try chgrp 2 f; state; who f; try chown 2:3 f; state; who f
        mkdir d; setfacl -m u:1:rwx,d:u:1:rwx d; try chown -R 1:2 d; state
        try as 1 chgrp 3 d; try as 1 chgrp 1 d; try as 1 chown 2 d; state",
    ),
    (
        "a list stays with its inode: rename, exchange, link, replace",
        "echo a > a; echo b > b; setfacl -m u:1:rw a; setfacl -m g:2:rwx b; try ln a c; state
        try mv a d; state; try mv -T d b; state; try setfacl -m u:3:r c; state; who b c
        mkdir x y; setfacl -m d:u:1:rwx x; mv b x/; state; echo n > x/n; mv x/n y/; state
        mv y x/; mkdir x/y/z; state; ln c x/c; state; rm c; state",
    ),
    (
        "symlinks have none, and lead to the one of their target",
        "echo x > f; ln -s f l; ln -s nowhere dangling; try setfacl -m u:1:rw l; state
        try setfacl -P -m u:2:rw l; state; raw l access 0200000001000600ffffffff04000400ffffffff20000400ffffffff
        raw l default 0200000001000600ffffffff04000400ffffffff20000400ffffffff
        try setfacl -m u:1:rw dangling; try getfacl -cn dangling; try getfattr -h -m - l
        try getfattr -h -n system.posix_acl_access l",
    ),
    (
        "special files have lists",
        "mkfifo p; mknod c c 1 3; mknod b b 7 9; for f in p c b; do try setfacl -m u:1:rw,g:2:r $f; chmod 640 $f; done; state
        who p c b; try setfacl -d -m u:1:r p; try setfacl -b p c b; state",
    ),
    (
        "default lists: set, changed, removed, only on directories",
        "mkdir d; echo x > f; try setfacl -d -m u:1:r f; try setfacl -m d:u:1:r f; try setfacl -k f
        try setfacl -k d; try setfacl -d -m u:1:r d; state; try setfacl -d -x u:1 d; state; try setfacl -d -x m d
        try setfacl -d -m m::x d; state; try setfacl -k d; state; try setfacl -m d:u::rwx,d:g::r,d:o::- d; state
        try setfacl -x d:g d; try setfacl --test -m u:1:rwx d; chmod 700 d; state; try setfacl -b d; state
        try setfattr -x system.posix_acl_access d; try setfattr -x system.posix_acl_default d
        try setfattr -x system.posix_acl_default f; try getfattr -n system.posix_acl_default f",
    ),
    (
        "the bytes of a list are checked",
        "echo x > f; mkdir d; u=01000600ffffffff; g=04000400ffffffff; o=20000400ffffffff; m=10000700ffffffff
        for t in f:access d:access d:default f:default; do
            n=${t#*:}; t=${t%:*}
            raw $t $n 02000000$u$g$o; raw $t $n 02000000; raw $t $n 01000000$u$g$o; raw $t $n 03000000$u$g$o
            raw $t $n ''; raw $t $n 02; raw $t $n 02000000$u; raw $t $n 02000000$g$o; raw $t $n 02000000$u$g$o$o
            raw $t $n 02000000$u$u$g$o; raw $t $n 02000000$o$g$u; raw $t $n 02000000$u$g$m$o; raw $t $n 02000000$u$g$o$m
            raw $t $n 02000000${u}0200070001000000$g$o; raw $t $n 02000000${u}0200070001000000$g$m$o
            raw $t $n 02000000${u}02000700010000000200060001000000$g$m$o; raw $t $n 02000000${u}02000700020000000200060001000000$g$m$o
            raw $t $n 02000000${u}$g${m}${m}$o; raw $t $n 02000000${u}${g}0800070002000000$m$o
            raw $t $n 02000000${u}0200070001000000$g$m${o}00; raw $t $n 02000000${u}0200070001000000$g$m${o}00000000
            raw $t $n 0200000001000800ffffffff$g$o; raw $t $n 0200000001000f00ffffffff$g$o; raw $t $n 02000000${u}40000400ffffffff$g$o
            raw $t $n 02000000${u}02000700ffffffff$g$m$o; raw $t $n 020000000100060005000000${g}$o
            raw $t $n 02000000010007000000000004000500070000002000000009000000
            state
        done",
    ),
    (
        "a long list",
        "echo x > f; mkdir d; list=$(for i in $(seq 1000 1099); do echo -n u:$i:r-x,g:$i:rw-,; done)
        try setfacl -m ${list%,} f > /dev/null; state | md5sum; setfacl -d -m ${list%,} d; echo x > d/f; mkdir d/d; state | md5sum
        chmod 700 f d/f; state | md5sum; state | wc -l; setfacl -b f; state | md5sum",
    ),
    (
        "a directory's list decides who lists, enters and changes it",
        "mkdir d; echo x > d/f; chmod 666 d/f
        for p in --- r-- -w- --x rw- r-x -wx rwx; do
            setfacl --set u::rwx,u:1:$p,g::-,g:2:$p,m::rwx,o::- d
            for u in 1 2 3; do
                try as $u ls d; try as $u cat d/f; try as $u sh -c 'echo y >> d/f'; try as $u sh -c 'echo n > d/n'
                try as $u mv d/n d/o; try as $u ln -s x d/l; try as $u rm -f d/o d/l; rm -f d/n d/o d/l
            done
            setfacl -m m::r d; who d; setfacl -m m::rwx d
        done",
    ),
    (
        "programs that copy lists copy them",
        "mkdir a; echo x > a/f; mkdir a/d; setfacl -m u:1:rw,g:2:r a/f; setfacl -m u:1:rwx,d:u:2:rx a/d; ln a/f a/h
        try cp -a a b; state; mkdir c; setfacl -d -m u:3:rwx c; cp a/f c/plain; cp -p a/f c/kept; cp -r a/d c/; state
        getfacl -R -p -n a > list; setfacl -R -b a; setfacl --restore=list; state
        tar --acls --xattrs -cf t.tar a; rm -r a; tar --acls --xattrs -xf t.tar; rm t.tar list; state",
    ),
];

#[test]
fn lists_work_as_on_ext4() {
    let (v, ext4) = (TestVolume::new(), Ext4::new(64));
    let root = v.mount();
    let mut lines = 0;
    for (name, script) in CASES {
        let printed = same_output(&root, &ext4.root(), name, &format!("{WORDS}{script}"));
        assert!(printed.lines().count() >= 5, "{name}: {printed}");
        lines += printed.lines().count();
    }
    report(&format!(
        "acl: {} cases, {lines} lines of output as on ext4",
        CASES.len()
    ));
}

#[test]
fn lists_are_kept_over_a_remount() {
    let v = TestVolume::new();
    let root = v.mount();
    let make = format!(
        "{WORDS}
        mkdir d; setfacl -m u:1:rwx,d:u:1:rwx,d:g:2:rx d; echo x > d/f; mkdir d/s; chmod 711 d/s
        list=$(for i in $(seq 1000 1099); do echo -n u:$i:r-x,g:$i:rw-,; done); echo x > l; setfacl -m ${{list%,}} l"
    );
    crate::harness::shell(&root, &make, 60);
    let state = format!("{WORDS} state; who d d/f d/s l");
    let before = crate::harness::shell(&root, &state, 60);
    assert!(before.lines().count() > 200, "{before}");
    let root = v.remount();
    assert_eq!(crate::harness::shell(&root, &state, 60), before);
}

/// A walk of steps that a seed chooses: each ends the same on both.
fn walk(seed: u64, steps: u32) -> String {
    let mut dice = Dice::new(seed);
    let mut pick = |n| dice.size(n);
    let mut script = String::new();
    for n in 0..steps {
        let at = format!("{}/{}", ["a", "a/b", "c"][pick(3)], pick(4));
        let dir = ["a", "a/b", "c"][pick(3)];
        let rights = ["---", "r--", "-w-", "rw-", "--x", "r-x", "rwx"][pick(7)];
        let entry = match pick(6) {
            0 => format!("u::{rights}"),
            1 => format!("g::{rights}"),
            2 => format!("o::{rights}"),
            3 => format!("m::{rights}"),
            4 => format!("u:{}:{rights}", 1 + pick(3)),
            _ => format!("g:{}:{rights}", 1 + pick(3)),
        };
        let (user, mode) = (pick(4), format!("{:o}", pick(0o10000)));
        let umask = ["000", "022", "027", "077"][pick(4)];
        script += &match pick(16) {
            0 => format!("try as {user} sh -c 'umask {umask}; echo x > {at}'\n"),
            1 => format!("try as {user} sh -c 'umask {umask}; mkdir {at}'\n"),
            2 => format!("try as {user} sh -c 'umask {umask}; mkfifo {at}'\n"),
            3..=5 => format!("try as {user} setfacl -m {entry} {at}\n"),
            6 | 7 => format!("try as {user} setfacl -d -m {entry} {dir}\n"),
            8 => format!("try as {user} chmod {mode} {at}\n"),
            9 => format!("try chmod {mode} {dir}\n"),
            10 => format!("try chown {}:{} {at}\n", pick(4), pick(4)),
            11 => format!("try as {user} setfacl -b {at}\n"),
            12 => format!("try setfacl -k {dir}\n"),
            13 => format!("try as {user} mv -fT {at} {dir}/{}\n", pick(4)),
            14 => format!("try as {user} ln -T {at} {dir}/{}\n", pick(4)),
            _ => format!("try as {user} rm -df {at}\n"),
        };
        if n % 8 == 0 {
            script += &format!("who {at} {dir}\n");
        }
        if n % 40 == 0 {
            script += "state\n";
        }
    }
    format!("mkdir a c; mkdir a/b; chmod 777 a a/b c\n{script}state")
}

#[test]
fn random_steps_end_as_on_ext4() {
    let (v, ext4) = (TestVolume::new(), Ext4::new(64));
    let root = v.mount();
    let (seeds, steps) = length((2, 150), (40, 1000));
    for seed in 1..=seeds {
        let name = format!("seed {seed}");
        let script = format!("{WORDS}{}", walk(seed, steps));
        same_output(&root, &ext4.root(), &name, &script);
    }
    report(&format!(
        "acl: {seeds} random walks of {steps} steps end as on ext4"
    ));
}
