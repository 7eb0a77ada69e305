//! Consent to what cannot be taken back: asked for on a terminal, `--yes` elsewhere.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write};

use super::exit::{Exit, Failure};
use super::output;

/// The options of every command that destroys something.
#[derive(Debug, Clone, clap::Args)]
pub struct Consent {
    /// Do not ask
    #[arg(long)]
    yes: bool,

    /// Only say what would be done
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
}

impl Consent {
    /// Returns true if `action`, such as "remove slot 2", is to be done; asks if that is not known.
    ///
    /// # Errors
    /// When nobody can be asked, or who was asked says no.
    pub fn to(&self, action: &str) -> Result<bool, Failure> {
        if self.dry_run {
            output::lines(&format!("would {action}"))?;
            return Ok(false);
        }
        if self.yes || ask(action)? {
            return Ok(true);
        }
        Err(Failure::new(Exit::Failure, "given up", ""))
    }
}

fn ask(action: &str) -> Result<bool, Failure> {
    let terminal = || {
        let file = File::options().read(true).write(true).open("/dev/tty");
        file.ok().filter(|_| std::io::stdin().is_terminal())
    };
    let Some(mut terminal) = terminal() else {
        return Err(Failure::usage(
            format!("this would {action}, and there is no terminal to ask on"),
            "add --yes, or see what it would do with --dry-run",
        ));
    };
    let broken = |e: std::io::Error| {
        let cause = format!("the terminal cannot be used: {e}");
        Failure::new(Exit::Failure, cause, "add --yes")
    };
    write!(terminal, "Really {action}? [y/N] ").map_err(broken)?;
    let mut answer = String::new();
    BufReader::new(&terminal)
        .read_line(&mut answer)
        .map_err(broken)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
