//! Unknown keys of `config.toml`, for one warning: files that were written for GitLab's runner have many. Keys that its
//! `register` writes by itself, keys with an empty or zero value, and those of runners that are not served are left out
//! of the warning.

use std::fmt;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::gitlab::{
    DEFAULTS, ELSEWHERE, FREEING, HELPER_IMAGE, NOT_THAT_HELPER, SILENT, is_helper,
};
use super::place::FileText;
use super::{CacheConfig, Config, CustomBuildDir, DockerConfig, RunnerConfig, S3Config};

/// Tables whose keys the user chooses, where an empty string is a value.
const FREE: &[&str] = &[
    "runners.docker.tmpfs",
    "runners.docker.services_tmpfs",
    "runners.docker.services_devices",
    "runners.docker.sysctls",
    "runners.docker.ulimit",
    "runners.docker.container_labels",
    "runners.docker.log_options",
    "runners.docker.volume_driver_ops",
];
/// Lists of a command's words, which may be empty.
const WORDS: &[&str] = &["entrypoint", "command"];
/// How keys that restrict something begin or end. An unknown key of this form is an error, because an operator may rely
/// on it.
const RESTRICTING: &[&str] = &["allow", "deny", "disable", "forbid", "restrict", "protect"];
const DISABLED: &str = "_disabled";
/// How many letters of a mistyped key may differ from the key that is suggested.
const TYPOS: usize = 2;

/// An unknown key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKey {
    /// The key with its tables, `runners.docker.network_mtu`.
    pub path: String,
    /// Its line and column in the file.
    pub at: (usize, usize),
    /// What may have been meant, as words of a message.
    pub hint: Option<String>,
}

impl UnknownKey {
    /// Whether it is an error, not a warning.
    pub(super) fn is_wrong(&self) -> bool {
        self.restricts() || self.is_for_runners()
    }

    /// The error about it, with what to write.
    pub(super) fn error(&self, file: &Path) -> String {
        let (line, column) = self.at;
        let place = format!("{}:{line}:{column}", file.display());
        if self.is_for_runners() {
            return format!("{place}: `{}` is not known; write [[runners]]", self.path);
        }
        let hint = self.hint.as_deref().map(|hint| format!(" ({hint})"));
        format!(
            "{place}: {} is not known, and looks as if it restricts something{}; correct it or take it out",
            self.path,
            hint.unwrap_or_default()
        )
    }

    /// Whether it is a misspelled `runners`: without it, no runner would be served.
    fn is_for_runners(&self) -> bool {
        !self.path.contains('.') && self.hint.as_deref() == Some("did you mean `runners`?")
    }

    /// Whether an operator may rely on it for safety.
    fn restricts(&self) -> bool {
        let key = self.path.rsplit('.').next().unwrap_or(&self.path);
        let key = key.to_ascii_lowercase();
        if FREEING.contains(&self.path.as_str()) {
            return false;
        }
        RESTRICTING.iter().any(|begin| key.starts_with(begin)) || key.ends_with(DISABLED)
    }

    /// One line about these keys of a file.
    #[must_use]
    pub fn warning(file: &Path, keys: &[Self]) -> String {
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        format!("{}:{}: no effect here", file.display(), keys.join(", "))
    }
}

impl fmt::Display for UnknownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.at;
        write!(f, "{line}:{column}: {}", self.path)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// Removes empty strings, which mean that a key is not set.
pub(super) fn drop_empty(table: &mut DeTable, path: &str) {
    let entries = std::mem::take(table).into_iter();
    let kept = entries.filter_map(|(key, mut value)| {
        let path = below(path, key.get_ref());
        drop_empty_in(&mut value, &path).then_some((key, value))
    });
    *table = kept.collect();
}

/// Removes empty strings within a value. Returns whether the value itself is kept.
fn drop_empty_in(value: &mut Spanned<DeValue>, path: &str) -> bool {
    match value.get_mut() {
        DeValue::String(text) => !text.is_empty(),
        DeValue::Table(inner) if !FREE.contains(&path) => {
            drop_empty(inner, path);
            true
        }
        DeValue::Array(list) => {
            let key = path.rsplit('.').next().unwrap_or(path);
            // An empty pattern allows nothing.
            let stays = WORDS.contains(&key) || key.starts_with("allowed");
            let entries = std::mem::replace(list, DeArray::new()).into_iter();
            let kept = entries.filter_map(|mut entry| {
                let keep = drop_empty_in(&mut entry, path) || stays;
                keep.then_some(entry)
            });
            *list = kept.collect();
            true
        }
        _ => true,
    }
}

