//! Variables that are given on the command line.

use std::path::Path;

use crate::job::variables::{Variable, assignment, is_name, not_a_name};
use crate::outcome::InputError;

/// Variables from an `--env-file`: secrets, one `KEY=VALUE` a line; `#` begins a comment.
///
/// # Errors
/// [`InputError`] with file, line and column.
pub fn read_env_file(file: &Path) -> Result<Vec<Variable>, InputError> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        InputError::new(format!(
            "cannot read the env file {}: {error}",
            file.display()
        ))
    })?;
    let mut variables = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let begin = line.trim_start();
        // Spaces around the name say nothing.
        let entry = begin.split_once('=').map_or_else(
            || begin.to_owned(),
            |(name, value)| format!("{}={value}", name.trim()),
        );
        let (name, value) = assignment(&entry).map_err(|what| {
            InputError::new(format!(
                "{}:{}:{}: {what}",
                file.display(),
                number + 1,
                line.chars().count() - begin.chars().count() + 1
            ))
        })?;
        variables.push(Variable::secret(name, value));
    }
    Ok(variables)
}

/// A variable from `--env`: `KEY=VALUE`, or `KEY` for a secret from the environment.
///
/// # Errors
/// [`InputError`] if it is no name for a variable, or the environment has no such one.
pub fn read_env(text: &str) -> Result<Variable, InputError> {
    let name = text.split_once('=').map_or(text, |(name, _)| name);
    if !is_name(name) {
        return Err(InputError::new(format!("--env: {}", not_a_name(name))));
    }
    match text.split_once('=') {
        Some((name, value)) => Ok(Variable::public(name, value)),
        None => std::env::var(text)
            .map(|value| Variable::secret(text, value))
            .map_err(|error| {
                InputError::new(format!(
                    "--env {text}: {error}; export it, or write --env {text}=VALUE"
                ))
            }),
    }
}
