//! What goes to stdout, as far as it is not the log of a job: whether it is to have colours, and what there is to do
//! where its reader has gone.

use std::fmt;
use std::io::{self, ErrorKind, IsTerminal, Write as _};

use anyhow::{Context, Result};

pub(super) const NO_STDOUT: &str = "cannot write to stdout";

/// Who read stdout has gone (`… | head`): there is nothing more to do, and nothing to complain of.
#[derive(Debug)]
pub struct ReaderGone;

impl ReaderGone {
    /// The exit status of a program that SIGPIPE ends, as shells have it.
    pub const STATUS: u8 = 141;
}

impl fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reader of stdout has gone")
    }
}

impl std::error::Error for ReaderGone {}

/// Writes a text to stdout.
///
/// # Errors
/// [`ReaderGone`], or if stdout does not take it.
pub fn show(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(ReaderGone.into()),
        written => written.context(NO_STDOUT),
    }
}

/// Whether stdout is a terminal that is to show colours.
#[must_use]
pub fn wants_colour() -> bool {
    let value = |name| std::env::var(name).unwrap_or_default();
    io::stdout().is_terminal() && shows_colour(&value("NO_COLOR"), &value("TERM"))
}

/// Whether a line on stdout can be written over: it is a terminal, and not a `dumb` one.
pub(super) fn moves_cursor() -> bool {
    io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|kind| kind != DUMB)
}

/// The kind of terminal that knows letters alone.
const DUMB: &str = "dumb";

/// Whether a terminal of this kind is to show colours; a `dumb` one has none.
fn shows_colour(no_colour: &str, terminal: &str) -> bool {
    no_colour.is_empty() && terminal != DUMB
}

#[cfg(test)]
mod tests {
    use super::shows_colour;

    #[test]
    fn a_dumb_terminal_shows_no_colours() {
        assert!(shows_colour("", "xterm-256color") && shows_colour("", ""));
        assert!(!shows_colour("", "dumb") && !shows_colour("1", "xterm"));
    }
}
