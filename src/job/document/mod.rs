//! A job file as a tree, whose values know where they stand: what is wrong is named with file, line and column.
//!
//! The tree is made once, when the file is read. Places are looked up in the text only where something is to be said.

mod json;
mod place;
mod yaml;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::keypath::KeyPath;
use crate::outcome::InputError;
use place::{Position, Unreadable};

/// A file, parsed.
#[derive(Clone, Debug)]
pub struct Document {
    file: PathBuf,
    text: String,
    /// How it is written.
    pub format: Format,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// Something wrong at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// The value.
    pub path: KeyPath,
    /// It is about the key that leads there, not what it says.
    pub of_key: bool,
    /// What is wrong, and what to write.
    pub what: String,
}

impl Problem {
    pub fn value(path: KeyPath, what: impl Into<String>) -> Self {
        Self {
            path,
            of_key: false,
            what: what.into(),
        }
    }

    pub fn key(path: KeyPath, what: impl Into<String>) -> Self {
        Self {
            of_key: true,
            ..Self::value(path, what)
        }
    }
}

impl Document {
    /// Parses a text that a file has: YAML if the file's name ends in `.yml` or `.yaml`, else JSON.
    ///
    /// # Errors
    /// [`InputError`] with line and column where it does not parse, or says a key twice.
    pub fn parse(file: &Path, text: &str) -> Result<(Self, Value), InputError> {
        let is_yaml = file
            .extension()
            .is_some_and(|ending| ending == "yml" || ending == "yaml");
        let format = if is_yaml { Format::Yaml } else { Format::Json };
        // Editors of other systems begin files with a byte order mark.
        let text = text.trim_start_matches('\u{feff}').to_owned();
        let tree = match format {
            Format::Json => json::tree(&text),
            Format::Yaml => yaml::tree(&text),
        };
        let document = Self {
            file: file.to_owned(),
            text,
            format,
        };
        match tree {
            Ok(tree) => Ok((document, tree)),
            Err(Unreadable { at, what }) => {
                let place = document.named(at);
                Err(InputError::new(format!("{place}: {what}")))
            }
        }
    }

    /// What is wrong, on one line that begins with its place.
    pub(super) fn said(&self, problem: &Problem) -> String {
        let Problem { path, of_key, what } = problem;
        let place = self.named(self.position(path, *of_key));
        if path.steps().is_empty() {
            format!("{place}: {what}")
        } else {
            format!("{place}: {path}: {what}")
        }
    }

    /// An error about this file's values, with its place if it is about one of them. What a job
    /// says by a keyword for all jobs is found there.
    #[must_use]
    pub fn placed(&self, error: InputError) -> InputError {
        let Some(path) = &error.path else {
            return error;
        };
        let position = self
            .position(path, false)
            .or_else(|| self.position(&path.below_first(), false));
        match position {
            Some(at) => InputError::new(format!("{}: {error}", self.named(Some(at)))),
            None => error,
        }
    }

    fn named(&self, at: Option<Position>) -> String {
        let file = self.file.display();
        at.map_or_else(
            || file.to_string(),
            |(line, column)| format!("{file}:{line}:{column}"),
        )
    }

    fn position(&self, path: &KeyPath, of_key: bool) -> Option<Position> {
        match self.format {
            Format::Json => json::position(&self.text, path, of_key),
            Format::Yaml => yaml::position(&self.text, path, of_key),
        }
    }
}

/// What a value says, as something whose shape it has.
pub(super) fn typed<T: DeserializeOwned>(value: &Value, path: &KeyPath) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let below = error.path().to_string();
        let what = error.inner();
        Problem::value(path.clone(), format!("{below}: {what}"))
    })
}
