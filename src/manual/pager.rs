//! Shows a text on a terminal page by page.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Seek as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context, Result};

/// Becomes the pager with this text: `$PAGER`, else `less`. Comes back where there is none: the text is still to be
/// written.
///
/// The pager takes this process's place, so no signal of the terminal ends one of two and leaves the other.
///
/// # Errors
/// If the text cannot be handed over, or a pager that is there cannot be started.
pub fn page(text: &str) -> Result<()> {
    let Some(mut command) = pager(env::var_os("PAGER").as_deref()) else {
        return Ok(());
    };
    let input = file_with(text).context("cannot hand the page to the pager")?;
    let error = command.stdin(input).exec();
    if error.kind() == ErrorKind::NotFound {
        return Ok(());
    }
    Err(error).context("cannot start the pager (PAGER)")
}

/// The command of the pager. An empty `PAGER` means none.
fn pager(named: Option<&OsStr>) -> Option<Command> {
    let Some(named) = named else {
        let mut less = Command::new("less");
        less.arg("-R");
        return Some(less);
    };
    if named.is_empty() {
        return None;
    }
    // It may have options.
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(named);
    Some(shell)
}

/// A file without a name that has this text in it, to be read from its begin.
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