/// The name of a table, or the words for its place in a message, and the keys of the table.
type Named = (&'static str, fn() -> Known);

/// The known keys of a table, and the tables below it.
struct Known {
    keys: Vec<String>,
    tables: &'static [Named],
}

impl Known {
    fn of(example: &impl Serialize, others: &[&str], tables: &'static [Named]) -> Self {
        let Ok(Value::Object(example)) = serde_json::to_value(example) else {
            unreachable!("tables of a configuration are JSON objects");
        };
        let keys = example.into_iter().map(|(key, _)| key);
        Self {
            keys: keys
                .chain(others.iter().map(|key| (*key).to_owned()))
                .collect(),
            tables,
        }
    }

    fn global() -> Self {
        Self::of(
            &Config::default(),
            &["listen_address"],
            &[("runners", Self::runner)],
        )
    }

    fn runner() -> Self {
        let tables: &[Named] = &[
            ("cache", Self::cache),
            ("custom_build_dir", Self::custom_build_dir),
            ("docker", Self::docker),
        ];
        Self::of(
            &RunnerConfig::default(),
            &["pre_get_sources_script"],
            tables,
        )
    }

    fn custom_build_dir() -> Self {
        Self::of(&CustomBuildDir::default(), &[], &[])
    }

    fn docker() -> Self {
        Self::of(
            &DockerConfig::default(),
            &[],
            &[("services", Self::service)],
        )
    }

    fn service() -> Self {
        let keys = ["name", "alias", "entrypoint", "command", "environment"];
        Self::of(&serde_json::Map::<String, Value>::new(), &keys, &[])
    }

    fn cache() -> Self {
        Self::of(&CacheConfig::default(), &["s3"], &[("s3", Self::bucket)])
    }

    fn bucket() -> Self {
        Self::of(&S3Config::default(), &[], &[])
    }

    /// Words for a message about an unknown key: why it has no effect, a known key that is spelled like it, or the table
    /// that it belongs to.
    fn hint(&self, path: &str, key: &str) -> Option<String> {
        if let Some((_, why)) = ELSEWHERE.iter().find(|(known, _)| *known == path) {
            return Some((*why).to_owned());
        }
        let written = key.to_ascii_lowercase();
        let near = self.keys.iter().map(|known| {
            let distance = strsim::damerau_levenshtein(&written, &known.to_ascii_lowercase());
            (distance, known)
        });
        let near = near.filter(|(distance, known)| *distance <= TYPOS && known.len() > 2 * TYPOS);
        if let Some((_, known)) = near.min_by_key(|(distance, _)| *distance) {
            return Some(format!("did you mean `{known}`?"));
        }
        let places: [Named; 3] = [
            ("stands at the top", Self::global),
            ("stands in [[runners]]", Self::runner),
            ("stands in [runners.docker]", Self::docker),
        ];
        let mut places = places
            .into_iter()
            .filter(|(_, known)| known().keys.iter().any(|known| known == key));
        places.next().map(|(place, _)| format!("it {place}"))
    }
}

/// The unknown keys of a configuration.
pub(super) fn unknown(table: &DeTable, source: &FileText) -> Vec<UnknownKey> {
    let mut found = Vec::new();
    look(table, "", &Known::global(), source, &mut found);
    found.sort_by_key(|key| key.at);
    found
}

fn look(
    table: &DeTable,
    path: &str,
    known: &Known,
    source: &FileText,
    found: &mut Vec<UnknownKey>,
) {
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let path = below(path, name);
        if let Some((_, inner)) = known.tables.iter().find(|(table, _)| *table == name) {
            let inner = inner();
            let entries = match value.get_ref() {
                DeValue::Array(list) => list.iter().collect(),
                _ => vec![value],
            };
            for entry in entries {
                if let DeValue::Table(entry) = entry.get_ref()
                    && is_served(&path, entry)
                {
                    look(entry, &path, &inner, source, found);
                }
            }
        } else if path == HELPER_IMAGE {
            if value.get_ref().as_str().is_some_and(is_helper) {
                found.push(UnknownKey {
                    at: source.position(key.span().start),
                    hint: Some(NOT_THAT_HELPER.to_owned()),
                    path,
                });
            }
        } else if !known.keys.iter().any(|known| known == name)
            && !says_nothing(&path, value.get_ref())
        {
            found.push(UnknownKey {
                at: source.position(key.span().start),
                hint: known.hint(&path, name),
                path,
            });
        }
    }
}

/// Whether a table is of a runner that can be served, or of none.
fn is_served(path: &str, table: &DeTable) -> bool {
    let executor = table.get("executor").filter(|_| path == "runners");
    let executor = executor.and_then(|value| value.get_ref().as_str());
    RunnerConfig::supports(executor)
}

/// Whether an unknown key with this value is left out of the warning.
fn says_nothing(path: &str, value: &DeValue) -> bool {
    let default = DEFAULTS.iter().find(|(key, _)| *key == path);
    let is_default = |value: &str| default.is_some_and(|(_, default)| *default == value);
    SILENT.contains(&path)
        || match value {
            DeValue::String(text) => text.is_empty() || is_default(text),
            DeValue::Integer(number) => number.as_str() == "0" || is_default(number.as_str()),
            DeValue::Float(number) => number.as_str() == "0.0",
            DeValue::Boolean(on) => is_default(&on.to_string()) || (default.is_none() && !on),
            DeValue::Array(list) => list.iter().all(|value| says_nothing(path, value.get_ref())),
            DeValue::Table(table) => table
                .iter()
                .all(|(key, value)| says_nothing(&below(path, key.get_ref()), value.get_ref())),
            DeValue::Datetime(_) => false,
        }
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
