//! `coffer completions`: completion scripts for shells.

use clap::CommandFactory;
use clap_complete::Shell;

use super::exit::Failure;
use super::{Cli, output};

/// Print the completion script of a shell.
///
/// For bash: coffer completions bash > /usr/share/bash-completion/completions/coffer
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "coffer", &mut script);
    output::lines(String::from_utf8_lossy(&script).trim_end())
}
