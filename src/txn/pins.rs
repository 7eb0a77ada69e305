//! Reader pins: who may still look at a location that has died.

use std::collections::BTreeMap;

use crate::base::sync::{Arc, Mutex};

/// The readers of a volume, by the newest durable group when they began.
pub struct Pins {
    inner: Mutex<Inner>,
}

struct Inner {
    durable: u64,
    readers: BTreeMap<u64, usize>,
}

impl Pins {
    pub(super) fn new(durable: u64) -> Self {
        Self {
            inner: Mutex::new(Inner {
                durable,
                readers: BTreeMap::new(),
            }),
        }
    }

    pub(super) fn set_durable(&self, group: u64) {
        self.inner.lock().durable = group;
    }

    pub(super) fn pin(pins: &Arc<Self>) -> ReaderPin {
        let mut inner = pins.inner.lock();
        let at = inner.durable;
        *inner.readers.entry(at).or_insert(0) += 1;
        ReaderPin {
            pins: Arc::clone(pins),
            at,
        }
    }

    /// Whether `group` is durable and every reader began after it was.
    pub(super) fn all_after(&self, group: u64) -> bool {
        let inner = self.inner.lock();
        inner.durable >= group
            && inner
                .readers
                .keys()
                .next()
                .is_none_or(|first| *first >= group)
    }
}

/// Keeps every location alive that lived when it was taken.
pub struct ReaderPin {
    pins: Arc<Pins>,
    at: u64,
}

impl Drop for ReaderPin {
    fn drop(&mut self) {
        let mut inner = self.pins.inner.lock();
        if let Some(n) = inner.readers.get_mut(&self.at) {
            *n -= 1;
            if *n == 0 {
                inner.readers.remove(&self.at);
            }
        }
    }
}
