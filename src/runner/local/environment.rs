//! Variables that somebody gives on the command line.

use std::path::Path;

use crate::job::variables::Variable;
use crate::outcome::InputError;

/// Variables from an `--env-file`: secrets, one `KEY=VALUE` a line; `#` begins a comment.
///
/// # Errors
/// [`InputError`] with file and line.
pub fn read_env_file(file: &Path) -> Result<Vec<Variable>, InputError> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        InputError::new(format!(
            "cannot read the env file {}: {error}",
            file.display()
        ))
    })?;
    let mut variables = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').ok_or_else(|| {
            InputError::new(format!(
                "{}:{}: expected KEY=VALUE",
                file.display(),
                number + 1
            ))
        })?;
        variables.push(Variable::secret(name.trim(), value));
    }
    Ok(variables)
}

/// A variable from `--env`: `KEY=VALUE`, or `KEY` for a secret from the environment.
///
/// # Errors
/// [`InputError`] if the environment has no such variable.
pub fn read_env(text: &str) -> Result<Variable, InputError> {
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
