//! Neither secrets nor plaintext are seen outside the worker's memory.

use std::fs;
use std::path::Path;

use crate::harness::{PASSPHRASE, TestVolume, assert_absent, run, shell};

/// Written as contents, name, symlink target and attribute.
const CANARY: &str = "canary-5d1e77c0-plain";

/// Returns all processes of the binary that serve this volume: the worker and its parent.
fn processes(v: &TestVolume) -> Vec<u32> {
    let worker = v.worker();
    let status = fs::read_to_string(format!("/proc/{worker}/status")).expect("it runs");
    let parent = status.lines().find_map(|l| l.strip_prefix("PPid:"));
    let parent = parent
        .and_then(|p| p.trim().parse().ok())
        .expect("a number");
    if parent == 1 {
        vec![worker]
    } else {
        vec![worker, parent]
    }
}

#[test]
fn no_secret_leaves_the_worker() {
    let v = TestVolume::with(&["--label", "a-label"]);
    let root = v.mount();
    let script = format!(
        "echo {CANARY} > {CANARY}; ln -s {CANARY} link; setfattr -n user.{CANARY} -v {CANARY} {CANARY}
        mkdir {CANARY}.d; head -c 2000000 <(yes {CANARY}) > large; head -c 9000 large > small; sync"
    );
    shell(&root, &script, 60);
    for pid in processes(&v) {
        for file in ["cmdline", "environ", "comm"] {
            let bytes = fs::read(format!("/proc/{pid}/{file}")).expect("it runs");
            let text = String::from_utf8_lossy(&bytes);
            for secret in [PASSPHRASE, CANARY] {
                assert!(!text.contains(secret), "{secret} is in {file} of {pid}");
            }
        }
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
        let core = limits.lines().find(|l| l.starts_with("Max core file size"));
        let core = core.map(|l| l.split_whitespace().collect::<Vec<_>>());
        assert_eq!(
            core.and_then(|c| c.get(4).copied()),
            Some("0"),
            "core dumps of {pid}"
        );
    }
    let worker = v.worker();
    let smaps = fs::read_to_string(format!("/proc/{worker}/smaps")).expect("it runs");
    let locked = |l: &str| l.starts_with("VmFlags") && l.contains(" lo") && l.contains(" dd");
    assert!(
        smaps.contains("secretmem") || smaps.lines().any(locked),
        "no locked memory outside dumps"
    );
    v.kill_worker();
    assert_absent(v.volume(), CANARY);
    assert_absent(v.volume(), PASSPHRASE);
    v.mount();
    v.umount();
    for secret in [CANARY, PASSPHRASE] {
        assert_absent(v.volume(), secret);
        for dir in ["/run/coffer", "/var/lib/coffer"] {
            if Path::new(dir).exists() {
                assert_absent(Path::new(dir), secret);
            }
        }
    }
}

#[test]
fn memory_of_the_worker_is_not_dumped() {
    let v = TestVolume::new();
    v.mount();
    let worker = v.worker();
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").expect("/proc is mounted");
    let mut quit = std::process::Command::new("kill");
    quit.args(["-ABRT", &worker.to_string()]);
    run(&quit, 10).ok();
    crate::harness::until("the mount goes", std::time::Duration::from_secs(20), || {
        (!v.is_mounted()).then_some(())
    });
    for dir in ["/", "/tmp", env!("CARGO_MANIFEST_DIR")] {
        let core = Path::new(dir).join("core");
        let numbered = Path::new(dir).join(format!("core.{worker}"));
        assert!(
            !core.exists() && !numbered.exists(),
            "a core of {worker}: {pattern}"
        );
    }
    v.mount();
}
