//! Tokens that expire are replaced in time: the coordinator makes a new one, which goes into the configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::client::client;
use crate::config::{Lifetime, RunnerConfig, edit, lifetimes};
use crate::coordinator::ApiError;
use crate::logging::carried;
use crate::secret::Secret;

/// The pause after an attempt that failed.
const PAUSE: Duration = Duration::from_mins(10);

/// The renewal of one runner's token.
#[derive(Default)]
pub(super) struct Renewal {
    /// When it is due; `None`: never.
    due: Option<Timestamp>,
    /// An attempt.
    under_way: Option<JoinHandle<Result<()>>>,
}

impl Renewal {
    /// What the configuration says of the token now. Where it never expires, there is no renewal.
    pub fn follow(&mut self, lifetime: Option<Lifetime>) {
        self.due = lifetime.map(|lifetime| lifetime.renewal());
    }

    /// Whether the token may be good no longer at any moment, until the configuration is read again.
    pub fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Begins an attempt if one is due, and ends one that is done. The configuration changes by it.
    pub fn go_on(&mut self, file: &Path, config: &RunnerConfig) {
        if let Some(done) = self.under_way.take_if(|thread| thread.is_finished()) {
            self.ended(done);
        }
        let now = Timestamp::now();
        if self.under_way.is_some() || self.due.is_none_or(|due| due > now) {
            return;
        }
        self.due = now.checked_add(PAUSE).ok();
        let (file, config): (PathBuf, _) = (file.to_owned(), config.clone());
        let thread = thread::Builder::new().name("renewal".to_owned());
        match thread.spawn(carried(move || renew(&file, &config))) {
            Ok(thread) => self.under_way = Some(thread),
            Err(error) => log::error!("cannot start a thread: {error}"),
        }
    }

    fn ended(&mut self, thread: JoinHandle<Result<()>>) {
        match thread.join() {
            Ok(renewed) => {
                tell(&renewed);
                let error = renewed.as_ref().err();
                let error = error.and_then(|error| error.downcast_ref::<ApiError>());
                if error.is_some_and(ApiError::is_refused) {
                    self.due = None;
                }
            }
            Err(_) => {
                log::error!("the runner has a bug, please report it: a token's renewal panicked");
            }
        }
    }
}

impl Drop for Renewal {
    /// The new token must not be lost on its way into the configuration.
    fn drop(&mut self) {
        if let Some(thread) = self.under_way.take() {
            self.ended(thread);
        }
    }
}

fn tell(renewed: &Result<()>) {
    match renewed {
        Ok(()) => log::info!("the runner has a new token, as the one before was to expire"),
        Err(error) => {
            log::error!("the runner's token expires, and there is no new one: {error:#}");
        }
    }
}

/// Renews the token of a configuration's runner at once, if that is due. Returns whether it was: the configuration may
/// say another one then.
#[must_use]
pub fn renew_if_due(file: &Path, config: &RunnerConfig) -> bool {
    let identity = config.identity();
    let now = Timestamp::now();
    let mut known = lifetimes(file).into_iter();
    let is_due = known.any(|(of, lifetime)| of == identity && lifetime.renewal() <= now);
    if is_due {
        tell(&renew(file, config));
    }
    is_due
}

/// Gets a new token while the file is locked and known to be writable: the one before is good no longer then.
fn renew(file: &Path, config: &RunnerConfig) -> Result<()> {
    edit::check(file)?;
    let client = client(config, Arc::new(|_, _| {}))?;
    edit::change(file, |document| {
        let table = edit::find(document, &config.identity());
        let table = table.context("the runner is not in the configuration any more")?;
        let token = client.renew(&Secret::new(config.token.trim()))?;
        edit::set_token(table, &token.secret);
        if let Some(lifetime) = token.expires_at.as_deref().and_then(Lifetime::until) {
            lifetime.write(table);
        } else {
            Lifetime::remove(table);
        }
        Ok(())
    })
}
