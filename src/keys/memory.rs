//! How much memory the derivation of a key may take on this machine.

use std::path::Path;

use crate::format::header::Argon2Cost;

use super::error::{KdfLimit, KeysError};

/// Checks what a slot asks for before anything is allocated; `memory_bytes` is all there is.
pub(super) fn check(memory_bytes: u64, slot: u16, cost: Argon2Cost) -> Result<(), KeysError> {
    let refuse = |limit| Err(KeysError::KdfCap { slot, cost, limit });
    if !cost.is_within_cap() {
        return refuse(KdfLimit::Header);
    }
    let allowed_kib = memory_bytes / 2 / 1024;
    if u64::from(cost.m_kib) > allowed_kib {
        return refuse(KdfLimit::Memory { allowed_kib });
    }
    Ok(())
}

/// Returns the memory of the machine, or what its control groups leave of it.
pub(super) fn available_bytes() -> u64 {
    let system = rustix::system::sysinfo();
    let machine = u64::from(system.mem_unit).saturating_mul(system.totalram);
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    group_bytes(&groups, Path::new("/sys/fs/cgroup")).map_or(machine, |group| group.min(machine))
}

/// Returns the smallest memory limit of the control groups of this process and of all above them,
/// if any: `groups` is what /proc/self/cgroup says, `root` where they are mounted.
fn group_bytes(groups: &str, root: &Path) -> Option<u64> {
    groups
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let (root, file) = match controllers {
                "" => (root.to_path_buf(), "memory.max"),
                c if c.split(',').any(|c| c == "memory") => {
                    (root.join("memory"), "memory.limit_in_bytes")
                }
                _ => return None,
            };
            let group = root.join(path.trim_start_matches('/'));
            group
                .ancestors()
                .take_while(|g| g.starts_with(&root))
                .filter_map(|g| std::fs::read_to_string(g.join(file)).ok())
                .filter_map(|limit| limit.trim().parse().ok())
                .min()
        })
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_above_a_group_counts() {
        let root = tempfile::tempdir().expect("a directory");
        let put = |group: &str, file: &str, text: &str| {
            let dir = root.path().join(group);
            std::fs::create_dir_all(&dir).expect("a group");
            std::fs::write(dir.join(file), text).expect("a limit");
        };
        put("a/b", "memory.max", "max\n");
        put("a", "memory.max", "1048576\n");
        put("memory/x", "memory.limit_in_bytes", "4096\n");
        let limit = |groups| group_bytes(groups, root.path());
        assert_eq!(limit("0::/a/b\n"), Some(1_048_576));
        assert_eq!(limit("0::/\n"), None);
        assert_eq!(limit("0::/a/gone\n"), Some(1_048_576));
        assert_eq!(limit("3:cpu,memory:/x\n0::/a/b\n"), Some(4096));
        assert_eq!(limit("3:cpu:/x\n"), None);
        assert_eq!(limit(""), None);
    }

    #[test]
    fn the_limits_of_the_header_and_of_the_machine_are_told_apart() {
        let limit = |memory, cost| match check(memory, 1, cost) {
            Err(KeysError::KdfCap { limit, .. }) => Some(limit),
            _ => None,
        };
        let cap = Argon2Cost::CAP;
        for beyond in [
            Argon2Cost::new(cap.m_kib + 1, 1, 1),
            Argon2Cost::new(8, cap.t + 1, 1),
            Argon2Cost::new(1024, 1, cap.p + 1),
        ] {
            assert_eq!(limit(u64::MAX, beyond), Some(KdfLimit::Header));
        }
        assert_eq!(limit(u64::MAX, cap), None);
        let quarter = Argon2Cost::new(1024, 1, 1);
        assert_eq!(limit(2 << 20, quarter), None);
        let allowed_kib = 1023;
        assert_eq!(
            limit((2 << 20) - 1, quarter),
            Some(KdfLimit::Memory { allowed_kib })
        );
        assert!(available_bytes() > 1 << 20);
    }
}
