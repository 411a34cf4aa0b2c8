//! Jobs of a checkout's own job file, with no coordinator.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::host;
use super::signals::stop_on_signals;
use super::worker::{Run, Worker};
use crate::cancel::Cancel;
use crate::config::{PullPolicy, RunnerConfig};
use crate::job::Job;
use crate::job::checkout::Checkout;
use crate::job::files::Kept;
use crate::job::pipeline::{self, JobEntry, Pipeline};
use crate::job::variables::Variable;
use crate::outcome::{InputError, Outcome};
use crate::plan::names::Names;
use crate::plan::{Plan, print};
use crate::trace::Trace;

/// The short token of jobs without a coordinator.
pub const SHORT_TOKEN: &str = "local";

/// What to run, and how.
#[derive(Clone, Debug, Default)]
pub struct Local {
    /// The job file, if it is not the checkout's own.
    pub file: Option<PathBuf>,
    /// Variables beside the job's.
    pub variables: Vec<Variable>,
    /// How long a job may take.
    pub timeout: Option<Duration>,
    /// Settings; what `exec` has of its own is not in there yet.
    pub config: RunnerConfig,
    /// Print docker commands before they run.
    pub print_commands: bool,
}

/// A job of a checkout, found and read.
pub struct Found {
    checkout: Checkout,
    job: Job,
    config: RunnerConfig,
}

/// How a job ended, and which signal ended it.
pub struct Ended {
    /// What became of the job.
    pub outcome: Outcome,
    /// The exit status that a signal asks for.
    pub signal: Option<u8>,
}

impl Local {
    /// Finds a job of the checkout around this directory.
    ///
    /// # Errors
    /// [`InputError`] for a missing checkout, job file or job, and what is wrong in them.
    pub fn find(&self, job: &str) -> Result<Found> {
        let directory =
            std::env::current_dir().context("cannot find out which directory this is")?;
        let checkout = Checkout::discover(&directory)?;
        let (file, remark) = match &self.file {
            Some(file) => (file.clone(), None),
            None => pipeline::find(&checkout.directory)?,
        };
        let pipeline = Pipeline::read(&file)?;
        let entry = pipeline.job(job)?;
        for remark in remark.into_iter().chain(unknown(&file, &pipeline)) {
            log::warn!("{remark}");
        }
        let mut job = self.job(&checkout, entry);
        let from = pipeline.artifacts_for(entry);
        job.kept = Some(Kept::new(&checkout.directory, &entry.name, &from));
        Ok(Found {
            checkout,
            job,
            config: self.config(),
        })
    }

    /// The settings, with what is different for local jobs: they come from a person, who has images of
    /// their own (cli, "exec").
    fn config(&self) -> RunnerConfig {
        let mut config = self.config.clone();
        if config.name.is_empty() {
            config.name.push_str("exec");
        }
        let cache = config
            .cache_dir
            .clone()
            .unwrap_or_else(|| "/cache".to_owned());
        config
            .docker
            .pull_policy
            .get_or_insert_with(|| vec![PullPolicy::IfNotPresent]);
        config.docker.volumes.get_or_insert_with(|| vec![cache]);
        config
    }

    fn job(&self, checkout: &Checkout, entry: &JobEntry) -> Job {
        let keywords = &entry.keywords;
        let mut variables = entry.variables();
        variables.extend(self.variables.iter().cloned());
        Job {
            id: 0,
            name: entry.name.clone(),
            stage: keywords.stage.clone().unwrap_or_else(|| "test".to_owned()),
            project: checkout.project.clone(),
            sources: checkout.sources.clone(),
            image: keywords.image.clone(),
            services: keywords.services.clone().unwrap_or_default(),
            variables,
            script: entry.commands(),
            after_script: keywords
                .after_script
                .clone()
                .map(Vec::from)
                .unwrap_or_default(),
            script_timeout: None,
            after_script_timeout: None,
            timeout: self.timeout,
            credentials: Vec::new(),
            caches: keywords
                .cache
                .clone()
                .map(|caches| caches.0)
                .unwrap_or_default(),
            artifacts: keywords.artifacts.clone().into_iter().collect(),
            dependencies: Vec::new(),
            coordinator: None,
            kept: None,
            fetch: false,
            secrets: Vec::new(),
        }
    }

