//! Makes runners known to coordinators and writes them down.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::client::{client, warning_of_plain_http};
use crate::config::{RunnerConfig, edit};
use crate::coordinator::{Answer, ApiError, Registration};
use crate::secret::Secret;

/// Whether a coordinator knows a runner.
#[derive(Debug)]
pub enum Health {
    /// It does.
    Alive,
    /// It does not.
    Removed,
    /// It does not, and the runner is taken out of the configuration.
    Deleted,
    /// It did not say.
    Unknown(ApiError),
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alive => f.write_str("is alive"),
            Self::Removed => {
                f.write_str("is not known any more; `alloy-runner verify --delete` takes it out")
            }
            Self::Deleted => f.write_str("was not known any more, and is taken out"),
            Self::Unknown(error) => write!(f, "{error}"),
        }
    }
}

/// Finds out whether a coordinator is at a runner's address.
///
/// # Errors
/// [`crate::outcome::InputError`] for an address that is none, [`ApiError`] where none answers.
pub fn reach(config: &RunnerConfig) -> Result<()> {
    match client(config, Arc::new(|_, _| {}))?.verify(&Secret::new("")) {
        // No coordinator knows an empty token; what it says of one shows that it is there.
        Err(error)
            if error.is_temporary()
                || matches!(error.answer, Answer::Gone | Answer::Status(_, Some(_))) =>
        {
            Err(error.into())
        }
        _ => Ok(()),
    }
}

/// Registers a runner and appends it to a configuration. Without a registration its token is checked instead.
///
/// # Errors
/// [`ApiError`] where the coordinator does not want it, or if the configuration cannot be written: then the
/// runner is not registered either.
pub fn register(
    file: &Path,
    config: RunnerConfig,
    registration: Option<Registration>,
) -> Result<()> {
    let client = client(&config, Arc::new(|_, _| {}))?;
    config.check_executor()?;
    if let Some(warning) = warning_of_plain_http(&config.url) {
        log::warn!("{warning}");
    }
    let mut config = config;
    edit::check(file)?;
    let Some(registration) = registration else {
        client.verify(&Secret::new(&config.token))?;
        return edit::change(file, |document| edit::append(document, &config));
    };
    let token = client.register(&registration)?;
    token.expose().clone_into(&mut config.token);
    let written = edit::change(file, |document| edit::append(document, &config));
    if written.is_err()
        && let Err(error) = client.unregister(&token)
    {
        log::error!("the coordinator knows a runner now that is written down nowhere: {error}");
    }
    written
}

/// Makes a runner unknown, and takes it out of the configuration if it is there.
///
/// # Errors
/// [`ApiError`] where the coordinator does not answer, or if the configuration cannot be written.
pub fn unregister(file: &Path, config: &RunnerConfig) -> Result<()> {
    match client(config, Arc::new(|_, _| {}))?.unregister(&Secret::new(&config.token)) {
        Err(error) if error.is_refused() => {
            log::warn!("{}: the coordinator did not know it: {error}", config.name);
        }
        result => result?,
    }
    remove(file, config)
}

/// Asks whether a runner is known, and with `delete` takes it out of the configuration if not.
///
/// # Errors
/// If its settings are wrong, or the configuration cannot be written.
pub fn verify(file: &Path, config: &RunnerConfig, delete: bool) -> Result<Health> {
    let token = Secret::new(&config.token);
    match client(config, Arc::new(|_, _| {}))?.verify(&token) {
        Ok(()) => Ok(Health::Alive),
        Err(error) if error.is_refused() && delete => {
            remove(file, config)?;
            Ok(Health::Deleted)
        }
        Err(error) if error.is_refused() => Ok(Health::Removed),
        Err(error) => Ok(Health::Unknown(error)),
    }
}

fn remove(file: &Path, config: &RunnerConfig) -> Result<()> {
    if !file.exists() {
        return Ok(());
    }
    let identity = config.identity();
    edit::change(file, |document| edit::remove(document, &identity))
        .with_context(|| format!("{} cannot be taken out of the configuration", config.name))
}
