//! What is read from text: options, the table of mounts, settings, runtime directories.

use super::*;
use crate::format::settings::Settings;
use crate::volume::mount_table;

#[test]
fn mount_options_are_known_or_refused() {
    let mut o = MountOptions::default();
    for option in ["ro", "noexec", "suid", "dev", "noallow_other", "_netdev"] {
        o.set(option).expect("it is known");
    }
    let expected = MountOptions {
        read_only: true,
        allow_other: false,
        nosuid: false,
        nodev: false,
        noexec: true,
    };
    assert_eq!(o, expected);
    for option in ["rw", "exec", "nosuid", "nodev", "x-systemd.automount"] {
        o.set(option).expect("it is known");
    }
    assert!(!o.read_only && !o.noexec && o.nosuid && o.nodev);
    let refused = o.set("cipher=none").expect_err("refused");
    assert_eq!(refused.kind(), Kind::Usage);
    assert!(refused.to_string().contains("cipher=none"));
}

#[test]
fn the_table_of_mounts_is_read() {
    let text = b"36 35 98:0 /mnt1 /mnt/a\\040b\\134c rw,noatime master:1 shared:2 - fuse.coffer coffer:x rw\n\
        37 35 0:41 / / rw - ext4 /dev/sda rw\n\
        short line\n";
    let lines = mount_table::parse(text);
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0].dir, Path::new("/mnt/a b\\c"));
    assert_eq!(lines[0].device, "98:0");
    assert!(lines[0].is_ours());
    assert_eq!(lines[1].dir, Path::new("/"));
    assert!(!lines[1].is_ours());
}

#[test]
fn this_process_uses_the_file_system_of_its_program() {
    let lines = mount_table::read().expect("a table");
    let exe = std::env::current_exe().expect("a program");
    let of_program = lines
        .into_iter()
        .filter(|m| exe.starts_with(&m.dir))
        .max_by_key(|m| m.dir.as_os_str().len())
        .expect("it lies on a mount");
    assert!(!mount_table::users(&of_program).is_empty());
}

#[test]
fn settings_survive_and_malformed_ones_do_not() {
    for quota_bytes in [None, Some(1 << 40)] {
        for compression in 0..=2 {
            let settings = Settings {
                quota_bytes,
                compression,
            };
            let decoded = Settings::decode(&settings.encode());
            assert_eq!(decoded.expect("settings"), settings);
        }
    }
    let good = [0, 0, 0, 0, 0, 0, 0, 0, 1];
    assert!(Settings::decode(&good).is_ok());
    assert!(Settings::decode(&good[..8]).is_err());
    assert!(Settings::decode(&[&good[..], &[0]].concat()).is_err());
    assert!(Settings::decode(&[0, 0, 0, 0, 0, 0, 0, 0, 3]).is_err());
}

#[test]
fn a_runtime_directory_of_others_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let temp = tempfile::tempdir().expect("a directory");
    let root = temp.path().join("coffer");
    let id = "0123456789abcdef0123456789abcdef";
    Runtime::at(&root).volume(id).expect("it is made");
    assert_eq!(Runtime::at(&root).volumes().expect("a list").len(), 1);
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&root, open).expect("a mode");
    let refused = Runtime::at(&root)
        .volume(id)
        .map(drop)
        .expect_err("refused");
    assert_eq!(refused.kind(), Kind::Policy);
    std::fs::remove_dir_all(&root).expect("a directory");
    std::os::unix::fs::symlink(temp.path(), &root).expect("a link");
    assert!(Runtime::at(&root).volume(id).is_err());
}