    /// The job as a shell script of docker commands.
    ///
    /// # Errors
    /// [`InputError`] if the job or the settings say something that cannot be meant.
    pub fn script(&self, found: &Found) -> Result<String> {
        let host = host::describe(&found.config, "", false)?;
        let plan = Plan::new(
            &found.job,
            &found.config,
            &Names::of_script(SHORT_TOKEN),
            &host,
        )?;
        let prefix = format!(
            "runner-{SHORT_TOKEN}-project-{}-script",
            found.job.project.id
        );
        Ok(print::script(
            &plan,
            &found.config.docker.engine().words(),
            &found.job.name,
            &prefix,
        ))
    }

    /// Runs the job, its log to stdout.
    ///
    /// # Errors
    /// [`InputError`] as [`Local::script`], or whatever keeps the job from being started.
    pub fn run(&self, found: &Found) -> Result<Ended> {
        let Found {
            checkout,
            job,
            config,
        } = found;
        let colour = std::io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let worker = Worker::open(config, SHORT_TOKEN, self.print_commands, colour)?;
        let cancel = Cancel::new();
        let signals = stop_on_signals(cancel.clone()).context("cannot watch for signals")?;
        let report = worker.run(
            job,
            &Run {
                log: &|| Box::new(std::io::stdout()),
                beside: &|trace| warn_if_dirty(checkout, trace),
                output_limit: None,
                ended: &|_| {},
                began: &|_| {},
                cancel: &cancel,
            },
        )?;
        Ok(Ended {
            outcome: report.outcome,
            signal: signals.status(),
        })
    }
}

fn unknown(file: &Path, pipeline: &Pipeline) -> Vec<String> {
    pipeline
        .unknown
        .iter()
        .map(|key| format!("{}: unknown keyword {key}", file.display()))
        .collect()
}

fn warn_if_dirty(checkout: &Checkout, trace: &Trace) {
    let said = match checkout.is_dirty() {
        Ok(false) => Ok(()),
        Ok(true) => {
            trace.warning("there are uncommitted changes; the job tests the commit without them")
        }
        Err(error) => trace.warning(&format!(
            "cannot tell whether there are uncommitted changes: {error:#}"
        )),
    };
    if let Err(error) = said {
        // The job's own lines meet the same and end it.
        log::debug!("cannot write the log: {error}");
    }
}

/// Variables from an `--env-file`: secrets, one `KEY=VALUE` a line; `#` begins a comment.
///
/// # Errors
/// [`InputError`] with file and line.
pub fn read_env_file(file: &Path) -> Result<Vec<Variable>, InputError> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        InputError::new(format!(
            "cannot read the env file {}: {error}",
            file.display()
        ))
    })?;
    let mut variables = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').ok_or_else(|| {
            InputError::new(format!(
                "{}:{}: expected KEY=VALUE",
                file.display(),
                number + 1
            ))
        })?;
        variables.push(Variable::secret(name.trim(), value));
    }
    Ok(variables)
}

/// A variable from `--env`: `KEY=VALUE`, or `KEY` for a secret from the environment.
///
/// # Errors
/// [`InputError`] if the environment has no such variable.
pub fn read_env(text: &str) -> Result<Variable, InputError> {
    match text.split_once('=') {
        Some((name, value)) => Ok(Variable::public(name, value)),
        None => std::env::var(text)
            .map(|value| Variable::secret(text, value))
            .map_err(|error| {
                InputError::new(format!(
                    "--env {text}: {error}; export it, or write --env {text}=VALUE"
                ))
            }),
    }
}

/// Writes a script to stdout.
///
/// # Errors
/// If stdout does not take it.
pub fn show(script: &str) -> Result<()> {
    std::io::stdout()
        .write_all(script.as_bytes())
        .context("cannot write to stdout")
}
