//! Space of deleted data returns to the host.

use std::time::Duration;

use crate::harness::{TestVolume, report, shell, until};

/// Fills the mount with large and small files, some alike, and empties it.
const ROUND: &str = "
    mkdir d; head -c 48M /dev/urandom > d/large; head -c 16M d/large > d/copy
    head -c 12M /dev/urandom | split -b 4k -a 4 - d/small.
    sync; rm -r d; sync";

#[test]
fn space_of_deleted_data_returns() {
    let v = TestVolume::new();
    let root = v.mount();
    let settle = || {
        let mut last = 0;
        let mut equal = 0;
        until("the volume comes to rest", Duration::from_secs(60), || {
            let now = v.allocated_bytes();
            equal = if now == last { equal + 1 } else { 0 };
            last = now;
            (equal == 150).then_some(now)
        })
    };
    for _ in 0..2 {
        shell(&root, ROUND, 120);
    }
    let second = settle();
    for _ in 2..10 {
        shell(&root, ROUND, 120);
    }
    let limit = second + second / 10;
    until("the space returns", Duration::from_secs(60), || {
        (v.allocated_bytes() <= limit).then_some(())
    });
    report(&format!(
        "space: {second} bytes after the second round, {} after the tenth",
        v.allocated_bytes()
    ));
    assert_eq!(shell(&root, "ls -A | wc -l", 10), "0\n");
    v.remount();
    until("it stays", Duration::from_secs(60), || {
        (v.allocated_bytes() <= limit).then_some(())
    });
}
