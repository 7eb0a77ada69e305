//! `coffer man`: the manual pages, made from what the commands say of themselves.

use std::io;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_mangen::Man;

use super::exit::{Exit, Failure};
use super::{Cli, fsck, fstab};

/// Write the manual pages into a directory.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to write them, such as /usr/local/share/man; each page goes into its man1 or man8
    dir: PathBuf,
}

/// Writes the pages.
///
/// # Errors
/// When the directory cannot be written.
pub fn run(args: &Args) -> Result<(), Failure> {
    write_pages(&args.dir).map_err(|e| {
        let cause = format!("{} cannot be written: {e}", args.dir.display());
        Failure::new(Exit::Failure, cause, "name a directory that you may write")
    })
}

fn write_pages(dir: &Path) -> io::Result<()> {
    let (commands, helpers) = (dir.join("man1"), dir.join("man8"));
    std::fs::create_dir_all(&commands)?;
    std::fs::create_dir_all(&helpers)?;
    clap_mangen::generate_to(Cli::command(), commands)?;
    for helper in [fstab::command(), fsck::fsck8::command()] {
        Man::new(helper).section("8").generate_to(&helpers)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_page() {
        let dir = tempfile::tempdir().expect("a directory");
        write_pages(dir.path()).expect("pages");
        for command in Cli::command().get_subcommands() {
            let page = dir
                .path()
                .join(format!("man1/coffer-{}.1", command.get_name()));
            let text = std::fs::read_to_string(&page).expect("a page");
            assert!(text.contains("SYNOPSIS"), "{}", page.display());
        }
        let helper = std::fs::read_to_string(dir.path().join("man8/mount.coffer.8"));
        assert!(helper.expect("a page").contains("secret=SOURCE"));
        let helper = std::fs::read_to_string(dir.path().join("man8/fsck.coffer.8"));
        assert!(helper.expect("a page").contains("fsck(8)"));
        assert!(dir.path().join("man1/coffer.1").exists());
    }
}
