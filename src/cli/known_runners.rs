//! `alloy-runner unregister`, `verify` and `list`: what is done with runners that are registered. They are those of the
//! configuration; `unregister` also takes one that only the flags describe.

use anyhow::Result;
use clap::Args;

use super::globals::{Globals, SYSTEM_FAILURE, say};
use super::runner_flags::RunnerFlags;
use crate::config::RunnerConfig;
use crate::outcome::InputError;
use crate::service::registration::{Health, unregister, verify};

/// Remove runners from their coordinators and from the configuration
#[derive(Args)]
#[command(after_help = "Examples:
  alloy-runner unregister --name docker-1
  alloy-runner unregister --all-runners
  CI_SERVER_TOKEN=… alloy-runner unregister --url https://alloy-ci.example.org")]
pub(super) struct Unregister {
    /// All runners of the configuration
    #[arg(long, env = "UNREGISTER_ALL_RUNNERS")]
    all_runners: bool,
    #[command(flatten)]
    flags: RunnerFlags,
}

/// Ask the coordinators whether they know the runners of the configuration
#[derive(Args)]
#[command(after_help = "Examples:
  alloy-runner verify             status 3 if a runner is not known
  alloy-runner verify --delete    remove those that are not known")]
pub(super) struct Verify {
    /// Only this one
    #[arg(long, env = "RUNNER_NAME", value_name = "NAME")]
    name: Option<String>,
    /// Remove runners from the configuration that their coordinators do not know
    #[arg(long, env = "VERIFY_DELETE")]
    delete: bool,
}

/// Show the runners of the configuration: name, short token, executor and coordinator
#[derive(Args)]
#[command(after_help = "Examples:
  alloy-runner list
  alloy-runner --config runners.toml list")]
pub(super) struct List;

impl Unregister {
    /// Unregisters the runners one by one, up to the first error. Returns the exit status.
    pub fn run(self, globals: &Globals) -> Result<u8> {
        let file = globals.config_file()?;
        // A runner of the flags needs no configuration, so it is read only where it is needed.
        let configured = || globals.configuration();
        let runners: Vec<RunnerConfig> = if self.all_runners {
            configured()?.runners
        } else if self.flags.name_a_runner() {
            // With address and token at hand, `--name` is only its name in messages.
            vec![self.flags.new_runner()?]
        } else if let Some(name) = &self.flags.name {
            vec![configured()?.runner(name)?.clone()]
        } else {
            let which = "which runner? Say --name NAME, or --url and its token, or --all-runners";
            return Err(InputError::new(which).into());
        };
        for runner in runners {
            unregister(&file, &runner)?;
            say(format_args!("{} is unregistered", runner.name))?;
        }
        Ok(0)
    }
}

impl Verify {
    /// Asks of each runner. Returns the exit status, which reports a runner that is unknown or could not be asked for,
    /// but not one that `--delete` has removed: that was wanted.
    pub fn run(self, globals: &Globals) -> Result<u8> {
        let file = globals.config_file()?;
        let config = globals.configuration()?;
        let runners = match &self.name {
            Some(name) => vec![config.runner(name)?.clone()],
            None => config.runners,
        };
        let mut status = 0;
        for runner in runners {
            let health = verify(&file, &runner, self.delete)?;
            say(format_args!("{}: {health}", runner.name))?;
            if !matches!(health, Health::Alive | Health::Deleted) {
                status = SYSTEM_FAILURE;
            }
        }
        Ok(status)
    }
}

impl List {
    /// Prints a line for each runner. Returns the exit status.
    pub fn run(globals: &Globals) -> Result<u8> {
        let config = globals.configuration()?;
        let names = config.runners.iter().map(|runner| &runner.name);
        let width = names.map(|name| name.chars().count()).max();
        let width = width.unwrap_or_default();
        for runner in &config.runners {
            say(format_args!(
                "{:<width$}  {:<8}  {}  {}",
                runner.name,
                // It has at most 8 characters.
                runner.short_token(),
                runner.executor.as_deref().unwrap_or("docker"),
                runner.url
            ))?;
        }
        Ok(0)
    }
}
