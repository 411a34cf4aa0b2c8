//! Makes runners known to coordinators and writes them down.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use toml_edit::DocumentMut;

use super::client::{client, warning_of_plain_http};
use crate::config::{Lifetime, RunnerConfig, edit, lifetimes};
use crate::coordinator::{Answer, ApiError, Registration};
use crate::secret::Secret;

/// What tokens begin with of runners that were made on GitLab's pages.
const MADE_THERE: [&str; 2] = ["glrt-", "glrtr-"];

/// Whether a token is of a runner that was made on GitLab's pages: it need not be registered, and several hosts may serve
/// by it.
#[must_use]
pub fn is_made_there(token: &str) -> bool {
    let token = token.trim();
    MADE_THERE.iter().any(|prefix| token.starts_with(prefix))
}

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
        let expires_at = client.verify(&Secret::new(&config.token))?;
        return append(file, &config, expires_at.as_deref());
    };
    let token = client.register(&registration).map_err(explained)?;
    token.secret.expose().clone_into(&mut config.token);
    let written = append(file, &config, token.expires_at.as_deref());
    if written.is_err()
        && let Err(error) = client.unregister(&token.secret)
    {
        log::error!("the coordinator knows a runner now that is written down nowhere: {error}");
    }
    written
}

/// What to do where a coordinator registers none.
fn explained(error: ApiError) -> anyhow::Error {
    match error.answer {
        Answer::Status(410, _) => anyhow!(
            "{error}: registration tokens are switched off there; create the runner on the coordinator's pages (of an \
             administrator, a group or a project: CI/CD, Runners) and give its glrt- token in CI_SERVER_TOKEN or with \
             --token-file"
        ),
        _ => error.into(),
    }
}

/// Appends a runner to a configuration, with the time when its token expires.
fn append(file: &Path, config: &RunnerConfig, expires_at: Option<&str>) -> Result<()> {
    edit::change(file, |document| {
        edit::append(document, config)?;
        write_expiry(document, config, expires_at);
        Ok(())
    })
}

/// Writes down when the token of a runner expires.
fn write_expiry(document: &mut DocumentMut, config: &RunnerConfig, expires_at: Option<&str>) {
    let lifetime = expires_at.and_then(Lifetime::until);
    let table = edit::find(document, &config.identity());
    if let (Some(lifetime), Some(table)) = (lifetime, table) {
        lifetime.write(table);
    }
}

/// Makes a runner unknown, and takes it out of the configuration if it is there.
///
/// # Errors
/// [`ApiError`] where the coordinator does not answer, or if the configuration cannot be written.
pub fn unregister(file: &Path, config: &RunnerConfig) -> Result<()> {
    let client = client(config, Arc::new(|_, _| {}))?;
    let token = Secret::new(&config.token);
    let unregistered = if is_made_there(&config.token) {
        client.unregister_host(&token)
    } else {
        client.unregister(&token)
    };
    match unregistered {
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
        Ok(expires_at) => {
            keep_expiry(file, config, expires_at.as_deref())?;
            Ok(Health::Alive)
        }
        Err(error) if error.is_refused() && delete => {
            remove(file, config)?;
            Ok(Health::Deleted)
        }
        Err(error) if error.is_refused() => Ok(Health::Removed),
        Err(error) => Ok(Health::Unknown(error)),
    }
}

/// Writes down when a runner's token expires, unless the configuration says it already.
fn keep_expiry(file: &Path, config: &RunnerConfig, expires_at: Option<&str>) -> Result<()> {
    let Some(lifetime) = expires_at.and_then(Lifetime::until) else {
        return Ok(());
    };
    let identity = config.identity();
    let known = lifetimes(file).into_iter().find(|(of, _)| *of == identity);
    if known.is_some_and(|(_, known)| known.ends_with(&lifetime)) {
        return Ok(());
    }
    edit::change(file, |document| {
        write_expiry(document, config, expires_at);
        Ok(())
    })
}

fn remove(file: &Path, config: &RunnerConfig) -> Result<()> {
    if !file.exists() {
        return Ok(());
    }
    let identity = config.identity();
    edit::change(file, |document| edit::remove(document, &identity))
        .with_context(|| format!("{} cannot be taken out of the configuration", config.name))
}
