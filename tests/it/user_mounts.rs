//! Mounts of users who are not root: with fusermount3, and as root of their own user namespace.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::{Outcome, PASSPHRASE, run};

/// The words of the scripts: `coffer`, and a check that says what has failed.
const WORDS: &str = r#"
set -euo pipefail; export LC_ALL=C
coffer() { "$COFFER" "$@"; }
check() { "$@" || { echo "failed: $*" >&2; exit 1; }; }
mounted() { grep -q " $PWD/mnt " /proc/self/mountinfo; }
"#;

/// A life of a volume: made, mounted, used, unmounted, mounted again.
const LIFE: &str = r#"
umask 077; mkdir mnt run; export XDG_RUNTIME_DIR=$PWD/run
coffer init --secret file:secret --kdf m=64,t=1,p=1 volume
coffer mount --secret file:secret volume mnt; check mounted
check test "$(stat -c %u mnt)" = "$(id -u)"
cd mnt; echo kept > f; mkdir -p d/e; head -c 3000000 /dev/urandom > d/big; sum=$(sha256sum < d/big); ln f g; ln -s f s; mkfifo p
chmod 4755 f; check test "$(stat -c %a f)" = 4755; setfattr -n user.a -v 1 f; setfacl -m u:0:r f; check test "$(stat -c %h f)" = 2
sync f; mv d/e d/e2; cp -a /etc/ssl . 2> /dev/null || true; check diff -r /etc/ssl/certs ssl/certs > /dev/null; rm -rf ssl; cd ..
coffer sync mnt; coffer list | grep -q "$PWD/mnt"; coffer info mnt > /dev/null
coffer umount mnt; check test ! -e mnt/f; ! mounted
coffer mount --secret file:secret volume mnt; check mounted
check test "$(cat mnt/g)" = kept; check test "$(sha256sum < mnt/d/big)" = "$sum"; check test -d mnt/d/e2
check test "$(getfattr --only-values -n user.a mnt/f)" = 1; check getfacl -cn mnt/f | grep -q user:0:r--
coffer umount mnt; ! mounted
coffer mount --secret file:secret -o ro volume mnt; check mounted; ! touch mnt/new 2> /dev/null; check test "$(cat mnt/f)" = kept
coffer umount mnt; ! mounted
"#;

/// A user of every Debian: fusermount3 wants one with a name.
const GAMES: u32 = 5;

/// A directory of a user; the scripts run in it.
struct Home {
    dir: TempDir,
    uid: u32,
}

impl Home {
    fn of(uid: u32) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("coffer-user-")
            .tempdir()
            .expect("a directory for the test");
        let secret = dir.path().join("secret");
        fs::write(&secret, format!("{PASSPHRASE}\n")).expect("own directory");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&secret, mode).expect("own directory");
        let binary = dir.path().join("coffer");
        fs::copy(env!("CARGO_BIN_EXE_coffer"), &binary).expect("the target may be out of sight");
        for path in [dir.path(), &secret, &binary] {
            std::os::unix::fs::chown(path, Some(uid), Some(uid)).expect("root may");
        }
        Self { dir, uid }
    }

    fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, format!("{WORDS}{text}")).expect("own directory");
        path
    }

    /// Runs a script as the user, in a mount namespace where anybody may open /dev/fuse, as on a host
    /// with udev; `first` is put before it there.
    fn run(&self, first: &[&str], text: &str) -> Outcome {
        let script = self.script("script", text);
        let enter = "mount -t tmpfs -o dev tmpfs /mnt && mknod -m 666 /mnt/fuse c 10 229 &&
            mount --bind /mnt/fuse /dev/fuse && exec \"$@\"";
        let uid = self.uid.to_string();
        let mut c = Command::new("unshare");
        c.args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            enter,
            "sh",
        ]);
        c.args([
            "setpriv",
            "--reuid",
            &uid,
            "--regid",
            &uid,
            "--clear-groups",
        ]);
        c.args(first).arg("bash").arg(script);
        c.current_dir(self.dir.path());
        c.env("COFFER", self.dir.path().join("coffer"));
        c.env("HOME", self.dir.path()).env_remove("XDG_RUNTIME_DIR");
        run(&c, 120)
    }
}

#[test]
fn a_user_mounts_with_fusermount3() {
    let home = Home::of(GAMES);
    home.run(&[], &format!("{LIFE}\necho done")).ok();
}

#[test]
fn a_user_without_a_runtime_directory_is_told() {
    let home = Home::of(GAMES);
    let script = "mkdir mnt; coffer init --secret file:secret --kdf m=64,t=1,p=1 volume
        coffer mount --secret file:secret volume mnt";
    let failed = home.run(&[], script);
    failed.fails(1, &["XDG_RUNTIME_DIR"]);
}

#[test]
fn allow_other_needs_the_word_of_the_host() {
    let home = Home::of(GAMES);
    let script = "mkdir mnt run; export XDG_RUNTIME_DIR=$PWD/run; chmod 700 run
        coffer init --secret file:secret --kdf m=64,t=1,p=1 volume
        if coffer mount --secret file:secret -o allow_other volume mnt 2> refusal; then
            grep -q '^ *user_allow_other' /etc/fuse.conf; coffer umount mnt
        else
            cat refusal; grep -q user_allow_other refusal; ! mounted
        fi";
    home.run(&[], script).ok();
}

/// As rootless container engines do it: the mount is the upper layer of an overlayfs of the user's own.
#[test]
fn the_root_of_a_user_namespace_mounts() {
    let home = Home::of(GAMES);
    let unshare = ["unshare", "--user", "--map-root-user", "--mount"];
    let overlay = r#"
        coffer mount --secret file:secret volume mnt; mkdir mnt/u mnt/w lower m; echo low > lower/f; mkdir lower/d; echo x > lower/d/x
        over() { mount -t overlay -o userxattr,lowerdir=lower,upperdir=mnt/u,workdir=mnt/w overlay m; }
        over; echo more >> m/f; mv m/d/x m/y; rm -r m/d; mkdir m/d; ln m/f m/g; check test -z "$(ls -A m/d)"; umount m
        coffer umount mnt; coffer mount --secret file:secret volume mnt
        over; check test "$(cat m/g)" = "low
more"; check test -z "$(ls -A m/d)"; check test "$(cat m/y)" = x; umount m; check test "$(cat lower/f)" = low; coffer umount mnt
    "#;
    home.run(&unshare, &format!("{LIFE}{overlay}")).ok();
}
