//! `alloy-runner run`.

use anyhow::Result;
use clap::Args;

use super::globals::Globals;
use crate::logging::Format;
use crate::service::scheduler::serve_all;
use crate::state::{self, State};

/// Serve all runners of the configuration, and follow its changes
#[derive(Args)]
#[command(after_help = "Signals:
  SIGQUIT           take no new jobs, wait for those that run, and end
  SIGTERM, SIGINT   stop all jobs, report them as failed, clean up, and end;
                    again: end at once
  SIGHUP            read the configuration again

Examples:
  alloy-runner run
  alloy-runner --config runners.toml run --log-format json")]
pub(super) struct Run {
    /// The format of the log on stderr: text or json
    #[arg(long, env = "LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<Format>,
}

impl Run {
    pub fn run(globals: &Globals) -> Result<u8> {
        let state = State::open(state::directory()?)?;
        serve_all(globals.config_file()?, state, globals.given)
    }
}
