//! What the facts mean for mounting, and the command that mends each.

use serde::Serialize;

use super::super::size;
use super::facts::{Facts, FuseDevice, MountState};

/// Bytes a worker locks in memory: the secret while it is read and copied, and its keys.
pub const LOCK_NEED_BYTES: u64 = 512 << 10;

/// Oldest kernel whose FUSE has all that a mount asks for: no opendir requests.
const KERNEL_MIN: (u32, u32) = (5, 1);

/// Oldest kernel that tells a write which privileges to clear, instead of asking each time.
const KERNEL_GOOD: (u32, u32) = (5, 12);

/// Pages of a request of 1 MiB, the largest that a mount asks for.
const PAGES_GOOD: u64 = 256;

/// Free space under which a volume soon refuses writes: its reserve and room to work.
const DISK_LOW_BYTES: u64 = 512 << 20;

/// Free inodes under which packs and logs soon cannot be made.
const INODES_LOW: u64 = 1000;

/// What a finding means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Mounting works, something else is worse than it could be.
    Warning,
    /// Mounting fails.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its stable name.
    pub check: &'static str,
    /// What it means.
    pub level: Level,
    /// What was found.
    pub text: String,
    /// The command that mends it.
    pub mend: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self {
            check,
            level: Level::Ok,
            text: text.into(),
            mend: None,
        }
    }

    fn warning(check: &'static str, text: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            check,
            level: Level::Warning,
            text: text.into(),
            mend: Some(mend.into()),
        }
    }

    fn problem(check: &'static str, text: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            level: Level::Problem,
            ..Self::warning(check, text, mend)
        }
    }
}

/// Returns what the facts mean, in the order in which a mount would meet them.
pub fn assess(facts: &Facts) -> Vec<Finding> {
    let mut found = vec![fuse_device(facts), kernel(facts)];
    found.extend(unprivileged(facts));
    found.extend(request_size(facts));
    found.push(lock_limit(facts));
    found.push(secret_memory(facts));
    found.push(swap(facts));
    found.extend(mounts(facts));
    found.extend(runtime(facts));
    found.extend(disk(facts));
    found
}

fn fuse_device(facts: &Facts) -> Finding {
    let check = "fuse-device";
    match facts.fuse {
        FuseDevice::Usable => Finding::ok(check, "/dev/fuse can be used"),
        FuseDevice::Absent => Finding::problem(
            check,
            "there is no device /dev/fuse",
            "modprobe fuse; in a container: add --device /dev/fuse --cap-add SYS_ADMIN",
        ),
        FuseDevice::NoDriver => Finding::problem(
            check,
            "/dev/fuse is there, but the kernel has no driver for it",
            "modprobe fuse",
        ),
        FuseDevice::Closed if facts.root => Finding::problem(
            check,
            "/dev/fuse cannot be opened, not even by root",
            "in a container: add --device /dev/fuse --cap-add SYS_ADMIN",
        ),
        FuseDevice::Closed => Finding::problem(
            check,
            "/dev/fuse is closed to this user",
            "sudo chmod 666 /dev/fuse",
        ),
    }
}

fn kernel(facts: &Facts) -> Finding {
    let check = "kernel";
    let mend = "update the kernel of this host";
    match facts.kernel {
        None => Finding::warning(
            check,
            "the version of the kernel cannot be read",
            "uname -r",
        ),
        Some(v @ (major, minor)) if v < KERNEL_MIN => Finding::problem(
            check,
            format!("Linux {major}.{minor} is too old, its FUSE lacks what a mount needs"),
            format!("{mend} to 5.12 or newer"),
        ),
        Some(v @ (major, minor)) if v < KERNEL_GOOD => Finding::warning(
            check,
            format!("Linux {major}.{minor} asks for a security attribute at every write"),
            format!("{mend} to 5.12 or newer"),
        ),
        Some((major, minor)) => Finding::ok(check, format!("Linux {major}.{minor}")),
    }
}

/// Returns what matters to users other than root.
fn unprivileged(facts: &Facts) -> Vec<Finding> {
    if facts.root {
        return Vec::new();
    }
    let install = "sudo apt-get install fuse3";
    let helper = match &facts.fusermount {
        None => Finding::problem("fusermount", "fusermount3 is not installed", install),
        Some((path, false)) => Finding::problem(
            "fusermount",
            format!(
                "{} does not run as root, so it cannot mount",
                path.display()
            ),
            format!("sudo chown root {0} && sudo chmod 4755 {0}", path.display()),
        ),
        Some((path, true)) => Finding::ok("fusermount", format!("{} mounts", path.display())),
    };
    let others = if facts.user_allow_other {
        Finding::ok("allow-other", "users may open their mounts to others")
    } else {
        Finding::warning(
            "allow-other",
            "users may not open their mounts to others, containers included",
            "echo user_allow_other | sudo tee -a /etc/fuse.conf",
        )
    };
    vec![helper, others]
}

