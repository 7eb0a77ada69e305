//! Locked memory: one slot per page, given back when dropped.

use super::*;

fn cells_in_use() -> u32 {
    SLAB.lock().iter().map(|p| p.used.count_ones()).sum()
}

#[test]
fn values_share_pages_and_do_not_overlap() {
    let many: Vec<Locked<[u8; 32]>> = (0..200_u8)
        .map(|i| Locked::new([i; 32]).expect("locked memory"))
        .collect();
    for (i, v) in many.iter().enumerate() {
        assert_eq!(usize::from(v[0]), i);
        assert_eq!(v[0], v[31]);
    }
    let bases = |s: &[Page]| s.len();
    assert!(bases(&SLAB.lock()) < 200);
    assert!(cells_in_use() >= 200);
}

#[test]
fn a_dropped_value_is_wiped_and_dropped_once() {
    use std::sync::Arc;
    let owner = Arc::new(());
    let locked = Locked::new(Arc::clone(&owner)).expect("locked memory");
    assert_eq!(Arc::strong_count(&owner), 2);
    drop(locked);
    assert_eq!(Arc::strong_count(&owner), 1);
    let mut buffer = LockedBytes::zeroed(100).expect("locked memory");
    buffer.fill(7);
    buffer.truncate(10);
    assert_eq!(&*buffer, &[7; 10]);
    assert!(buffer.cells.bytes()[10..].iter().all(|b| *b == 0));
}

#[test]
fn a_large_buffer_has_pages_of_its_own() {
    let mut b = LockedBytes::zeroed(65_536).expect("locked memory");
    assert!(b.iter().all(|x| *x == 0));
    b.fill(1);
    assert_eq!(b.len(), 65_536);
}

#[test]
fn both_kinds_of_memory_are_locked() {
    // Kernels before 6.5 have memory for secrets only if they were started with it.
    let maps = [map_secret(page_bytes()), map_mlocked(page_bytes())];
    assert!(!matches!(maps, [Err(e), _] if e != rustix::io::Errno::NOSYS));
    assert!(maps[1].is_ok());
    for at in maps.into_iter().flatten() {
        let smaps = std::fs::read_to_string("/proc/self/smaps").expect("procfs");
        let start = format!("{:x}-", at.as_ptr().addr());
        let flags = smaps
            .lines()
            .skip_while(|l| !l.starts_with(&start))
            .find(|l| l.starts_with("VmFlags:"))
            .expect("the mapping is listed");
        assert!(flags.contains(" lo"), "{flags}");
        assert!(flags.contains(" dd"), "{flags}");
        unmap(at, page_bytes());
    }
}

#[test]
fn the_stack_below_is_overwritten() {
    #[inline(never)]
    fn leave_a_mark() -> usize {
        let mark = std::hint::black_box([0xa5_u8; 512]);
        std::hint::black_box(mark.as_ptr()).addr()
    }
    let at = leave_a_mark();
    scrub_stack(64 * 1024);
    let memory = std::fs::File::open("/proc/self/mem").expect("procfs");
    let mut left = [0xa5_u8; 512];
    let offset = u64::try_from(at).expect("an address");
    std::os::unix::fs::FileExt::read_exact_at(&memory, &mut left, offset).expect("our own stack");
    assert!(left.iter().filter(|b| **b == 0xa5).count() < 64);
}

#[test]
fn secrets_lie_in_secret_memory_where_the_kernel_has_it() {
    let _secret = LockedBytes::zeroed(1).expect("memory for a secret");
    let maps = std::fs::read_to_string("/proc/self/maps").expect("procfs");
    assert_eq!(secret_memory_available(), maps.contains("secretmem"));
}

#[test]
fn an_inherited_descriptor_is_read_but_passed_to_no_program() {
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;

    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    rustix::io::fcntl_setfd(&reader, rustix::io::FdFlags::empty()).expect("an open descriptor");
    writer.write_all(b"x").expect("room in the pipe");
    drop(writer);
    let own = inherited_descriptor(reader.as_raw_fd()).expect("it is open");
    for fd in [reader.as_fd(), own.as_fd()] {
        let flags = rustix::io::fcntl_getfd(fd).expect("an open descriptor");
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
    let mut content = Vec::new();
    let read = std::fs::File::from(own).read_to_end(&mut content);
    assert_eq!((read.expect("readable"), content), (1, b"x".to_vec()));
    assert!(inherited_descriptor(-1).is_err());
    assert!(inherited_descriptor(i32::MAX).is_err());
}

/// Symptom: a worker kept 120 MiB after a stream, all of it free. Cause: the heap of a thread is
/// only cut at its end, where something small stays. So does this thread's.
#[test]
fn freed_memory_goes_back_to_the_system() {
    const PIECES: usize = 1024;
    const PIECE_BYTES: usize = 64 << 10;
    let resident_pages = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        let resident = statm.split(' ').nth(1).unwrap();
        resident.parse::<usize>().unwrap()
    };
    let thread = std::thread::spawn(move || {
        let mut large = Vec::new();
        let mut small = Vec::new();
        for _ in 0..PIECES {
            large.push(vec![1_u8; PIECE_BYTES]);
            small.push(Box::new([1_u8; 100]));
        }
        drop(large);
        let before = resident_pages();
        give_back_memory();
        let after = resident_pages();
        drop(small);
        (before, after)
    });
    let (before, after) = thread.join().unwrap();
    // Other tests run beside this one: half of it is enough.
    let freed_pages = PIECES * PIECE_BYTES / page_bytes();
    assert!(before >= after + freed_pages / 2, "{before} {after}");
}
