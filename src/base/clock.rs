//! The clock: the only way to the time of day.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// A point in time: seconds since 1970-01-01T00:00:00Z (may be negative) and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Timestamp {
    /// Whole seconds since the epoch, rounded towards minus infinity.
    pub secs: i64,
    /// Nanoseconds after `secs`, 0..1_000_000_000.
    pub nanos: u32,
}

impl Timestamp {
    /// Returns the time `nanos` nanoseconds later, less than a second.
    #[must_use]
    pub fn after(self, nanos: u32) -> Self {
        let nanos = self.nanos.saturating_add(nanos);
        Self {
            secs: self.secs.saturating_add(i64::from(nanos / 1_000_000_000)),
            nanos: nanos % 1_000_000_000,
        }
    }
}

impl From<SystemTime> for Timestamp {
    fn from(t: SystemTime) -> Self {
        match t.duration_since(UNIX_EPOCH) {
            Ok(d) => Self {
                secs: i64::try_from(d.as_secs()).unwrap_or(i64::MAX),
                nanos: d.subsec_nanos(),
            },
            Err(e) => {
                let d = e.duration();
                let secs = i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
                match d.subsec_nanos() {
                    0 => Self {
                        secs: -secs,
                        nanos: 0,
                    },
                    n => Self {
                        secs: -secs - 1,
                        nanos: 1_000_000_000 - n,
                    },
                }
            }
        }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(t: Timestamp) -> Self {
        let nanos = Duration::from_nanos(u64::from(t.nanos));
        if t.secs >= 0 {
            UNIX_EPOCH + Duration::from_secs(t.secs.unsigned_abs()) + nanos
        } else {
            UNIX_EPOCH - Duration::from_secs(t.secs.unsigned_abs()) + nanos
        }
    }
}

/// Tells the time; tests put their own in its place.
pub trait Clock: Send + Sync {
    /// Returns the time of day.
    fn now(&self) -> Timestamp;
    /// Returns a time that only goes forward, for intervals.
    fn monotonic(&self) -> Instant;
}

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    /// The time of the last tick, as the kernel stamps what it caches for us: a finer one would let
    /// a file that was made first look younger than one written after it.
    fn now(&self) -> Timestamp {
        let now = clock_gettime(ClockId::RealtimeCoarse);
        Timestamp {
            secs: now.tv_sec,
            nanos: u32::try_from(now.tv_nsec).expect("less than a second"),
        }
    }

    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}
