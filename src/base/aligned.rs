//! A byte buffer whose first byte lies on a border that direct I/O accepts.

/// Border of address, offset and length that direct I/O needs, in bytes.
pub const DIRECT_IO_ALIGN: usize = 4096;

/// A growable run of bytes in an allocation of fixed size that starts on a [`DIRECT_IO_ALIGN`] border.
///
/// It never reallocates: that would move the first byte off its border.
pub struct AlignedBuf {
    raw: Vec<u8>,
    start: usize,
    len: usize,
    capacity: usize,
}

impl AlignedBuf {
    /// Returns an empty buffer with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let raw = vec![0; capacity + DIRECT_IO_ALIGN - 1];
        let start = raw.as_ptr().align_offset(DIRECT_IO_ALIGN);
        assert!(
            start < DIRECT_IO_ALIGN,
            "a byte pointer can be aligned within one border"
        );
        Self {
            raw,
            start,
            len: 0,
            capacity,
        }
    }

    /// Returns the bytes in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true if no byte is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the bytes it has room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns the bytes that can still be added.
    #[must_use]
    pub fn room(&self) -> usize {
        self.capacity - self.len
    }

    /// Adds as much of `data` as there is room for and returns how many bytes that was.
    pub fn append(&mut self, data: &[u8]) -> usize {
        let n = data.len().min(self.room());
        let at = self.start + self.len;
        for (to, from) in self.raw.get_mut(at..at + n).into_iter().zip(data.get(..n)) {
            to.copy_from_slice(from);
        }
        self.len += n;
        n
    }

    /// Sets the bytes in use to `len`; new ones are zero.
    ///
    /// # Panics
    /// When there is no room for so many.
    pub fn resize(&mut self, len: usize) {
        assert!(len <= self.capacity, "the buffer never grows");
        let (from, to) = (self.start + self.len, self.start + len);
        if let Some(new) = self.raw.get_mut(from..to) {
            new.fill(0);
        }
        self.len = len;
    }

    /// Forgets all bytes and keeps the allocation.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

impl std::ops::Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.raw
            .get(self.start..self.start + self.len)
            .expect("start + capacity lies inside the allocation")
    }
}

impl std::ops::DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.raw
            .get_mut(self.start..self.start + self.len)
            .expect("start + capacity lies inside the allocation")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_on_a_border_and_keeps_it() {
        for capacity in [0, 1, 4096, 1 << 20] {
            let mut b = AlignedBuf::with_capacity(capacity);
            assert_eq!(b.append(&vec![7; capacity + 5]), capacity);
            assert_eq!(b.room(), 0);
            assert_eq!(b.len(), capacity);
            assert!(b.iter().all(|x| *x == 7));
            let moved = b;
            assert_eq!(moved.as_ptr().align_offset(DIRECT_IO_ALIGN), 0);
        }
    }

    #[test]
    fn resize_zeroes_what_it_adds() {
        let mut b = AlignedBuf::with_capacity(64);
        assert_eq!(b.append(&[9; 40]), 40);
        b.resize(10);
        b.resize(20);
        assert_eq!(b.get(..10), Some(&[9; 10][..]));
        assert_eq!(b.get(10..), Some(&[0; 10][..]));
        b.clear();
        assert!(b.is_empty());
    }
}
