//! Asks for a secret on the terminal: no echo, and straight into locked memory.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};

use crate::volume::SecretBytes;

use super::super::exit::{Exit, Failure};
use super::super::output::printable;
use super::{Purpose, SOURCES, read_all};

/// Asks for the secret of the volume in `volume_dir`.
///
/// # Errors
/// When there is no terminal, the two answers differ, or the user gives up.
pub fn ask(volume_dir: &Path, purpose: Purpose<'_>) -> Result<SecretBytes, Failure> {
    let terminal = File::options()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(|_| {
            Failure::usage(
                "no secret was given and there is no terminal to ask on",
                format!("add `--secret` with {SOURCES}"),
            )
        })?;
    let volume = printable(&volume_dir.display().to_string());
    let first = match purpose {
        Purpose::Unlock => format!("Passphrase of {volume}: "),
        Purpose::Create { .. } => format!("New passphrase for {volume}: "),
    };
    let secret = ask_once(&terminal, &first)?;
    if purpose != Purpose::Unlock && ask_once(&terminal, "The same again: ")? != secret {
        return Err(Failure::usage(
            "the two passphrases differ",
            "run the command again",
        ));
    }
    Ok(secret)
}

fn ask_once(terminal: &File, question: &str) -> Result<SecretBytes, Failure> {
    let broken = |e: io::Error| {
        let cause = format!("the terminal cannot be used: {e}");
        Failure::new(
            Exit::Failure,
            cause,
            format!("add `--secret` with {SOURCES}"),
        )
    };
    let hidden = Hidden::new(terminal).map_err(|e| broken(e.into()))?;
    (&*terminal)
        .write_all(question.as_bytes())
        .map_err(broken)?;
    let mut line = Line {
        terminal,
        interrupt: hidden.interrupt(),
        end: None,
    };
    let secret = read_all(&mut line, "the terminal")?;
    match line.end {
        Some(End::Newline) => Ok(secret),
        Some(End::Interrupt) | None => {
            drop(hidden);
            let _ = (&*terminal).write_all(b"\n");
            Err(Failure::new(Exit::Failure, "given up", ""))
        }
    }
}

/// A terminal that shows nothing but the newline of what is typed, until it is dropped.
///
/// Signals of the keyboard are off meanwhile, or one of them would leave the terminal silent; the
/// interrupt character ends the line instead.
struct Hidden<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn new(terminal: &'a File) -> rustix::io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes -= LocalModes::ECHO | LocalModes::ISIG;
        hidden.local_modes |= LocalModes::ECHONL | LocalModes::ICANON;
        hidden.special_codes[SpecialCodeIndex::VEOL] =
            before.special_codes[SpecialCodeIndex::VINTR];
        tcsetattr(terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }

    fn interrupt(&self) -> u8 {
        self.before.special_codes[SpecialCodeIndex::VINTR]
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        // A terminal that has gone needs no restoring, and there is nobody to tell.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

/// What ended a line.
enum End {
    Newline,
    Interrupt,
}

/// One line of a terminal.
struct Line<'a> {
    terminal: &'a File,
    interrupt: u8,
    end: Option<End>,
}

impl Read for Line<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.end.is_some() {
            return Ok(0);
        }
        let n = self.terminal.read(buf)?;
        self.end = match buf.get(..n).and_then(<[u8]>::last) {
            Some(b'\n') => Some(End::Newline),
            Some(b) if *b == self.interrupt => Some(End::Interrupt),
            _ => None,
        };
        Ok(n)
    }
}
