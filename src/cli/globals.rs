//! What all commands share: the options that count for each, the configuration, how they end and what they say then.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Result;
use log::LevelFilter;

use crate::config::{Config, Loaded, UnknownKey, load};
use crate::local::{ReaderGone, show};
use crate::logging::{self, Format};
use crate::outcome::{InputError, shown};
use crate::service::scheduler::GlobalOptions;
use crate::state::is_root;

/// The name of the program.
pub(super) const NAME: &str = "alloy-runner";
/// The program was not used as it can be, or what it was to read cannot be read.
const WRONG_USAGE: u8 = 2;
/// Something failed that is not the user's or the job's doing.
pub(super) const SYSTEM_FAILURE: u8 = 3;

/// Options that count for all commands.
pub(super) struct Globals {
    pub config: Option<PathBuf>,
    pub given: GlobalOptions,
}

impl Globals {
    /// Reads the configuration. Keys that have no effect here are warned of.
    pub fn configuration(&self) -> Result<Config> {
        let file = self.config_file()?;
        let Loaded { config, unknown } = load(&file)?;
        if !unknown.is_empty() {
            log::warn!("{}", UnknownKey::warning(&file, &unknown));
        }
        Ok(config)
    }

    /// Where the configuration is.
    pub fn config_file(&self) -> Result<PathBuf, InputError> {
        self.config.clone().map_or_else(default_file, Ok)
    }

    /// Begins to log: as the command line says, else as the configuration does, if there is one.
    pub fn start_logging(&self, format: Option<Format>) {
        // What is wrong with it is said by the command that needs it.
        let config = self.config_file().ok().and_then(|file| load(&file).ok());
        let config = config.map(|loaded| loaded.config).unwrap_or_default();
        let level = self.given.log_level.or(config.log_level);
        let format = format.or_else(|| config.log_format?.parse().ok());
        logging::start(
            level.unwrap_or(LevelFilter::Info),
            format.unwrap_or_default(),
        );
    }
}

/// Where the configuration is by default: `/etc/alloy-runner/config.toml` for root, else
/// `~/.alloy-runner/config.toml`.
///
/// # Errors
/// [`InputError`] where there is no home directory.
fn default_file() -> Result<PathBuf, InputError> {
    if is_root() {
        return Ok(PathBuf::from("/etc/alloy-runner/config.toml"));
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    home.map(|home| PathBuf::from(home).join(".alloy-runner/config.toml"))
        .ok_or_else(|| InputError::new("HOME is not set; name the configuration with --config"))
}

/// The exit status; what failed is said.
pub(super) fn status_of(result: Result<u8>) -> u8 {
    result.unwrap_or_else(|error| failed(&error))
}

/// Writes a line to stdout.
///
/// # Errors
/// As [`show`].
pub(super) fn say(line: impl std::fmt::Display) -> Result<()> {
    show(&format!("{line}\n"))
}

/// Says on one line what failed.
fn failed(error: &anyhow::Error) -> u8 {
    if error.is::<ReaderGone>() {
        return ReaderGone::STATUS;
    }
    // Where stderr has no reader either, the status still tells.
    let _ = writeln!(
        io::stderr(),
        "alloy-runner: {}",
        shown(&format!("{error:#}"))
    );
    if error.is::<InputError>() {
        WRONG_USAGE
    } else {
        SYSTEM_FAILURE
    }
}