fn request_size(facts: &Facts) -> Option<Finding> {
    let check = "fuse-request-size";
    match facts.max_pages? {
        pages if pages < PAGES_GOOD => Some(Finding::warning(
            check,
            format!("a FUSE request may have {pages} pages only: large files are slower"),
            format!("sudo sysctl -w fs.fuse.max_pages_limit={PAGES_GOOD}"),
        )),
        pages => Some(Finding::ok(
            check,
            format!("FUSE requests of {pages} pages"),
        )),
    }
}

fn lock_limit(facts: &Facts) -> Finding {
    let check = "lock-limit";
    match facts.lock_limit_bytes {
        Some(limit) if limit < LOCK_NEED_BYTES && !facts.root => Finding::problem(
            check,
            format!(
                "a process may lock {} of memory, and keys need {}",
                size::show(limit),
                size::show(LOCK_NEED_BYTES)
            ),
            "ulimit -l 8192, or LimitMEMLOCK=8M in a systemd unit",
        ),
        Some(limit) if limit < LOCK_NEED_BYTES => Finding::warning(
            check,
            format!(
                "a process may lock {} of memory only; root is exempt while it has CAP_IPC_LOCK",
                size::show(limit)
            ),
            "ulimit -l 8192, or LimitMEMLOCK=8M in a systemd unit",
        ),
        Some(limit) => Finding::ok(
            check,
            format!("a process may lock {} of memory", size::show(limit)),
        ),
        None => Finding::ok(check, "a process may lock any amount of memory"),
    }
}

fn secret_memory(facts: &Facts) -> Finding {
    let check = "secret-memory";
    if facts.secret_memory {
        return Finding::ok(check, "keys lie in memory that nobody else can read");
    }
    Finding::warning(
        check,
        "the kernel has no memfd_secret: keys are locked in ordinary memory, which root can read",
        "boot Linux 5.14 or newer with secretmem.enable=1",
    )
}

fn swap(facts: &Facts) -> Finding {
    let open: Vec<&str> = facts
        .swaps
        .iter()
        .filter(|s| !s.safe)
        .map(|s| s.name.as_str())
        .collect();
    if open.is_empty() {
        return Finding::ok("swap", "no memory is swapped to a disk in clear");
    }
    Finding::warning(
        "swap",
        format!(
            "memory is swapped in clear to {}: keys never are, contents of files may be",
            open.join(", ")
        ),
        format!(
            "sudo swapoff {}, or encrypt it in /etc/crypttab",
            open.join(" ")
        ),
    )
}

fn mounts(facts: &Facts) -> Vec<Finding> {
    let check = "mounts";
    let judged = facts.mounts.iter().map(|(dir, state)| {
        let dir = dir.display();
        match state {
            MountState::Answers => Finding::ok(check, format!("{dir} answers")),
            MountState::Dead => Finding::warning(
                check,
                format!("the worker of {dir} is gone; mounting there again cleans it up"),
                format!("coffer umount --force {dir}"),
            ),
            MountState::Silent => Finding::warning(
                check,
                format!("{dir} does not answer"),
                format!("coffer umount --force {dir}"),
            ),
        }
    });
    judged.collect()
}

fn runtime(facts: &Facts) -> Vec<Finding> {
    let check = "runtime";
    if facts.runtime_dir.is_none() {
        return vec![Finding::problem(
            check,
            "XDG_RUNTIME_DIR is not set, so there is no place for the sockets of mounts",
            "log in through a session of systemd, or export XDG_RUNTIME_DIR=/run/user/$(id -u)",
        )];
    }
    let judged = facts.dead_sockets.iter().map(|socket| {
        let socket = socket.display();
        Finding::warning(
            check,
            format!("{socket} was left by a worker that is gone; the next mount replaces it"),
            format!("rm {socket}"),
        )
    });
    judged.collect()
}

fn disk(facts: &Facts) -> Option<Finding> {
    let check = "disk";
    let mend =
        |dir: &std::path::Path| format!("df -h {0}; df -i {0}; then make room", dir.display());
    Some(match facts.disk.as_ref()? {
        Err(e) => Finding::problem(
            check,
            format!("the volume cannot be reached: {e}"),
            "ls -ld VOLUME",
        ),
        Ok(d) if d.free_bytes < DISK_LOW_BYTES => Finding::warning(
            check,
            format!(
                "the disk of {} has {} free",
                d.dir.display(),
                size::show(d.free_bytes)
            ),
            mend(&d.dir),
        ),
        Ok(d) if d.free_inodes.is_some_and(|n| n < INODES_LOW) => Finding::warning(
            check,
            format!("the disk of {} has few inodes free", d.dir.display()),
            mend(&d.dir),
        ),
        Ok(d) => Finding::ok(
            check,
            format!(
                "the disk of {} has {} free",
                d.dir.display(),
                size::show(d.free_bytes)
            ),
        ),
    })
}
