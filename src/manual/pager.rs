//! Shows a text on a terminal page by page.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind, Seek as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context, Result};

/// Replaces this process by a pager that shows the text: the command in `PAGER`, else `less`. Returns only if it does
/// not: then the caller has to write the text itself. That is so if `PAGER` is empty, or if there is no `less`. A command
/// in `PAGER` that is not there leaves it to `cat`.
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

/// What a shell does before and after the line in `PAGER`. It outlives Ctrl-C, as pagers do; what cannot be started ends
/// with 126 or 127, and has read nothing.
const AROUND: [&str; 2] = ["trap : INT\n", "\ncase $? in 126 | 127) exec cat ;; esac"];

/// The command of the pager, from the value of `PAGER`. If that is empty, there is none.
fn pager(variable: Option<&OsStr>) -> Option<Command> {
    let Some(line) = variable else {
        let mut less = Command::new("less");
        less.arg("-R");
        return Some(less);
    };
    if line.as_encoded_bytes().trim_ascii().is_empty() {
        return None;
    }
    // A line for a shell, as for other programs: it may have options.
    let script: OsString = [AROUND[0].as_ref(), line, AROUND[1].as_ref()]
        .into_iter()
        .collect();
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script);
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
    use std::io::Read as _;

    #[test]
    fn the_pager_is_the_users_else_less_and_none_where_it_is_empty() {
        let less = pager(None).map(|command| format!("{command:?}"));
        assert_eq!(less.as_deref(), Some(r#""less" "-R""#));
        let shown = |line: &str| {
            let input = file_with("a\n").expect("a file");
            let output = pager(Some(line.as_ref()))?.stdin(input).output();
            Some(String::from_utf8(output.expect("started").stdout).expect("UTF-8"))
        };
        assert_eq!(shown("sed s/a/b/").as_deref(), Some("b\n"));
        assert_eq!(shown("no-such-pager -s # none").as_deref(), Some("a\n"));
        assert_eq!(shown("/etc/passwd").as_deref(), Some("a\n"));
        assert_eq!(shown(" "), None);
        assert_eq!(shown(""), None);
    }

    #[test]
    fn the_pager_reads_the_text_from_its_begin() {
        let mut text = String::new();
        let mut file = file_with("# A page\n").expect("a file");
        file.read_to_string(&mut text).expect("readable");
        assert_eq!(text, "# A page\n");
    }
}
