//! The configuration of a runner that serves for long: read, and watched for changes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::LevelFilter;

use crate::config::{Config, Lifetime, Loaded, RunnerConfig, UnknownKey, lifetimes, load};
use crate::outcome::InputError;

/// The pause between two job requests unless the configuration says so, and the longest.
const CHECK_INTERVAL: Duration = Duration::from_secs(3);
const LONGEST_INTERVAL: Duration = Duration::from_hours(1);
/// How long jobs have to end in unless the configuration says so.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest `shutdown_timeout`; more than this a clock may not be able to add.
const LONGEST_TIMEOUT: Duration = Duration::from_hours(24 * 3650);

/// What counts for all runners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many jobs may run at once on this host; `None`: any number.
    pub concurrent: Option<u32>,
    /// The pause between two job requests of a runner.
    pub check_interval: Duration,
    /// How long jobs have to end in when the runner is stopped.
    pub shutdown_timeout: Duration,
    /// Where metrics are shown.
    pub metrics_server: Option<String>,
    /// How much the runner says of itself.
    pub log_level: Option<LevelFilter>,
}

impl Settings {
    /// Where there is no configuration, any number of jobs may run at once.
    #[must_use]
    pub fn without_file() -> Self {
        Self {
            concurrent: None,
            ..Self::from(&Config::default())
        }
    }
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        Self {
            concurrent: Some(config.concurrent.max(1)),
            check_interval: seconds(Some(config.check_interval))
                .map_or(CHECK_INTERVAL, |interval| interval.min(LONGEST_INTERVAL)),
            shutdown_timeout: seconds(config.shutdown_timeout)
                .map_or(SHUTDOWN_TIMEOUT, |limit| limit.min(LONGEST_TIMEOUT)),
            metrics_server: config.metrics_server.clone(),
            log_level: config.log_level,
        }
    }
}

/// What 0 and less say nothing of.
fn seconds(number: Option<i64>) -> Option<Duration> {
    let number = u64::try_from(number?).ok().filter(|number| *number > 0);
    number.map(Duration::from_secs)
}

/// A configuration, as the scheduler wants it.
pub struct Contents {
    /// What counts for all runners.
    pub settings: Settings,
    /// The runners.
    pub runners: Vec<RunnerConfig>,
    /// Those of them whose tokens expire, by their identities.
    pub lifetimes: Vec<(String, Lifetime)>,
}

/// A configuration file.
pub struct ConfigFile {
    path: PathBuf,
    /// Tells one state of the file from another.
    seen: Option<(u64, u64, i64, i64)>,
    /// Keys without effect that were told of.
    warned: Vec<String>,
}

impl ConfigFile {
    /// Reads a file for the first time.
    ///
    /// # Errors
    /// As [`load`].
    pub fn open(path: PathBuf) -> Result<(Self, Contents), InputError> {
        let mut file = Self {
            path,
            seen: None,
            warned: Vec::new(),
        };
        let contents = file.read()?;
        Ok((file, contents))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is another file than when it was read.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.look() != self.seen
    }

    /// Reads it. Keys that mean nothing here are warned of once.
    ///
    /// # Errors
    /// As [`load`].
    pub fn read(&mut self) -> Result<Contents, InputError> {
        // Whatever comes of it: what cannot be read now is not tried again until it changes.
        self.seen = self.look();
        let Loaded { config, unknown } = load(&self.path)?;
        let is_new = |key: &UnknownKey| !self.warned.contains(&key.path);
        let new: Vec<UnknownKey> = unknown.into_iter().filter(is_new).collect();
        if !new.is_empty() {
            log::warn!("{}", UnknownKey::warning(&self.path, &new));
        }
        self.warned.extend(new.into_iter().map(|key| key.path));
        Ok(Contents {
            settings: Settings::from(&config),
            runners: config.runners,
            lifetimes: lifetimes(&self.path),
        })
    }

    fn look(&self) -> Option<(u64, u64, i64, i64)> {
        let data = fs::metadata(&self.path).ok()?;
        Some((data.ino(), data.len(), data.mtime(), data.mtime_nsec()))
    }
}
