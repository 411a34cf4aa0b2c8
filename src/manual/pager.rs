//! Shows a text on a terminal page by page.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Seek as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context, Result};

/// Replaces this process by a pager that shows the text: the command in `PAGER`, else `less`. Returns only if it does
/// not: then the caller has to write the text itself. That is so if `PAGER` is empty, or if there is no `less`.
///
/// Replaced, not started beside it: Ctrl-C then cannot end this process and leave the pager to fight the shell for the
/// terminal.
///
/// # Errors
/// If no temporary file can be made for the text, or if the pager exists and cannot be started.
pub fn page(text: &str) -> Result<()> {
    let Some(mut command) = pager(env::var_os("PAGER").as_deref()) else {
        return Ok(());
    };
    let input = file_with(text).context("cannot hand the page to the pager")?;
    // It only returns to say why it failed.
    let error = command.stdin(input).exec();
    if error.kind() == ErrorKind::NotFound {
        return Ok(());
    }
    Err(error).context("cannot start the pager (PAGER)")
}

/// The command of the pager, from the value of `PAGER`. If that is empty, there is none.
fn pager(variable: Option<&OsStr>) -> Option<Command> {
    let Some(line) = variable else {
        let mut less = Command::new("less");
        less.arg("-R");
        return Some(less);
    };
    if line.is_empty() {
        return None;
    }
    // A line for a shell, as for other programs: it may have options.
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(line);
    Some(shell)
}

/// A temporary file that has this text in it and no name, to be read from its start. A pipe would need a process that
/// writes into it while the pager reads.
fn file_with(text: &str) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::{file_with, pager};
    use std::ffi::OsStr;
    use std::io::Read as _;

    #[test]
    fn the_pager_is_the_users_else_less_and_none_where_it_is_empty() {
        let words = |named: Option<&str>| {
            pager(named.map(OsStr::new)).map(|command| format!("{command:?}"))
        };
        assert_eq!(words(None).as_deref(), Some(r#""less" "-R""#));
        assert_eq!(
            words(Some("more -s")).as_deref(),
            Some(r#""sh" "-c" "more -s""#)
        );
        assert_eq!(words(Some("")), None);
    }

    #[test]
    fn the_pager_reads_the_text_from_its_begin() {
        let mut text = String::new();
        let mut file = file_with("# A page\n").expect("a file");
        file.read_to_string(&mut text).expect("readable");
        assert_eq!(text, "# A page\n");
    }
}
