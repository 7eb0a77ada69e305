//! What a hardened process has given up, seen in a process of its own: it cannot be undone.

use std::process::Command;

use super::*;

/// Tells the process started by the test below what it is.
const CHILD: &str = "COFFER_TEST_HARDENED";

#[test]
fn a_hardened_process_has_nothing_to_show_or_gain() {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "base::hardening::tests::the_hardened_process"])
        .args(["--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .expect("a process");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("hardened"), "{text}");
}

/// Not a test: what the one above runs in a process of its own. Without it, it does nothing.
#[test]
fn the_hardened_process() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    deny_inspection().expect("never refused");
    drop_capabilities().expect("never refused");
    let dumpable = rustix::process::dumpable_behavior().expect("Linux");
    assert_eq!(dumpable, DumpableBehavior::NotDumpable);
    let core = rustix::process::getrlimit(Resource::Core);
    assert_eq!((core.current, core.maximum), (Some(0), Some(0)));
    // Threads that start later, as all of a worker do, inherit the rest.
    let status = std::thread::spawn(|| std::fs::read_to_string("/proc/thread-self/status"));
    let status = status.join().expect("no panic").expect("procfs");
    let field = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name));
        line.expect("the kernel tells it").trim().to_owned()
    };
    assert_eq!(field("NoNewPrivs:"), "1");
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    println!("hardened");
}
