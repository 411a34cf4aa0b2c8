//! The command line: arguments in, exit status out.

mod archives;
mod exec;
mod health_check;
mod helper_image;
mod prune;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::config::{Config, Loaded, load};
use crate::outcome::InputError;
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
    subcommand_required = true
)]
struct Arguments {
    /// The configuration; by default /etc/alloy-runner/config.toml for root, else ~/.alloy-runner/config.toml
    #[arg(long, env = "CONFIG_FILE", global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How much the runner says of itself: error, warn, info, debug, trace
    #[arg(
        long,
        env = "LOG_LEVEL",
        global = true,
        value_name = "LEVEL",
        default_value = "info"
    )]
    log_level: log::LevelFilter,
    /// Print every docker command before it runs, as a line for a shell, to stderr
    #[arg(short = 'x', long, global = true)]
    print_commands: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Exec(Box<exec::Exec>),
    Prune(prune::Prune),
    HelperImage(helper_image::HelperImage),
    #[command(hide = true)]
    HealthCheck(health_check::HealthCheck),
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
    print_commands: bool,
}

impl Globals {
    /// Reads the configuration. Keys that mean nothing here are warned of.
    fn configuration(&self) -> Result<Config> {
        let file = self.config.clone().map_or_else(default_file, Ok)?;
        let Loaded { config, unknown } = load(&file)?;
        for key in unknown {
            log::warn!("{}: the key {key} means nothing here", file.display());
        }
        Ok(config)
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
    let Arguments {
        config,
        log_level,
        print_commands,
        command,
    } = Arguments::parse();
    env_logger::Builder::new()
        .filter_level(log_level)
        .format_target(false)
        .init();
    let globals = Globals {
        config,
        print_commands,
    };
    let result = match command {
        Command::Exec(exec) => exec.run(&globals),
        Command::Prune(prune) => prune.run(&globals),
        Command::HelperImage(image) => image.run(&globals),
        Command::HealthCheck(check) => Ok(check.run()),
        Command::CacheArchiver => archives::archive_caches(),
        Command::CacheExtractor => archives::restore_caches(),
        Command::ArtifactsUploader => archives::upload_artifacts(),
        Command::ArtifactsDownloader => archives::download_artifacts(),
    };
    result.map_or_else(|error| failed(&error), ExitCode::from)
}

/// Says on one line what failed.
fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("alloy-runner: {error:#}");
    ExitCode::from(if error.is::<InputError>() {
        WRONG_USAGE
    } else {
        SYSTEM_FAILURE
    })
}
