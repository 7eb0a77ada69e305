//! Memory that never reaches a disk, and memory given back: the one file with `unsafe`.
//!
//! [`Locked`] and [`LockedBytes`] live in pages from memfd_secret(2): outside the kernel's direct
//! map, never swapped, unreadable through ptrace or /proc/PID/mem. Where the kernel refuses that,
//! they live in private pages under mlock(2), `MADV_DONTDUMP` and `MADV_WIPEONFORK`. Invariants:
//! * bytes are zero before their first owner sees them and are wiped when it goes;
//! * a cell belongs to one owner at a time; the bitmap of its page says so;
//! * a child of fork(2) never shares them: it finds no mapping, or zeros. Unlock after forking.
//!
//! Lock: `SLAB` is a leaf, held for a few instructions and one mmap(2) or munmap(2).

#![expect(
    unsafe_code,
    reason = "memory that the allocator does not know needs raw mappings"
)]

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{NonNull, null_mut};
use std::slice;

use rustix::mm::{Advice, MapFlags, MlockFlags, ProtFlags};
use thiserror::Error;
use zeroize::Zeroize;

use super::sync::Mutex;

/// Bytes of a cell, the unit of small allocations: a cache line, and more than any alignment asked.
const CELL_BYTES: usize = 64;

/// Cells that share a page: one bit each in [`Page::used`], and 4096 bytes, the smallest page.
const PAGE_CELLS: usize = 64;

/// Longest secret: the largest key file and its end.
const MAX_BYTES: usize = 1 << 20;

