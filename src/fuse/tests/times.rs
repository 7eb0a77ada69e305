//! Times keep their value between the kernel, fuser and us, before 1970 too.

use std::time::{Duration, UNIX_EPOCH};

use super::super::attributes::timestamp;
use crate::base::Timestamp;

#[test]
fn times_before_1970_survive_what_fuser_makes_of_them() {
    // The kernel sends secs = -2, nanos = 800_000_000 for 1.2 s before 1970; fuser subtracts both.
    let from_fuser = UNIX_EPOCH - Duration::new(2, 800_000_000);
    let expected = Timestamp {
        secs: -2,
        nanos: 800_000_000,
    };
    assert_eq!(timestamp(from_fuser), expected);
}

#[test]
fn times_after_1970_stay_as_they_are() {
    let expected = Timestamp { secs: 5, nanos: 7 };
    assert_eq!(timestamp(UNIX_EPOCH + Duration::new(5, 7)), expected);
    let epoch = Timestamp { secs: 0, nanos: 0 };
    assert_eq!(timestamp(UNIX_EPOCH), epoch);
}
