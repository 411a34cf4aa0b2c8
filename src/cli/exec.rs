//! `alloy-runner exec`.

use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use clap_complete::ArgValueCompleter;

use super::completions;
use super::globals::{Globals, SYSTEM_FAILURE};
use crate::config::{DockerConfig, RunnerConfig};
use crate::local::{Local, Verdict, Wanted, read_env, read_env_file, show, wants_colour};
use crate::service::record;

/// Run jobs of .alloy-ci.json from this git checkout, with no coordinator
#[derive(Args)]
#[command(after_help = "Examples:
  alloy-runner exec                          run the whole pipeline
  alloy-runner exec test                     run the job `test`
  alloy-runner exec --stage test --quiet     run a stage, show only what fails
  alloy-runner exec --dirty test             with uncommitted changes
  alloy-runner exec --list                   list the jobs
  alloy-runner -x exec test                  print each docker command first
  alloy-runner exec --dry-run test >job.sh   as a shell script, for sh job.sh
  alloy-runner exec --env API_TOKEN test     with a secret of the environment")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct Exec {
    /// Jobs to run, whatever their `only` and `when` are; default: all jobs that apply
    #[arg(value_name = "JOB", add = ArgValueCompleter::new(completions::jobs))]
    jobs: Vec<String>,
    /// All jobs of a stage
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "jobs",
        add = ArgValueCompleter::new(completions::stages), help_heading = "Which jobs")]
    stage: Option<String>,
    /// How many jobs of a stage run in parallel; default: the number of processor cores, or of jobs that a pool takes
    #[arg(long, value_name = "N", help_heading = "How they run and are shown")]
    concurrent: Option<NonZero<usize>>,
    /// Show only the logs of jobs that fail, and a table of all jobs
    #[arg(long, help_heading = "How they run and are shown")]
    quiet: bool,
    /// The job file; default: .alloy-ci.json of the checkout, else .alloy-ci.yml
    #[arg(long, value_name = "FILE", help_heading = "Which jobs")]
    file: Option<PathBuf>,
    /// List the jobs with their stages, images, services and conditions, and run nothing
    #[arg(long, conflicts_with_all = ["jobs", "stage", "dry_run"], help_heading = "In place of running them")]
    list: bool,
    /// With --list: as JSON, for programs
    #[arg(long, requires = "list", help_heading = "In place of running them")]
    json: bool,
    /// Include uncommitted changes and new files, except ignored ones
    #[arg(long, conflicts_with = "dry_run", help_heading = "What they get")]
    dirty: bool,
    /// Open a shell in the container of a script that fails; the job ends when the shell ends
    #[arg(
        long,
        conflicts_with = "dry_run",
        help_heading = "How they run and are shown"
    )]
    shell_on_failure: bool,
    /// Write an HTML page that shows what each job spent its time on
    #[arg(
        long,
        value_name = "FILE.html",
        conflicts_with = "dry_run",
        help_heading = "How they run and are shown"
    )]
    timeline: Option<PathBuf>,
    /// Print the shell script of docker commands and run nothing
    #[arg(long, help_heading = "In place of running them")]
    dry_run: bool,
    /// A variable for the job: KEY=VALUE, or KEY for a secret from the environment; repeatable
    #[arg(
        long = "env",
        value_name = "KEY[=VALUE]",
        help_heading = "What they get"
    )]
    variables: Vec<String>,
    /// Secrets for the job, one KEY=VALUE a line
    #[arg(long, value_name = "FILE", help_heading = "What they get")]
    env_file: Option<PathBuf>,
    /// The time limit of each job
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..), help_heading = "What they get")]
    timeout: Option<u64>,
    /// A PEM file with certificate authorities that git trusts too
    #[arg(
        long,
        env = "CI_SERVER_TLS_CA_FILE",
        value_name = "FILE",
        help_heading = "What they get"
    )]
    tls_ca_file: Option<PathBuf>,
    /// Use the settings of this runner of the configuration (--config)
    #[arg(long, value_name = "NAME", help_heading = "What they get")]
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
        config.check_executor()?;
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
            concurrent: self.concurrent,
            quiet: self.quiet,
            dirty: self.dirty,
            timeline: self.timeline,
            shell_on_failure: self.shell_on_failure,
        };
        if self.list {
            let list = local.list()?;
            let text = if self.json {
                list.json()
            } else {
                list.table(wants_colour())
            };
            show(&text)?;
            return Ok(0);
        }
        let found = local.find(&Wanted {
            jobs: self.jobs,
            stage: self.stage,
        })?;
        if self.dry_run {
            show(&local.script(&found)?)?;
            return Ok(0);
        }
        let ended = local.run(found, record::report)?;
        Ok(ended.signal.unwrap_or(match ended.verdict {
            Verdict::Success => 0,
            Verdict::Failure => 1,
            Verdict::SystemFailure => SYSTEM_FAILURE,
        }))
    }
}
