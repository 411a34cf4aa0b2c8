//! The places of values in a configuration: file, line and column.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::typed::at;
use crate::keypath::KeyPath;
use crate::outcome::InputError;

/// A file and its text.
pub(super) struct FileText<'a> {
    pub file: &'a Path,
    pub text: &'a str,
}

impl FileText<'_> {
    /// `FILE:LINE:COLUMN` of a byte offset; columns count characters.
    pub fn place(&self, offset: usize) -> String {
        let (line, column) = self.position(offset);
        format!("{}:{line}:{column}", self.file.display())
    }

    /// Line and column of a byte offset, both from 1.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.rfind('\n').map_or(0, |at| at + 1);
        (
            before.matches('\n').count() + 1,
            before[line..].chars().count() + 1,
        )
    }

    /// An error about a value.
    pub fn error(&self, table: &DeTable, path: &KeyPath, what: impl fmt::Display) -> InputError {
        let offset = at(table, path).map_or(0, |value| value.span().start);
        InputError::new(format!("{}: {path}: {what}", self.place(offset)))
    }

    /// The places of a runner and its keys.
    pub fn origin(&self, runner: &toml::Spanned<DeValue>) -> Origin {
        let keys = runner.get_ref().as_table().into_iter().flatten();
        let keys = keys.map(|(key, value)| {
            let (line, column) = self.position(value.span().start);
            (key.get_ref().to_string(), (line, column))
        });
        Origin {
            file: Some(self.file.to_owned()),
            runner: self.position(runner.span().start),
            keys: keys.collect(),
        }
    }
}

/// The places of a runner's settings, if they come from a file. Two of them are always equal, so that settings can be
/// compared wherever they come from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    file: Option<PathBuf>,
    runner: (usize, usize),
    keys: BTreeMap<String, (usize, usize)>,
}

impl Origin {
    /// The beginning of an error about a key: the key's place, else the runner's; empty without a file.
    #[must_use]
    pub fn prefix(&self, key: &str) -> String {
        let Some(file) = &self.file else {
            return String::new();
        };
        let (line, column) = self.keys.get(key).unwrap_or(&self.runner);
        format!("{}:{line}:{column}: ", file.display())
    }
}

impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Origin {}