/// The operating system gives no memory that stays off the disk.
#[derive(Debug, Error)]
#[error("no locked memory for secrets (see RLIMIT_MEMLOCK, `ulimit -l`)")]
pub struct LockedMemoryError(#[source] std::io::Error);

/// A page of cells.
struct Page {
    base: NonNull<u8>,
    used: u64,
}

// SAFETY: the pointer is only a number here; whoever owns a cell is the only one to use its bytes,
// and the mapping is not tied to a thread.
unsafe impl Send for Page {}

/// Every page of cells. Pages with no cell in use are unmapped, so an idle process holds none.
static SLAB: Mutex<Vec<Page>> = Mutex::new(Vec::new());

fn page_bytes() -> usize {
    rustix::param::page_size()
}

/// Bytes locked in memory, zero at first, wiped at the end.
struct Cells {
    at: NonNull<u8>,
    cells: usize,
}

// SAFETY: `Cells` owns its bytes alone, as a box would, and gives them out by the borrow rules.
unsafe impl Send for Cells {}
// SAFETY: `&Cells` only reads.
unsafe impl Sync for Cells {}

impl Cells {
    fn new(bytes: usize) -> Result<Self, LockedMemoryError> {
        assert!(bytes <= MAX_BYTES, "a secret is at most a key file");
        let cells = bytes.div_ceil(CELL_BYTES).max(1);
        let at = if cells > PAGE_CELLS {
            map_locked(cells * CELL_BYTES)?
        } else {
            take_cells(&mut SLAB.lock(), cells)?
        };
        Ok(Self { at, cells })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: `at` points to `cells` initialised cells that only `self` owns; the borrow of
        // `self` keeps them mapped and unwritten.
        unsafe { slice::from_raw_parts(self.at.as_ptr(), self.cells * CELL_BYTES) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; the exclusive borrow of `self` makes this the only reference.
        unsafe { slice::from_raw_parts_mut(self.at.as_ptr(), self.cells * CELL_BYTES) }
    }
}

impl Drop for Cells {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        if self.cells > PAGE_CELLS {
            unmap(self.at, self.cells * CELL_BYTES);
        } else {
            give_cells(&mut SLAB.lock(), self.at, self.cells);
        }
    }
}

/// Returns the bits of `n` cells from the first on.
fn run_of(n: usize) -> u64 {
    u64::MAX >> (PAGE_CELLS - n)
}

fn take_cells(slab: &mut Vec<Page>, n: usize) -> Result<NonNull<u8>, LockedMemoryError> {
    for page in slab.iter_mut() {
        let free = (0..=PAGE_CELLS - n).find(|i| page.used & (run_of(n) << i) == 0);
        if let Some(i) = free {
            page.used |= run_of(n) << i;
            // SAFETY: the page has PAGE_CELLS cells, and i + n <= PAGE_CELLS.
            return Ok(unsafe { page.base.add(i * CELL_BYTES) });
        }
    }
    let base = map_locked(page_bytes())?;
    slab.push(Page {
        base,
        used: run_of(n),
    });
    Ok(base)
}

fn give_cells(slab: &mut Vec<Page>, at: NonNull<u8>, n: usize) {
    let within = |p: &Page| {
        let offset = at.as_ptr().addr().wrapping_sub(p.base.as_ptr().addr());
        (offset < PAGE_CELLS * CELL_BYTES).then_some(offset / CELL_BYTES)
    };
    let (ix, cell) = slab
        .iter()
        .enumerate()
        .find_map(|(ix, p)| Some((ix, within(p)?)))
        .expect("every cell came from a page of the slab");
    let page = &mut slab[ix];
    page.used &= !(run_of(n) << cell);
    if page.used == 0 {
        let page = slab.swap_remove(ix);
        unmap(page.base, page_bytes());
    }
}

/// Maps `bytes` zero bytes of the best memory the kernel gives.
fn map_locked(bytes: usize) -> Result<NonNull<u8>, LockedMemoryError> {
    map_secret(bytes)
        .or_else(|_| map_mlocked(bytes))
        .map_err(|e| LockedMemoryError(e.into()))
}

fn map_secret(bytes: usize) -> rustix::io::Result<NonNull<u8>> {
    // SAFETY: memfd_secret takes one integer and returns a new descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    let fd = i32::try_from(fd)
        .ok()
        .filter(|fd| *fd >= 0)
        .ok_or(rustix::io::Errno::NOSYS)?;
    // SAFETY: the descriptor is new and owned by nobody else.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let len = u64::try_from(bytes).expect("a secret is far below 2^64 bytes");
    rustix::fs::ftruncate(&fd, len)?;
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
    let at = unsafe {
        rustix::mm::mmap(
            null_mut(),
            bytes,
            protection,
            MapFlags::SHARED,
            fd.as_fd(),
            0,
        )?
    };
    let at = NonNull::new(at.cast::<u8>()).expect("mmap never returns null without MAP_FIXED");
    // A shared mapping would let a child of fork(2) read and wipe it: the child gets none.
    // SAFETY: the range is the mapping just made; the advice changes no byte of it.
    match unsafe { rustix::mm::madvise(at.as_ptr().cast(), bytes, Advice::LinuxDontFork) } {
        Ok(()) => Ok(at),
        Err(e) => {
            unmap(at, bytes);
            Err(e)
        }
    }
}

/// Returns true if the kernel gives memory that nobody but its process can read.
#[must_use]
pub fn secret_memory_available() -> bool {
    map_secret(page_bytes())
        .map(|at| unmap(at, page_bytes()))
        .is_ok()
}

/// Returns a descriptor of its own for what a caller left open under `number`, and keeps both from
/// programs that this process starts.
///
/// # Errors
/// When nothing is open there.
pub fn inherited_descriptor(number: i32) -> std::io::Result<OwnedFd> {
    if number < 0 {
        return Err(rustix::io::Errno::BADF.into());
    }
    // SAFETY: the number is not -1, and the borrow ends with this function, which closes nothing;
    // if nothing is open there the kernel says so.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC)?;
    Ok(rustix::io::fcntl_dupfd_cloexec(borrowed, 3)?)
}

fn map_mlocked(bytes: usize) -> rustix::io::Result<NonNull<u8>> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
    let at =
        unsafe { rustix::mm::mmap_anonymous(null_mut(), bytes, protection, MapFlags::PRIVATE)? };
    let at = NonNull::new(at.cast::<u8>()).expect("mmap never returns null without MAP_FIXED");
    let prepare = || {
        let p = at.as_ptr().cast();
        // SAFETY: the range is the mapping just made; none of the calls changes a byte of it here.
        unsafe {
            rustix::mm::madvise(p, bytes, Advice::LinuxDontDump)?;
            rustix::mm::madvise(p, bytes, Advice::LinuxWipeOnFork)?;
            rustix::mm::mlock_with(p, bytes, MlockFlags::empty())
        }
    };
    prepare().inspect_err(|_| unmap(at, bytes))?;
    Ok(at)
}

