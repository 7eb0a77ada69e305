//! `coffer list`: what is mounted.

use serde::Serialize;

use crate::volume::Mounted;

use super::exit::Failure;
use super::info::Mount;
use super::output;

/// Show the mounted volumes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    mounts: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    volume_id: String,
    label: String,
    #[serde(flatten)]
    mount: Mount,
}

/// Prints the mounts.
///
/// # Errors
/// When the runtime directory cannot be read.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mounted = crate::volume::list()?;
    if args.json {
        let mounts = mounted.into_iter().map(line).collect();
        return output::document("coffer.list.v1", &Document { mounts });
    }
    if mounted.is_empty() {
        output::notice("nothing is mounted");
        return Ok(());
    }
    let rows: Vec<_> = mounted.into_iter().map(row).collect();
    output::table(["LABEL", "DIR", "VOLUME", "MODE", "SINCE", "PID"], &rows)
}

fn line(m: Mounted) -> Line {
    Line {
        volume_id: m.volume_id,
        label: m.label,
        mount: Mount::from(m.mount),
    }
}

fn row(m: Mounted) -> [String; 6] {
    let mount = Mount::from(m.mount);
    let mode = if mount.read_only { "ro" } else { "rw" };
    [
        m.label,
        mount.dir,
        mount.volume,
        mode.to_owned(),
        mount.since,
        mount.pid.to_string(),
    ]
}
