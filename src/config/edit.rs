//! Changes to `config.toml` by commands: comments and order are kept, and the file is replaced in one step.

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, Value};

use super::RunnerConfig;
use super::environment::expanded;
use crate::outcome::InputError;
use crate::partial;
use crate::secret::Secret;

/// The first lines of a new configuration.
const BEGIN: &str = "concurrent = 1\n";

/// Checks that a change could be written.
///
/// # Errors
/// If the directory is not there and cannot be made, or cannot be written to.
pub fn check(file: &Path) -> Result<()> {
    let (directory, _) = place(file)?;
    tempfile::tempfile_in(&directory)
        .map(drop)
        .with_context(|| format!("cannot write to {}", directory.display()))
}

/// Changes a file: one process at a time, in one step, with mode 0600.
///
/// # Errors
/// [`InputError`] for a file that is no TOML, or those of `change`, or if it cannot be written.
pub fn change(file: &Path, change: impl FnOnce(&mut DocumentMut) -> Result<()>) -> Result<()> {
    let (directory, path) = place(file)?;
    let failed = || format!("cannot write {}", path.display());
    let lock = File::open(&directory).with_context(failed)?;
    lock.lock().with_context(failed)?;
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => BEGIN.to_owned(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        let message = error.message().replace('\n', "; ");
        InputError::new(format!("{}: {message}", path.display()))
    })?;
    change(&mut document)?;
    let mut new = partial::create(&directory).with_context(failed)?;
    new.write_all(document.to_string().as_bytes())
        .with_context(failed)?;
    new.as_file()
        .set_permissions(Permissions::from_mode(0o600))
        .with_context(failed)?;
    new.as_file().sync_all().with_context(failed)?;
    new.persist(&path)
        .map_err(|error| error.error)
        .with_context(failed)?;
    Ok(())
}

/// The file's directory, which is created if it is missing, and the file's path without links.
fn place(file: &Path) -> Result<(PathBuf, PathBuf)> {
    let path = file.canonicalize().or_else(|_| std::path::absolute(file));
    let path = path.with_context(|| format!("cannot find {}", file.display()))?;
    let directory = path.parent().unwrap_or(Path::new("/")).to_owned();
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make the directory {}", directory.display()))?;
    Ok((directory, path))
}

/// Appends a runner, without the keys that have their default value.
///
/// # Errors
/// If the file has its runners in another form than `[[runners]]`.
pub fn append(document: &mut DocumentMut, config: &RunnerConfig) -> Result<()> {
    let mut table = toml_edit::ser::to_document(config)?.as_table().clone();
    let default = toml_edit::ser::to_document(&RunnerConfig::default())?;
    leave_out(&mut table, default.as_table());
    table.set_position(None);
    let runners = document
        .entry("runners")
        .or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    let Some(runners) = runners.as_array_of_tables_mut() else {
        bail!("the runners of the configuration must stand as [[runners]] each");
    };
    runners.push(table);
    Ok(())
}

/// Removes the keys that have the same value in `default`, and writes inner tables as `[tables]`.
fn leave_out(table: &mut Table, default: &Table) {
    table.retain(|key, item| {
        let inner = std::mem::take(item).into_table();
        match inner {
            Ok(mut inner) => {
                let none = Table::new();
                leave_out(
                    &mut inner,
                    default.get(key).and_then(Item::as_table).unwrap_or(&none),
                );
                let keep = !inner.is_empty();
                *item = Item::Table(inner);
                keep
            }
            Err(value) => {
                let same = default.get(key).map(ToString::to_string) == Some(value.to_string());
                *item = value;
                !same
            }
        }
    });
}

/// Removes the runners with this identity, see [`RunnerConfig::identity`].
///
/// # Errors
/// Never, for a configuration that could be read.
pub fn remove(document: &mut DocumentMut, identity: &str) -> Result<()> {
    let Some(runners) = document
        .get_mut("runners")
        .and_then(Item::as_array_of_tables_mut)
    else {
        return Ok(());
    };
    runners.retain(|table| self::identity(table) != identity);
    Ok(())
}

/// The table of the runner with this identity.
pub fn find<'d>(document: &'d mut DocumentMut, identity: &str) -> Option<&'d mut Table> {
    let runners = document.get_mut("runners")?.as_array_of_tables_mut()?;
    let mut runners = runners.iter_mut();
    runners.find(|table| self::identity(table) == identity)
}

/// Gives the runner of a table another token.
pub fn set_token(table: &mut Table, token: &Secret) {
    set(table, "token", token.expose().into());
}

/// Puts a value in the place of one that is there, whose comment stays.
pub(super) fn set(table: &mut Table, key: &str, value: Value) {
    let mut value = value;
    if let Some(before) = table.get(key).and_then(Item::as_value) {
        *value.decor_mut() = before.decor().clone();
    }
    table.insert(key, Item::Value(value));
}

/// The identity of the runner of a table, see [`RunnerConfig::identity`].
pub(super) fn identity(table: &Table) -> String {
    let text = |key| {
        let text = table.get(key).and_then(Item::as_str).unwrap_or_default();
        expanded(text, |name| std::env::var(name).ok()).unwrap_or_else(|_| text.to_owned())
    };
    let config = RunnerConfig {
        url: text("url"),
        token: text("token"),
        ..RunnerConfig::default()
    };
    config.identity()
}

#[cfg(test)]
mod tests {
    use super::{append, change, remove};
    use crate::config::{DockerConfig, RunnerConfig, load};
    use std::os::unix::fs::PermissionsExt;

    fn runner(name: &str) -> RunnerConfig {
        RunnerConfig {
            name: name.to_owned(),
            url: "https://c".to_owned(),
            token: format!("token of {name}"),
            executor: Some("docker".to_owned()),
            docker: DockerConfig {
                image: Some("ruby:2.1".to_owned()),
                volumes: Some(vec!["/cache".to_owned()]),
                ..DockerConfig::default()
            },
            ..RunnerConfig::default()
        }
    }

    #[test]
    fn comments_and_order_stay_and_what_goes_without_saying_is_left_out() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("new/config.toml");
        change(&file, |document| append(document, &runner("a"))).expect("written");
        let text = std::fs::read_to_string(&file).expect("there");
        let want = "concurrent = 1\n\n[[runners]]\nname = \"a\"\nurl = \"https://c\"\ntoken = \"token of a\"\n\
                    executor = \"docker\"\n\n[runners.docker]\nimage = \"ruby:2.1\"\nvolumes = [\"/cache\"]\n";
        assert_eq!(text, want);
        let mode = std::fs::metadata(&file)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let commented = format!("# mine\n{text}# the end\n");
        std::fs::write(&file, &commented).expect("written");
        change(&file, |document| append(document, &runner("b"))).expect("written");
        let both = load(&file).expect("good").config.runners;
        assert_eq!(both, [runner("a"), runner("b")]);
        change(&file, |document| remove(document, &runner("b").identity())).expect("written");
        assert_eq!(std::fs::read_to_string(&file).expect("there"), commented);
    }

    #[test]
    fn those_who_register_at_once_lose_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("config.toml");
        std::thread::scope(|scope| {
            for number in 0..16 {
                let file = &file;
                scope.spawn(move || {
                    let runner = runner(&number.to_string());
                    change(file, |document| append(document, &runner)).expect("written");
                });
            }
        });
        assert_eq!(load(&file).expect("good").config.runners.len(), 16);
        let left = std::fs::read_dir(directory.path()).expect("there").count();
        assert_eq!(left, 1, "nothing but the file");
    }
}
