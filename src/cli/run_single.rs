//! `alloy-runner run-single`.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::globals::Globals;
use super::runner_flags::RunnerFlags;
use crate::logging::Format;
use crate::outcome::InputError;
use crate::service::config_file::Settings;
use crate::service::renewal::renew_if_due;
use crate::service::scheduler::{Until, serve_one};
use crate::state::{self, State};

/// Make one job request, run the job if there is one, and end; for cron
#[derive(Args)]
#[command(after_help = "Examples:
  alloy-runner run-single --runner docker-1    a runner of the configuration
  … --wait-timeout 600                         wait ten minutes for a job
  … --max-builds 5                             end after five jobs

A line for cron, once a minute:
  * * * * * alloy-runner run-single --runner docker-1 --limit 1")]
pub(super) struct RunSingle {
    /// A runner of the configuration
    #[arg(long, value_name = "NAME")]
    runner: Option<String>,
    /// Wait this long for a job
    #[arg(long, env = "RUNNER_WAIT_TIMEOUT", value_name = "SECONDS")]
    wait_timeout: Option<u64>,
    /// End after this many jobs
    #[arg(long, env = "RUNNER_MAX_BUILDS", value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    max_builds: Option<u32>,
    /// Go on until a signal
    #[arg(long, conflicts_with_all = ["wait_timeout", "max_builds"])]
    forever: bool,
    /// The format of the log on stderr: text or json
    #[arg(long, env = "LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<Format>,
    #[command(flatten)]
    flags: RunnerFlags,
}

impl RunSingle {
    pub fn run(self, globals: &Globals) -> Result<u8> {
        let until = self.until();
        let (config, settings) = match &self.runner {
            Some(name) => {
                let mut file = globals.configuration()?;
                if renew_if_due(&globals.config_file()?, file.runner(name)?) {
                    file = globals.configuration()?;
                }
                let config = self.flags.over(file.runner(name)?.clone())?;
                (config, Settings::from(&file))
            }
            None if self.flags.name_a_runner() => {
                // If there is a configuration, its `concurrent` limits this runner too.
                let settings = match globals.config_file()? {
                    file if file.exists() => Settings::from(&globals.configuration()?),
                    _ => Settings::without_file(),
                };
                (self.flags.new_runner()?, settings)
            }
            None => {
                return Err(InputError::new(
                    "which runner? Say --url (CI_SERVER_URL) and its token (CI_SERVER_TOKEN, --token-file), or \
                     --runner NAME for one of the configuration",
                )
                .into());
            }
        };
        let state = State::open(state::directory()?)?;
        serve_one(config, settings, until, state, globals.given)
    }

    fn until(&self) -> Until {
        // A later end would overflow the clock.
        let wait = self.wait_timeout.map(Duration::from_secs);
        let wait = wait.map(|wait| wait.min(Duration::from_hours(24 * 3650)));
        match (self.forever, wait, self.max_builds) {
            (true, ..) => Until::default(),
            // Without options, it makes one job request.
            (false, None, None) => Until {
                builds: Some(1),
                wait: Some(Duration::ZERO),
            },
            (false, wait, builds) => Until {
                builds: builds.or(Some(1)),
                wait,
            },
        }
    }
}
