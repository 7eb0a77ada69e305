//! A volume under test: made, mounted, unmounted, killed and mounted again with the real binary.
//!
//! Every command has a time limit. What a test leaves mounted is unmounted when it ends, also when
//! it fails. Nothing is skipped: a machine without `/dev/fuse` or without a program fails the test.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The passphrase of every volume under test.
pub const PASSPHRASE: &str = "correct horse battery staple";

/// A key derivation that takes no time; never for data of value.
const QUICK_KDF: &str = "m=64,t=1,p=1";

/// How long a command of coffer may take, in seconds.
const LIMIT_S: u64 = 60;

/// What a command did.
pub struct Outcome {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// Returns what it printed, or fails the test when the command failed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "\n{}\n{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Asserts the exit code and that each of `words` stands in the message.
    #[track_caller]
    pub fn fails(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "\n{}\n{}", self.stdout, self.stderr);
        for w in words {
            assert!(self.stderr.contains(w), "{w:?} is not in {}", self.stderr);
        }
        self
    }
}

/// Runs a program to its end, for `limit_s` seconds at most.
#[track_caller]
pub fn run(command: &Command, limit_s: u64) -> Outcome {
    let out = tempfile::NamedTempFile::new().expect("a file for output");
    let err = tempfile::NamedTempFile::new().expect("a file for errors");
    let name = command.get_program().to_string_lossy().into_owned();
    let mut limited = Command::new("timeout");
    limited
        .args(["--kill-after=5", &limit_s.to_string()])
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null())
        .stdout(out.reopen().expect("the file is there"))
        .stderr(err.reopen().expect("the file is there"));
    if let Some(dir) = command.get_current_dir() {
        limited.current_dir(dir);
    }
    for (key, value) in command.get_envs() {
        match value {
            Some(v) => limited.env(key, v),
            None => limited.env_remove(key),
        };
    }
    let status = limited.status().expect("timeout(1) is there");
    let read = |f: &Path| String::from_utf8_lossy(&fs::read(f).unwrap_or_default()).into_owned();
    let outcome = Outcome {
        code: status.code(),
        stdout: read(out.path()),
        stderr: read(err.path()),
    };
    assert!(
        !matches!(outcome.code, Some(124 | 137)),
        "{name} took longer than {limit_s} s\n{}\n{}",
        outcome.stdout,
        outcome.stderr
    );
    outcome
}

/// Runs a shell script in a directory, for `limit_s` seconds at most, and returns what it printed.
#[track_caller]
pub fn shell(dir: &Path, script: &str, limit_s: u64) -> String {
    let mut command = Command::new("bash");
    command
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(dir);
    run(&command, limit_s).ok()
}

/// Prints a line of figures, also when the test passes.
pub fn report(line: &str) {
    // Not a print macro: those are kept back when a test passes.
    writeln!(std::io::stderr(), "{line}").expect("stderr is open");
}

/// Returns how much a test does: `short` in the gate, `long` under `.ci/long`.
pub fn length<T>(short: T, long: T) -> T {
    if std::env::var_os("COFFER_TEST_LONG").is_some() {
        long
    } else {
        short
    }
}