fn unmap(at: NonNull<u8>, bytes: usize) {
    // SAFETY: the caller owns the whole mapping and uses it no more.
    let done = unsafe { rustix::mm::munmap(at.as_ptr().cast(), bytes) };
    debug_assert!(done.is_ok());
}

/// A value in locked memory: a box that never reaches a disk and is wiped at the end.
///
/// It has no `Debug` and no `Clone`. The value is moved in through the stack: build it on a thread
/// that scrubs its own.
pub struct Locked<T> {
    cells: Cells,
    value: PhantomData<T>,
}

impl<T> Locked<T> {
    /// Moves a value into locked memory.
    ///
    /// # Errors
    /// When the operating system gives no such memory.
    pub fn new(value: T) -> Result<Self, LockedMemoryError> {
        const { assert!(align_of::<T>() <= CELL_BYTES) };
        let cells = Cells::new(size_of::<T>())?;
        // SAFETY: the cells hold at least size_of::<T>() bytes, aligned for it, owned by us alone.
        unsafe { cells.at.cast::<T>().write(value) };
        Ok(Self {
            cells,
            value: PhantomData,
        })
    }
}

// SAFETY: a `Locked<T>` owns its value as a box does.
unsafe impl<T: Send> Send for Locked<T> {}
// SAFETY: `&Locked<T>` gives out `&T` only.
unsafe impl<T: Sync> Sync for Locked<T> {}

impl<T> Deref for Locked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: `new` put a value there, and only `drop` takes it out.
        unsafe { self.cells.at.cast::<T>().as_ref() }
    }
}

impl<T> DerefMut for Locked<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; the exclusive borrow makes this the only reference.
        unsafe { self.cells.at.cast::<T>().as_mut() }
    }
}

impl<T> Drop for Locked<T> {
    fn drop(&mut self) {
        // SAFETY: the value is there, dropped once, and nobody can reach it afterwards; the cells
        // are wiped and given back by their own drop.
        unsafe { self.cells.at.cast::<T>().drop_in_place() };
    }
}

/// A buffer of a fixed number of bytes in locked memory.
pub struct LockedBytes {
    cells: Cells,
    len: usize,
}

impl LockedBytes {
    /// Returns `len` zero bytes, at most 1 MiB.
    ///
    /// # Errors
    /// When the operating system gives no such memory.
    pub fn zeroed(len: usize) -> Result<Self, LockedMemoryError> {
        Ok(Self {
            cells: Cells::new(len)?,
            len,
        })
    }

    /// Cuts the buffer to its first `len` bytes and wipes the others.
    pub fn truncate(&mut self, len: usize) {
        if let Some(rest) = self.get_mut(len..) {
            rest.zeroize();
            self.len = len;
        }
    }
}

impl Deref for LockedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.cells.bytes().split_at(self.len).0
    }
}

impl DerefMut for LockedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        let len = self.len;
        self.cells.bytes_mut().split_at_mut(len).0
    }
}

/// Keeps every open descriptor but the standard three from the programs that this process starts.
///
/// What the process itself inherited ends with it then, and does not live on in what it starts.
///
/// # Errors
/// When the kernel is older than Linux 5.11.
pub fn keep_descriptors_here() -> std::io::Result<()> {
    // SAFETY: close_range takes three integers, and with this flag closes nothing here: it only
    // changes what a program started by exec(2) receives.
    let r = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if r == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

/// Overwrites `bytes` of the stack below the caller, where finished calls left their values.
///
/// The stack must have that many bytes left.
#[inline(never)]
pub fn scrub_stack(bytes: usize) {
    let mut frame = [0xff_u8; 4096];
    frame.zeroize();
    std::hint::black_box(&mut frame);
    if let Some(rest) = bytes.checked_sub(frame.len()) {
        scrub_stack(rest);
    }
    std::hint::black_box(&mut frame);
}

/// Gives memory that is free back to the system: the allocator keeps what each thread once needed.
/// For a time of rest: it walks through everything that is free.
pub fn give_back_memory() {
    // SAFETY: no pointer goes in or out; the allocator takes its own locks and leaves what is in use.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests;
