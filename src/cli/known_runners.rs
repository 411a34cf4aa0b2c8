//! `alloy-runner unregister`, `verify` and `list`, for runners of the configuration.

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
    pub fn run(self, globals: &Globals) -> Result<u8> {
        let file = globals.config_file()?;
        let configured = || globals.configuration();
        let runners: Vec<RunnerConfig> = if self.all_runners {
            configured()?.runners
        } else if self.flags.name_a_runner() {
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
    pub fn run(globals: &Globals) -> Result<u8> {
        let config = globals.configuration()?;
        let width = |text: fn(&RunnerConfig) -> usize| config.runners.iter().map(text).max();
        let name = width(|runner| runner.name.chars().count()).unwrap_or_default();
        for runner in &config.runners {
            say(format_args!(
                "{:<name$}  {:<8}  {}  {}",
                runner.name,
                runner.short_token(),
                runner.executor.as_deref().unwrap_or("docker"),
                runner.url
            ))?;
        }
        Ok(0)
    }
}
