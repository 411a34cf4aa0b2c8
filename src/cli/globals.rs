//! What all commands share: global options, the configuration, output, and exit statuses.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Result;
use log::LevelFilter;

use crate::config::{Config, Loaded, UnknownKey, load};
use crate::local::{ReaderGone, show};
use crate::logging::{self, Format};
use crate::outcome::{InputError, shown};
use crate::service::record;
use crate::service::scheduler::GlobalOptions;
use crate::state::{self, State, is_root};
use crate::worker::recovery::Recovery;

/// The name of the program.
pub(super) const NAME: &str = "alloy-runner";
/// The exit status for wrong usage, and for a file that cannot be read or is wrong.
const WRONG_USAGE: u8 = 2;
/// The exit status for failures of the engine, a coordinator or this host.
pub(super) const SYSTEM_FAILURE: u8 = 3;

/// Options of all commands.
pub(super) struct Globals {
    pub config: Option<PathBuf>,
    pub given: GlobalOptions,
}

impl Globals {
    /// Reads the configuration, and warns of unknown keys.
    pub fn configuration(&self) -> Result<Config> {
        let file = self.config_file()?;
        let Loaded { config, unknown } = load(&file)?;
        if !unknown.is_empty() {
            log::warn!("{}", UnknownKey::warning(&file, &unknown));
        }
        Ok(config)
    }

    /// What recovery before jobs has to know.
    pub fn recovery(&self) -> Result<Recovery> {
        Ok(Recovery {
            state: State::open(state::directory()?)?,
            print_commands: self.given.print_commands,
            report: record::report,
        })
    }

    /// The path of the configuration.
    pub fn config_file(&self) -> Result<PathBuf, InputError> {
        self.config.clone().map_or_else(default_file, Ok)
    }

    /// Starts the log, with the settings of the command line, else those of the configuration.
    pub fn start_logging(&self, format: Option<Format>) {
        // Errors in it are ignored here: a command that needs the configuration reads it again and reports them.
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

/// The path of the configuration without `--config`: `/etc/alloy-runner/config.toml` for root, else
/// `~/.alloy-runner/config.toml`.
///
/// # Errors
/// [`InputError`] if there is no home directory.
fn default_file() -> Result<PathBuf, InputError> {
    if is_root() {
        return Ok(PathBuf::from("/etc/alloy-runner/config.toml"));
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    home.map(|home| PathBuf::from(home).join(".alloy-runner/config.toml"))
        .ok_or_else(|| InputError::new("HOME is not set; name the configuration with --config"))
}

/// The exit status of a command. An error is printed.
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

/// Prints an error as one line on stderr, and returns the exit status for it.
fn failed(error: &anyhow::Error) -> u8 {
    if error.is::<ReaderGone>() {
        return ReaderGone::STATUS;
    }
    // If stderr cannot be written to, the exit status still reports the failure.
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
