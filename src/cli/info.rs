//! `coffer info`: what is known of a volume.
//!
//! Without a secret that is what the header shows anyone; with one, or while the volume is mounted,
//! also what is sealed.

use std::path::PathBuf;

use serde::Serialize;

use crate::volume::{Access, ContentInfo, Info, Locked, MountInfo, Volume};

use super::exit::Failure;
use super::key::Slot;
use super::output::seconds as time;
use super::secret::{Purpose, SecretOption};
use super::{output, size};

/// Show what is known of a volume.
///
/// Without a secret: what stands readable in the header. With --secret, or of a mounted volume: also
/// its label, sizes and data keys.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory of the volume, or where it is mounted
    volume: PathBuf,

    #[command(flatten)]
    secret: SecretOption,

    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    volume_id: String,
    format: u16,
    created: String,
    chunk_bytes: u32,
    slots: Vec<Slot>,
    #[serde(skip_serializing_if = "Option::is_none")]
    header_damage: Option<String>,
    #[serde(flatten)]
    content: Option<Content>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mount: Option<Mount>,
}

#[derive(Serialize)]
struct Content {
    label: String,
    compression: String,
    size_bytes: Option<u64>,
    used_bytes: u64,
    inodes: u64,
    stored_bytes: u64,
    blocks: u64,
    /// Bytes of contents that lie in blocks, over the bytes of the different blocks, both
    /// uncompressed. 1 without blocks.
    dedup_ratio: f64,
    generation: u64,
    epochs: Vec<Epoch>,
}

#[derive(Serialize)]
struct Epoch {
    id: u32,
    state: String,
    created: String,
}

/// A live mount, as documents and tables show it.
#[derive(Serialize)]
pub struct Mount {
    /// The mount point.
    pub dir: String,
    /// The directory of the volume.
    pub volume: String,
    /// Process id of the worker.
    pub pid: u32,
    /// Process id of the parent.
    pub parent_pid: u32,
    /// When it was mounted.
    pub since: String,
    /// How long that took, in milliseconds.
    pub mount_ms: u64,
    /// No changes are possible.
    pub read_only: bool,
}

impl From<MountInfo> for Mount {
    fn from(m: MountInfo) -> Self {
        Self {
            dir: m.dir.display().to_string(),
            volume: m.volume_dir.display().to_string(),
            pid: m.pid,
            parent_pid: m.parent_pid,
            since: time(m.since),
            mount_ms: m.mount_ms,
            read_only: m.read_only,
        }
    }
}

impl From<ContentInfo> for Content {
    fn from(c: ContentInfo) -> Self {
        let epochs = c.epochs.into_iter().map(|e| Epoch {
            id: e.id,
            state: e.state,
            created: time(e.created),
        });
        Self {
            label: c.label,
            compression: c.compression,
            size_bytes: c.size_bytes,
            used_bytes: c.used_bytes,
            inodes: c.inodes,
            stored_bytes: c.stored_bytes,
            blocks: c.blocks,
            dedup_ratio: ratio(c.referenced_bytes, c.unique_bytes),
            generation: c.generation,
            epochs: epochs.collect(),
        }
    }
}

impl From<Info> for Document {
    fn from(info: Info) -> Self {
        let slots = info.header.slots.into_iter().map(Slot::from);
        Self {
            volume_id: info.header.volume_id,
            format: info.header.format,
            created: time(info.header.created),
            chunk_bytes: info.header.chunk_bytes,
            slots: slots.collect(),
            header_damage: info.header.damage,
            content: info.content.map(Content::from),
            mount: info.mount.map(Mount::from),
        }
    }
}

/// Prints what is known.
///
/// # Errors
/// When there is no volume, or the secret does not open it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mut info = crate::volume::info(&args.volume)?;
    if let (Some(source), None) = (args.secret.source()?, &info.mount) {
        let volume = Volume::<Locked>::open(&args.volume)?;
        let secret = source.read(&args.volume, Purpose::Unlock)?;
        let volume = volume.unlock(&secret, Access::ReadOnly)?;
        info = volume.info();
        volume.close()?;
    }
    let document = Document::from(info);
    if args.json {
        return output::document("coffer.info.v1", &document);
    }
    output::lines(&text(&document))
}

/// Returns how many times larger `all` is than `unique`, to three places.
fn ratio(all: u64, unique: u64) -> f64 {
    let thousandths = (u128::from(all) * 1000 + u128::from(unique) / 2).checked_div(unique.into());
    thousandths.map_or(1.0, |n| {
        f64::from(u32::try_from(n).unwrap_or(u32::MAX)) / 1000.0
    })
}

