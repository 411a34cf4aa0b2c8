//! `alloy-runner exec`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::{Globals, SYSTEM_FAILURE};
use crate::config::{DockerConfig, RunnerConfig};
use crate::outcome::Outcome;
use crate::runner::local::{Local, read_env, read_env_file, show};

/// Run a job of .alloy-ci.json from this git checkout, with no coordinator
#[derive(Args)]
#[command(after_help = "Examples:
  alloy-runner exec test                        run the job `test`
  alloy-runner -x exec test                     and print each docker command first
  alloy-runner exec --dry-run test >job.sh      the same as a shell script; run it with: sh job.sh
  alloy-runner exec --env API_TOKEN test        with a secret from the environment")]
pub(super) struct Exec {
    /// The job
    #[arg(value_name = "JOB")]
    job: String,
    /// The job file; by default the checkout's .alloy-ci.json, else its .alloy-ci.yml
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print the shell script of docker commands and run nothing
    #[arg(long)]
    dry_run: bool,
    /// A variable for the job: KEY=VALUE, or KEY for a secret from the environment; repeatable
    #[arg(long = "env", value_name = "KEY[=VALUE]")]
    variables: Vec<String>,
    /// Secrets for the job, one KEY=VALUE a line
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// How long the job may take
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
    /// A PEM file with certificate authorities that git has to know
    #[arg(long, env = "CI_SERVER_TLS_CA_FILE", value_name = "FILE")]
    tls_ca_file: Option<PathBuf>,
    /// A runner of the configuration (--config) whose settings to borrow
    #[arg(long, value_name = "NAME")]
    runner: Option<String>,
    #[command(flatten)]
    docker: DockerConfig,
}

impl Exec {
    pub fn run(self, globals: &Globals) -> Result<u8> {
        let mut variables = self
            .env_file
            .as_deref()
            .map(read_env_file)
            .transpose()?
            .unwrap_or_default();
        for text in &self.variables {
            variables.push(read_env(text)?);
        }
        let mut config = match &self.runner {
            Some(name) => globals.configuration()?.runner(name)?.clone(),
            None => RunnerConfig::default(),
        };
        config.docker = config.docker.overlaid_by(&self.docker)?;
        if self.tls_ca_file.is_some() {
            config.tls_ca_file = self.tls_ca_file;
        }
        let local = Local {
            file: self.file,
            variables,
            timeout: self.timeout.map(Duration::from_secs),
            config,
            print_commands: globals.given.print_commands,
        };
        let found = local.find(&self.job)?;
        if self.dry_run {
            show(&local.script(&found)?)?;
            return Ok(0);
        }
        let ended = local.run(&found)?;
        Ok(ended.signal.unwrap_or(match ended.outcome {
            Outcome::Success => 0,
            Outcome::SystemFailure(_) => SYSTEM_FAILURE,
            _ => 1,
        }))
    }
}
