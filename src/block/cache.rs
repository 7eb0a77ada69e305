//! The cache of opened frames, for reads of parts of them.
//!
//! A name stands for its content for ever, so nothing in here goes stale. Two halves: when the young
//! one is full it becomes the old one, and what was not used since is forgotten.

use std::collections::HashMap;

use crate::base::ContentId;
use crate::base::sync::{Arc, Mutex};

type Key = (ContentId, u8);

#[derive(Default)]
struct Halves {
    young: HashMap<Key, Arc<[u8]>>,
    young_bytes: usize,
    old: HashMap<Key, Arc<[u8]>>,
}

/// Opened frames.
pub(super) struct FrameCache {
    half_bytes: usize,
    halves: Mutex<Halves>,
}

impl FrameCache {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            half_bytes: max_bytes / 2,
            halves: Mutex::default(),
        }
    }

    /// Returns a frame.
    pub(super) fn get(&self, id: &ContentId, index: u8) -> Option<Arc<[u8]>> {
        let key = (*id, index);
        let mut halves = self.halves.lock();
        if let Some(frame) = halves.young.get(&key) {
            return Some(Arc::clone(frame));
        }
        let frame = halves.old.remove(&key)?;
        halves.insert(key, Arc::clone(&frame), self.half_bytes);
        Some(frame)
    }

    /// Keeps a frame for a while.
    pub(super) fn insert(&self, id: &ContentId, index: u8, frame: Arc<[u8]>) {
        let mut halves = self.halves.lock();
        halves.insert((*id, index), frame, self.half_bytes);
    }
}

impl Halves {
    fn insert(&mut self, key: Key, frame: Arc<[u8]>, half_bytes: usize) {
        if frame.len() > half_bytes {
            return;
        }
        if self.young_bytes + frame.len() > half_bytes {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += frame.len();
        if let Some(before) = self.young.insert(key, frame) {
            self.young_bytes -= before.len();
        }
    }
}
