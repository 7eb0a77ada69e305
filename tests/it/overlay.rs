//! overlayfs over a mount, as its upper layer and as its lower one: the same steps on ext4 print the
//! same, and leave the same in the layers.

use std::fs;
use std::path::Path;

use crate::ext4::{Ext4, same_output};
use crate::harness::{TestVolume, length, report, run};

/// The words of the scripts. `over OPTIONS` mounts the layers on `m`, `state DIR` lists a tree with
/// modes, owners, sums and the xattrs that do not name a file by its place.
const WORDS: &str = r#"
exec 2>&1; set +e; umask 022; export LC_ALL=C
try() { "$@"; echo "$* = $?"; }
over() { mount -t overlay overlay -o "lowerdir=$lower,upperdir=$upper,workdir=$work${1:+,$1}" m 2> /dev/null; echo "overlay $1 = $?"; }
each() { find . -mindepth 1 "${@:2}" | sort | xargs -r -d '\n' $1; }
state() {
    ( cd "$1"; find . -mindepth 1 -printf '%P %y %m %U:%G %n %l\n' | sort; each md5sum -type f; each 'stat -c %n_%t,%T' -type c
    each 'stat -c %n_%y' -type f ! -newermt 2022-01-01
    each 'getfattr -h -d -m -' ! -type c | grep -Ev 'overlay.(origin|impure|uuid|nlink|metacopy)|^$' )
}
fill() (
    cd "$1"; mkdir -p d/sub/deep e rm; echo one > one; echo two > d/two; echo three > d/sub/three; ln d/two two-linked
    head -c 3000000 /dev/zero | tr '\0' x > big; ln -s d/two link; ln -s nowhere dangling; mkfifo pipe; mknod null c 1 3
    chmod 4755 one; cp /bin/true suid; cp /bin/true sgid; chown 1:2 sgid; chmod 4711 suid; chmod 6755 sgid; cp /bin/true caps; cp suid suid2; chown 1:2 d/two; setfattr -n user.a -v lower one; setfattr -n trusted.b -v lower one; setfacl -m u:1:rw one
    setfacl -d -m u:1:rwx d; for f in big caps sgid; do setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 $f; done; for i in $(seq 300); do echo $i > e/f$i; done; echo x > rm/x; echo y > rm/y
    find . -exec touch -h -d '2020-01-02 03:04:05.678901234' {} +
)
exchange() { perl -e 'exit(syscall(316, -100, $ARGV[0], -100, $ARGV[1], 2) ? $!+0 : 0)' "$@"; echo "exchange $* = $?"; }
"#;

/// What is done in the merged tree.
const STEPS: &str = r#"
(
    cd m; state .
    for f in suid sgid caps; do try setfattr -n user.d -v up $f; try mv $f $f.up; done; try ln suid2 suid3; try touch suid3; state .
    try chown 0 caps.up; echo x >> sgid.up
    echo more >> one; try chmod 600 d/two; try chown 3 big; try truncate -s 100 big; echo new > d/new; try mkdir d/newdir
    try setfattr -n user.c -v upper one; try setfattr -x user.a one; try setfacl -m g:2:r d/sub/three; try touch -d 2021-01-01 e/f1
    try rm e/f2 e/f3; echo again > e/f2; try rmdir rm; try rm -r rm; try mkdir rm; try ls -A rm; echo z > rm/z; try mkdir rm/w
    try mv e/f4 e/f5; try mv e/f6 d/f6; try mv d/newdir d/renamed; try mv d/sub d/moved; try mv -T d/renamed e/renamed; state d
    try ln one three-linked; try ln two-linked linked-again; echo w >> two-linked; cat d/two linked-again; try rm link; try ln -s one link
    try mkfifo p2; try mknod zero c 1 5; try cp -a e e2; try rm -r e; try mkdir e; ls -A e; echo 1 > a; echo 2 > b
    exchange a b; exchange a one; exchange d e; cat a b one; try ls d e; try ln -s x d/l; try mv -T e ee; try rm dangling null pipe
    for i in $(seq 50); do mkdir -p t/$i; echo $i > t/$i/f; done; try rm -r t; for i in $(seq 20); do echo $i > c; rm c; done
    echo '-- open while it is copied up'; exec 5< e2/f10; echo changed > e2/f10; cat <&5; cat e2/f10; exec 5<&-
    perl -MFcntl -e 'sysopen(F, ".", 020200000|O_RDWR, 0600) ? print "tmpfile\n" : print "no tmpfile\n"' > /dev/null
    try sync a; sync; state .
)
"#;

