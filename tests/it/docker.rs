//! Containers of a real Docker daemon on a mount. The daemon is the test's own: its data, its
//! socket and its processes lie in the test's directory and end with it.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::{Outcome, TestVolume, assert_absent, report, run, shell, until};

/// What the containers write; it must not be found in the volume directory.
const CANARY: &str = "canary-7f3a9c51-in-the-container";

struct Docker {
    daemon: Child,
    socket: PathBuf,
}

impl Docker {
    fn start(v: &TestVolume) -> Self {
        let dir = v.scratch().join("docker");
        fs::create_dir(&dir).expect("own directory");
        let log = fs::File::create(dir.join("log")).expect("own directory");
        let socket = dir.join("sock");
        let mut c = Command::new("dockerd");
        c.arg("--data-root").arg(dir.join("data"));
        c.arg("--exec-root").arg(dir.join("exec"));
        c.arg("--pidfile").arg(dir.join("pid"));
        c.arg("--host").arg(format!("unix://{}", socket.display()));
        c.args(["--iptables=false", "--ip6tables=false", "--bridge=none"]);
        c.stdin(Stdio::null());
        c.stdout(log.try_clone().expect("one more descriptor"));
        c.stderr(log);
        let daemon = c.spawn().expect("dockerd is installed");
        let docker = Self { daemon, socket };
        until("dockerd answers", Duration::from_secs(60), || {
            (docker.run(&["version"]).code == Some(0)).then_some(())
        });
        docker
    }

    fn run(&self, args: &[&str]) -> Outcome {
        let mut c = Command::new("docker");
        c.arg("--host")
            .arg(format!("unix://{}", self.socket.display()));
        c.args(args);
        run(&c, 120)
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let pid = self.daemon.id().to_string();
        let stopped = Command::new("kill").args(["-TERM", &pid]).status().is_ok();
        if stopped && let Err(e) = self.daemon.wait() {
            eprintln!("dockerd {pid} may still run: {e}");
        }
    }
}

#[test]
fn containers_share_what_they_write() {
    let v = TestVolume::new();
    let root = v.mount();
    let docker = Docker::start(&v);
    shell(
        v.scratch(),
        "mkdir -p image/bin; cp /bin/busybox image/bin/; ln -s busybox image/bin/sh; tar -C image -cf image.tar .",
        60,
    );
    let tar = v.scratch().join("image.tar");
    let tar = tar.to_str().expect("the path is text");
    docker.run(&["import", tar, "coffer-test"]).ok();
    let bind = format!("{}:/data", root.display());
    let sh = |name: &str, script: &str| {
        let args = ["run", "--network", "none", "--name", name, "-v", &bind];
        docker.run(&[&args[..], &["coffer-test", "/bin/sh", "-c", script]].concat())
    };
    let write = format!(
        "busybox mkdir /data/d && echo {CANARY} > /data/d/f && busybox chown 1000:1000 /data/d/f && busybox sync"
    );
    sh("first", &format!("PATH=/bin; {write}")).ok();
    let printed = sh(
        "second",
        "busybox stat -c %u:%g /data/d/f; busybox cat /data/d/f; echo more >> /data/d/f",
    )
    .ok();
    assert_eq!(printed, format!("1000:1000\n{CANARY}\n"));
    docker.run(&["rm", "first", "second"]).ok();
    let printed = sh("third", "busybox cat /data/d/f").ok();
    assert_eq!(printed, format!("{CANARY}\nmore\n"));
    docker.run(&["rm", "third"]).ok();
    let read_only = format!("{bind}:ro");
    let args = [
        "run",
        "--rm",
        "--network",
        "none",
        "-v",
        &read_only,
        "coffer-test",
        "/bin/sh",
        "-c",
    ];
    let refused = docker.run(&[&args[..], &["echo x > /data/d/f"]].concat());
    assert_ne!(refused.code, Some(0), "a read-only bind can be written");
    drop(docker);
    v.umount();
    assert_absent(v.volume(), CANARY);
    let root = v.mount();
    assert_eq!(shell(&root, "cat d/f", 10), format!("{CANARY}\nmore\n"));
    report("docker: written in one container, read in two more, nowhere in the volume directory");
}