/// Asserts that no file below `dir` holds `needle`, plain, reversed, in hex or as UTF-16.
#[track_caller]
pub fn assert_absent(dir: &Path, needle: &str) {
    let hex = needle
        .bytes()
        .map(|b| format!("{b:02x}"))
        .collect::<String>();
    let shapes: [Vec<u8>; 5] = [
        needle.bytes().collect(),
        needle.bytes().rev().collect(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        needle.bytes().flat_map(|b| [b, 0]).collect(),
    ];
    for entry in fs::read_dir(dir).expect("the directory can be read") {
        let path = entry.expect("the directory can be read").path();
        if path.is_dir() {
            assert_absent(&path, needle);
        } else if path.is_file() {
            let bytes = fs::read(&path).expect("files can be read");
            for s in &shapes {
                let found = bytes.windows(s.len()).any(|w| w == s);
                assert!(!found, "{needle} is in {}", path.display());
            }
        }
    }
}

/// Returns the command `coffer` with these arguments.
pub fn coffer<I: AsRef<OsStr>>(args: impl IntoIterator<Item = I>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coffer"));
    command.args(args);
    command
}

/// Asks again and again until `probe` has an answer; fails the test after `limit`.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A volume in a directory of its own.
pub struct TestVolume {
    dir: TempDir,
    volume: PathBuf,
}

impl TestVolume {
    /// Creates a volume with a quick key derivation.
    #[track_caller]
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// Creates a volume with these arguments of `coffer init`.
    #[track_caller]
    pub fn with(init: &[&str]) -> Self {
        Self::make(None, init)
    }

    /// The same with the volume in this place; one that is there already is taken as it is.
    #[track_caller]
    pub fn in_place(volume: &Path, init: &[&str]) -> Self {
        Self::make(Some(volume), init)
    }

    #[track_caller]
    fn make(volume: Option<&Path>, init: &[&str]) -> Self {
        assert!(Path::new("/dev/fuse").exists(), "/dev/fuse is missing");
        let dir = tempfile::Builder::new()
            .prefix("coffer-it-")
            .tempdir()
            .expect("a directory for the test");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("own directory");
        let secret = dir.path().join("secret");
        fs::write(&secret, format!("{PASSPHRASE}\n")).expect("own directory");
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("own directory");
        fs::create_dir(dir.path().join("mnt")).expect("own directory");
        let volume = volume.map_or_else(|| dir.path().join("volume"), Path::to_path_buf);
        let new = Self { dir, volume };
        if new.volume.exists() {
            return new;
        }
        let secret = new.secret();
        let mut command = coffer(["init", "--secret", &secret]);
        if !init.contains(&"--kdf") {
            command.args(["--kdf", QUICK_KDF]);
        }
        command.args(init).arg(&new.volume);
        run(&command, LIMIT_S).ok();
        new
    }

    /// Returns a directory for what belongs to the test and not to the volume.
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the volume directory.
    pub fn volume(&self) -> &Path {
        &self.volume
    }

    /// Returns the mount point.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }

    /// Returns the source of the passphrase, as `--secret` takes it.
    pub fn secret(&self) -> String {
        format!("file:{}", self.dir.path().join("secret").display())
    }

    /// Runs `coffer mount` with these options and returns what happened.
    #[track_caller]
    pub fn try_mount(&self, options: &[&str]) -> Outcome {
        let secret = self.secret();
        let mut command = coffer(["mount", "--secret", &secret]);
        command.args(options).arg(&self.volume).arg(self.root());
        run(&command, LIMIT_S)
    }

    /// Mounts the volume and returns the mount point.
    #[track_caller]
    pub fn mount(&self) -> PathBuf {
        self.try_mount(&[]).ok();
        assert!(self.is_mounted(), "mount has returned too early");
        self.root()
    }

    /// Unmounts the volume. A process that another test starts holds for a moment what was open here
    /// when it was forked: nobody can be named then, and a second try succeeds.
    #[track_caller]
    pub fn umount(&self) {
        let mut command = coffer(["umount"]);
        command.arg(self.root());
        let ended = until("umount", Duration::from_secs(60), || {
            let ended = run(&command, LIMIT_S);
            let is_passing = ended
                .stderr
                .contains("processes that this user may not see");
            (!is_passing).then_some(ended)
        });
        ended.ok();
        assert!(!self.is_mounted(), "umount has returned too early");
    }

    /// Unmounts and mounts again.
    #[track_caller]
    pub fn remount(&self) -> PathBuf {
        self.umount();
        self.mount()
    }

    /// Moves the volume directory to another place.
    #[track_caller]
    pub fn relocate(&mut self) {
        let elsewhere = self.dir.path().join("elsewhere").join("moved");
        fs::create_dir_all(elsewhere.parent().expect("it has one")).expect("own directory");
        fs::rename(&self.volume, &elsewhere).expect("own directory");
        self.volume = elsewhere;
    }

    /// Returns what `coffer info --json` says about the mounted volume.
    #[track_caller]
    pub fn info(&self) -> Value {
        let mut command = coffer(["info", "--json"]);
        command.arg(self.root());
        serde_json::from_str(&run(&command, LIMIT_S).ok()).expect("info prints one document")
    }

    /// Returns the id of the volume.
    #[track_caller]
    pub fn id(&self) -> String {
        let mut command = coffer(["info", "--json"]);
        command.arg(&self.volume);
        let printed = run(&command, LIMIT_S).ok();
        let info: Value = serde_json::from_str(&printed).expect("info prints one document");
        let id = info["volume_id"].as_str();
        id.unwrap_or_else(|| panic!("no id in {info}")).to_owned()
    }

    /// Returns the process that serves the mount.
    #[track_caller]
    pub fn worker(&self) -> u32 {
        let info = self.info();
        let pid = info["mount"]["pid"]
            .as_u64()
            .and_then(|p| p.try_into().ok());
        pid.unwrap_or_else(|| panic!("no worker in {info}"))
    }

    /// Kills the worker with SIGKILL and waits until its mount is gone.
    #[track_caller]
    pub fn kill_worker(&self) {
        let pid = self.worker().to_string();
        run(Command::new("kill").args(["-KILL", &pid]), LIMIT_S).ok();
        until(
            "the mount of a dead worker goes",
            Duration::from_secs(20),
            || (!self.is_mounted() && !Path::new("/proc").join(&pid).exists()).then_some(()),
        );
    }

    /// Returns true while something is mounted on the mount point.
    pub fn is_mounted(&self) -> bool {
        let root = self.root();
        fs::read_to_string("/proc/self/mountinfo")
            .expect("/proc is mounted")
            .lines()
            .any(|l| l.split(' ').nth(4).is_some_and(|m| Path::new(m) == root))
    }

    /// Returns the bytes that the volume directory takes on its disk.
    #[track_caller]
    pub fn allocated_bytes(&self) -> u64 {
        let mut du = Command::new("du");
        du.args(["--summarize", "--block-size=1"]).arg(&self.volume);
        let printed = run(&du, LIMIT_S).ok();
        let bytes = printed
            .split_whitespace()
            .next()
            .and_then(|n| n.parse().ok());
        bytes.unwrap_or_else(|| panic!("du printed {printed}"))
    }
}

impl Drop for TestVolume {
    fn drop(&mut self) {
        if !self.is_mounted() {
            return;
        }
        let root = self.root();
        let mut umount = Command::new("timeout");
        umount
            .args([
                "--kill-after=5",
                "30",
                env!("CARGO_BIN_EXE_coffer"),
                "umount",
            ])
            .arg(&root)
            .stderr(Stdio::null());
        let done = umount.status().is_ok_and(|s| s.success());
        if !done || self.is_mounted() {
            let mut detach = Command::new("umount");
            detach.arg("--lazy").arg(&root);
            if let Err(e) = detach.status() {
                eprintln!("{} stays mounted: {e}", root.display());
            }
        }
    }
}
