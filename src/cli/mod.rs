//! The command line: arguments in, exit status out.

mod archives;
mod completions;
mod exec;
mod health_check;
mod help;
mod helper_image;
mod known_runners;
mod prune;
mod register;
mod run;
mod run_single;
mod runner_flags;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use log::LevelFilter;

use crate::config::{Config, Loaded, UnknownKey, load};
use crate::helper::hold;
use crate::local::{ReaderGone, show};
use crate::logging::{self, Format};
use crate::manual;
use crate::outcome::{InputError, shown};
use crate::service::scheduler::Given;
use crate::state::is_root;

/// The program was not used as it can be, or what it was to read cannot be read.
const WRONG_USAGE: u8 = 2;
/// Something failed that is not the user's or the job's doing.
const SYSTEM_FAILURE: u8 = 3;

/// A CI runner that does its work with the docker command line.
#[derive(Parser)]
#[command(
    name = "alloy-runner",
    version,
    arg_required_else_help = true,
    subcommand_required = true,
    disable_help_subcommand = true,
    after_help = manual::list()
)]
struct Arguments {
    /// The configuration; by default /etc/alloy-runner/config.toml for root, else ~/.alloy-runner/config.toml
    #[arg(long, env = "CONFIG_FILE", global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How much the runner says of itself: error, warn, info, debug, trace; by default what the configuration says,
    /// else info
    #[arg(long, env = "LOG_LEVEL", global = true, value_name = "LEVEL")]
    log_level: Option<LevelFilter>,
    /// Print every docker command before it runs, as a line for a shell, to stderr
    #[arg(short = 'x', long, global = true)]
    print_commands: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Exec(Box<exec::Exec>),
    RunSingle(Box<run_single::RunSingle>),
    Run(run::Run),
    Register(Box<register::Register>),
    Unregister(Box<known_runners::Unregister>),
    Verify(known_runners::Verify),
    List(known_runners::List),
    Prune(prune::Prune),
    HelperImage(helper_image::HelperImage),
    Completions(completions::Completions),
    Help(help::Help),
    #[command(hide = true)]
    HealthCheck(health_check::HealthCheck),
    /// Wait for standard input, then become a command, in the build container
    #[command(hide = true)]
    Hold {
        /// The command
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Write caches, in the helper container
    #[command(hide = true)]
    CacheArchiver,
    /// Bring caches back, in the helper container
    #[command(hide = true)]
    CacheExtractor,
    /// Hand artifacts on, in the helper container
    #[command(hide = true)]
    ArtifactsUploader,
    /// Fetch artifacts, in the helper container
    #[command(hide = true)]
    ArtifactsDownloader,
}

/// Options that count for all commands.
struct Globals {
    config: Option<PathBuf>,
    given: Given,
}

impl Globals {
    /// Reads the configuration. Keys that have no effect here are warned of.
    fn configuration(&self) -> Result<Config> {
        let file = self.config_file()?;
        let Loaded { config, unknown } = load(&file)?;
        if !unknown.is_empty() {
            log::warn!("{}", UnknownKey::warning(&file, &unknown));
        }
        Ok(config)
    }

    /// Where the configuration is.
    fn config_file(&self) -> Result<PathBuf, InputError> {
        self.config.clone().map_or_else(default_file, Ok)
    }

    /// Begins to log: as the command line says, else as the configuration does, if there is one.
    fn start_logging(&self, format: Option<Format>) {
        // What is wrong with it, whoever needs it will say.
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

/// Where the configuration is unless somebody says otherwise: `/etc/alloy-runner/config.toml` for root, else
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

/// Runs what the command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    completions::answer();
    let Arguments {
        config,
        log_level,
        print_commands,
        command,
    } = help::arguments();
    let globals = Globals {
        config,
        given: Given {
            print_commands,
            log_level,
        },
    };
    globals.start_logging(match &command {
        Command::Run(run) => run.log_format,
        Command::RunSingle(run) => run.log_format,
        _ => None,
    });
    let result = match command {
        Command::Exec(exec) => exec.run(&globals),
        Command::RunSingle(run) => run.run(&globals),
        Command::Run(_) => run::Run::run(&globals),
        Command::Register(register) => register.run(&globals),
        Command::Unregister(unregister) => unregister.run(&globals),
        Command::Verify(verify) => verify.run(&globals),
        Command::List(_) => known_runners::List::run(&globals),
        Command::Prune(prune) => prune.run(&globals),
        Command::HelperImage(image) => image.run(&globals),
        Command::Completions(completions) => completions.run(),
        Command::Help(help) => help.run(),
        Command::HealthCheck(check) => Ok(check.run()),
        Command::Hold { command } => Ok(hold::until_input(&command)),
        Command::CacheArchiver => archives::archive_caches(),
        Command::CacheExtractor => archives::restore_caches(),
        Command::ArtifactsUploader => archives::upload_artifacts(),
        Command::ArtifactsDownloader => archives::download_artifacts(),
    };
    ExitCode::from(status_of(result))
}

/// The exit status; what failed is said.
fn status_of(result: Result<u8>) -> u8 {
    result.unwrap_or_else(|error| failed(&error))
}

/// Writes a line to stdout.
///
/// # Errors
/// As [`show`].
fn say(line: impl std::fmt::Display) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::Arguments;
    use super::help::with_docker_apart;
    use clap::CommandFactory;

    #[test]
    fn flags_do_not_get_into_each_others_way() {
        with_docker_apart(Arguments::command()).debug_assert();
    }
}
