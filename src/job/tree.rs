//! JSON and YAML as one tree, with errors that say where they are.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Something wrong in a job file, and where: `:line:column` or `: path`.
pub(super) struct Problem {
    pub place: String,
    pub what: String,
}

impl Problem {
    pub fn at(path: &str, what: &str) -> Self {
        let place = if path.is_empty() {
            String::new()
        } else {
            format!(": {path}")
        };
        Self {
            place,
            what: what.to_owned(),
        }
    }
}

pub(super) fn join(prefix: &str, path: &str) -> String {
    match (prefix, path) {
        ("", path) => path.to_owned(),
        (prefix, "." | "") => prefix.to_owned(),
        (prefix, path) => format!("{prefix}.{path}"),
    }
}

pub(super) fn typed<T: DeserializeOwned>(value: &Value, prefix: &str) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        Problem::at(
            &join(prefix, &error.path().to_string()),
            &error.inner().to_string(),
        )
    })
}

pub(super) fn json(text: &str) -> Result<Value, Problem> {
    // Editors of other systems begin files with a byte order mark.
    serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
        let what = error.to_string();
        let what = what
            .split(" at line ")
            .next()
            .unwrap_or_default()
            .to_owned();
        Problem {
            place: format!(":{}:{}", error.line(), error.column()),
            what: format!("not JSON: {what}"),
        }
    })
}

pub(super) fn yaml(text: &str) -> Result<Value, Problem> {
    // As YAML 1.2 has it: `y` and `on` are words, as they are in commands, and `0644` is one too.
    let options = serde_saphyr::options! {
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let place = error
            .location()
            .map(|at| format!(":{}:{}", at.line(), at.column()))
            .unwrap_or_default();
        let what = error.without_snippet().to_string();
        Problem {
            place,
            what: format!("not YAML: {}", what.lines().next().unwrap_or_default()),
        }
    })
}