fn text(d: &Document) -> String {
    let mut lines = Vec::new();
    let mut add = |name: &str, value: &str| {
        lines.push(format!("{name:<13} {}", output::printable(value)));
    };
    add("volume", &d.volume_id);
    if let Some(c) = &d.content {
        add("label", &c.label);
    }
    add("format", &d.format.to_string());
    add("created", &d.created);
    add("chunks", &size::show(d.chunk_bytes.into()));
    for s in &d.slots {
        let kdf = s
            .kdf
            .as_ref()
            .map_or_else(String::new, |k| format!(", Argon2id {k}"));
        let (kind, role, created) = (&s.kind, &s.role, &s.created);
        let label = if s.label.is_empty() {
            ""
        } else {
            &format!(", {}", s.label)
        };
        add(
            &format!("slot {}", s.id),
            &format!("{kind}, {role}, {created}{label}{kdf}"),
        );
    }
    if let Some(damage) = &d.header_damage {
        let text = format!("one of its two copies needs mending, which a mount does: {damage}");
        add("header", &text);
    }
    if let Some(c) = &d.content {
        add("compression", &c.compression);
        let limit = c
            .size_bytes
            .map_or_else(|| "no limit".to_owned(), size::show);
        add("size", &limit);
        add(
            "used",
            &format!("{} in {} inodes", size::show(c.used_bytes), c.inodes),
        );
        add(
            "stored",
            &format!("{} in {} blocks", size::show(c.stored_bytes), c.blocks),
        );
        add("dedup", &format!("{:.2} times", c.dedup_ratio));
        add("generation", &c.generation.to_string());
        for e in &c.epochs {
            add(
                &format!("epoch {}", e.id),
                &format!("{}, {}", e.state, e.created),
            );
        }
    }
    match &d.mount {
        Some(m) => {
            let mode = if m.read_only { ", read-only" } else { "" };
            add("mounted on", &m.dir);
            add(
                "",
                &format!("since {}, by process {}{mode}", m.since, m.pid),
            );
        }
        None => add("mounted on", "nothing"),
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::{EpochLine, HeaderInfo, SlotInfo};

    fn header_only() -> Info {
        Info {
            header: HeaderInfo {
                volume_id: "ab".repeat(16),
                format: 1,
                created: 1_700_000_000,
                chunk_bytes: 128 << 10,
                slots: vec![SlotInfo {
                    id: 1,
                    kind: "passphrase".into(),
                    role: "admin".into(),
                    label: String::new(),
                    hint: String::new(),
                    created: 1_700_000_000,
                    kdf: Some("m=1024 KiB, t=1, p=1".into()),
                }],
                damage: None,
            },
            content: None,
            mount: None,
        }
    }

    fn everything() -> Info {
        Info {
            content: Some(ContentInfo {
                label: "home\u{7}".into(),
                epochs: vec![EpochLine {
                    id: 1,
                    state: "active".into(),
                    created: 1_700_000_000,
                }],
                size_bytes: None,
                used_bytes: 1 << 20,
                inodes: 3,
                stored_bytes: 1 << 19,
                blocks: 8,
                referenced_bytes: 1_000_000,
                unique_bytes: 300_000,
                generation: 9,
                compression: "lz4".into(),
            }),
            mount: Some(MountInfo {
                dir: "/mnt".into(),
                volume_dir: "/v".into(),
                pid: 12,
                parent_pid: 11,
                since: 1_700_000_000,
                mount_ms: 80,
                read_only: true,
            }),
            ..header_only()
        }
    }

    #[test]
    fn without_a_secret_only_the_header_is_told() {
        let json = serde_json::to_value(Document::from(header_only())).expect("JSON");
        let names: Vec<_> = json.as_object().expect("an object").keys().collect();
        assert_eq!(
            names,
            ["chunk_bytes", "created", "format", "slots", "volume_id"]
        );
        assert_eq!(json["slots"][0]["created"], "2023-11-14T22:13:20Z");
        assert!(text(&Document::from(header_only())).contains("mounted on    nothing"));
    }

    #[test]
    fn the_ratio_of_nothing_is_one() {
        let close = |a: f64, b: f64| (a - b).abs() < f64::EPSILON;
        assert!(close(ratio(0, 0), 1.0));
        assert!(close(ratio(u64::MAX, u64::MAX), 1.0));
        assert!(close(ratio(7, 2), 3.5));
    }

    #[test]
    fn a_damaged_copy_of_the_header_is_told() {
        let mut info = header_only();
        info.header.damage = Some("missing".into());
        let json = serde_json::to_value(Document::from(info.clone())).expect("JSON");
        assert_eq!(json["header_damage"], "missing");
        let shown = text(&Document::from(info));
        assert!(shown.contains("which a mount does: missing\n"), "{shown}");
    }

    #[test]
    fn of_a_mounted_volume_all_is_told() {
        let json = serde_json::to_value(Document::from(everything())).expect("JSON");
        assert_eq!(json["used_bytes"], 1 << 20);
        assert_eq!(json["dedup_ratio"], 3.333);
        assert_eq!(json["size_bytes"], serde_json::Value::Null);
        assert_eq!(json["epochs"][0]["state"], "active");
        assert_eq!(json["mount"]["dir"], "/mnt");
        assert_eq!(json["mount"]["since"], "2023-11-14T22:13:20Z");
        let shown = text(&Document::from(everything()));
        assert!(shown.contains("label         home?\n"), "{shown}");
        assert!(shown.contains("by process 12, read-only"), "{shown}");
    }
}