/// How the layers are mounted.
const OPTIONS: &[&str] = &[
    "",
    "redirect_dir=on,metacopy=on",
    "index=on",
    "volatile",
    "xino=on",
];

/// Returns those of this run.
fn options() -> &'static [&'static str] {
    &OPTIONS[..length(2, OPTIONS.len())]
}

/// Runs a script in a mount namespace of its own, where its mounts end with it.
fn alone(file: &Path, script: &str) -> String {
    fs::write(file, script).expect("own directory");
    format!(
        "unshare --mount --propagation private bash {}",
        file.display()
    )
}

#[test]
fn as_the_upper_layer() {
    let (v, ext4) = (TestVolume::new(), Ext4::new(128));
    let root = v.mount();
    let file = v.scratch().join("script");
    let mut lines = 0;
    for options in options() {
        let script = format!(
            "{WORDS}
            lower=/mnt/lower; upper=upper; work=work
            mount -t tmpfs tmpfs /mnt; mkdir /mnt/lower upper work m; fill /mnt/lower; over '{options}'
            {STEPS}
            echo -- upper; state upper; ls -A work/work | wc -l; umount m
            over '{options}'; echo -- again; state m; try rm -r m/d m/e2; umount m; echo -- upper; state upper"
        );
        // A volatile layer is refused the second time, on both.
        let printed = same_output(&root, &ext4.root(), options, &alone(&file, &script));
        assert!(printed.contains("exchange a one = 0"), "{printed}");
        lines += printed.lines().count();
    }
    report(&format!("overlay, upper: {lines} lines as on ext4"));
}

#[test]
fn as_the_lower_layer() {
    let (v, ext4) = (TestVolume::new(), Ext4::new(128));
    let root = v.mount();
    let file = v.scratch().join("script");
    let mut lines = 0;
    for options in options() {
        let script = format!(
            "{WORDS}
            lower=second:first; upper=/mnt/upper; work=/mnt/work
            mount -t tmpfs tmpfs /mnt; mkdir /mnt/upper /mnt/work first second m; fill first
            mkdir -p second/d; echo hides > second/one; mknod second/two-linked c 0 0; setfattr -n trusted.overlay.opaque -v y second/d
            echo in > second/d/in; state first > /mnt/before; state second >> /mnt/before; over '{options}'
            {STEPS}
            echo -- upper; state /mnt/upper; umount m; state first > /mnt/after; state second >> /mnt/after
            cmp /mnt/before /mnt/after && echo the lower layers are as they were"
        );
        let printed = same_output(&root, &ext4.root(), options, &alone(&file, &script));
        assert!(printed.contains("are as they were"), "{printed}");
        lines += printed.lines().count();
    }
    report(&format!("overlay, lower: {lines} lines as on ext4"));
}

/// All layers on one mount, a second layer on top of the first one's upper, over a remount of coffer.
#[test]
fn all_layers_on_one_mount() {
    let v = TestVolume::new();
    let root = v.mount();
    let file = v.scratch().join("script");
    let go = |script: &str| {
        let line = alone(&file, &format!("{WORDS}{script}"));
        let mut c = std::process::Command::new("bash");
        c.args(["-c", &line]).current_dir(v.root());
        run(&c, 120).ok()
    };
    let made = go(&format!(
        "lower=base; upper=u1; work=w1; mkdir base u1 w1 u2 w2 m; fill base; over
        {STEPS}
        umount m; lower=u1:base; upper=u2; work=w2; over; try rm m/one; echo second > m/e2/f20; mkdir m/last; state m; umount m"
    ));
    let list = "lower=u1:base; upper=u2; work=w2; over; state m; umount m; state u1; state u2";
    let before = go(list);
    assert!(
        made.contains("overlay  = 0") && before.contains("last"),
        "{before}"
    );
    v.remount();
    assert_eq!(go(list), before);
    assert!(root.join("u2/last").is_dir());
}
