//! Jobs of a checkout's own job file, with no coordinator.

mod environment;
mod kept;
mod list;
mod progress;
mod results;
mod run;
mod screen;
mod selection;
mod stdout;
mod table;
mod timeline;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::cancel::Cancel;
use crate::config::{PullPolicy, RunnerConfig};
use crate::job::changes::Changes;
use crate::job::checkout::Checkout;
use crate::job::document::Document;
use crate::job::files::When;
use crate::job::kept::{Kept, shown_names};
use crate::job::pipeline::{self, Pipeline};
use crate::job::variables::Variable;
use crate::job::{Job, Project};
use crate::outcome::InputError;
use crate::plan::Plan;
use crate::plan::names::Names;
use crate::printer;
use crate::state::{self, State, Store};
use crate::worker::Worker;
use crate::worker::host;
use crate::worker::recovery::{Recovered, Report};
use crate::worker::signals::stop_on_signals;
pub use environment::{read_env, read_env_file};
pub use list::List;
use progress::Progress;
pub use results::Verdict;
use results::verdict;
use run::Runner;
use screen::{Screen, tame};
pub use selection::Wanted;
use selection::{Selected, Selection};
use stdout::NO_STDOUT;
pub use stdout::{ReaderGone, show, wants_colour};
use timeline::{About, Timeline};

/// The short token of jobs without a coordinator.
pub const SHORT_TOKEN: &str = "local";

/// What to run, and how.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
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
    /// How many jobs of a stage run side by side; as many as there are cores unless given.
    pub concurrent: Option<NonZero<usize>>,
    /// Show only the logs of jobs that fail.
    pub quiet: bool,
    /// Run what is in the working tree, committed or not.
    pub dirty: bool,
    /// Open a shell where a script fails.
    pub shell_on_failure: bool,
    /// Where to write a page that shows what the time went into.
    pub timeline: Option<PathBuf>,
}

/// Jobs of a checkout, found and read.
pub struct Found {
    checkout: Checkout,
    /// Where its artifacts are.
    store: Store,
    /// What people find them by, for each job of the job file.
    shown_names: BTreeMap<String, String>,
    selection: Selection,
    config: RunnerConfig,
    document: Document,
}

/// How a run ended.
pub struct Ended {
    /// What became of its jobs.
    pub verdict: Verdict,
    /// The exit status that a signal asks for, or a reader of stdout that has gone.
    pub signal: Option<u8>,
}

impl Local {
    /// Finds jobs of the checkout around this directory.
    ///
    /// # Errors
    /// [`InputError`] for a missing checkout, job file or job, and what is wrong in them.
    pub fn find(&self, wanted: &Wanted) -> Result<Found> {
        let checkout = Checkout::discover(&current_directory()?)?;
        let pipeline = self.read(&checkout.directory)?;
        let selection = Selection::of(&pipeline, wanted, &checkout.sources)
            .map_err(|error| pipeline.document.placed(error))?;
        Ok(Found {
            selection,
            shown_names: shown_names(pipeline.jobs.iter().map(|job| job.name.as_str())),
            store: Store::of(&checkout.directory, &state::directory()?)?,
            checkout,
            config: self.config(),
            document: pipeline.document,
        })
    }

    /// Lists the jobs, also where nothing is committed yet.
    ///
    /// # Errors
    /// [`InputError`] for a missing job file and what is wrong in it.
    pub fn list(&self) -> Result<List> {
        let directory = current_directory()?;
        let checkout = Checkout::discover(&directory).ok();
        let top = checkout
            .as_ref()
            .map_or(&directory, |checkout| &checkout.directory);
        let pipeline = self.read(top)?;
        let sources = checkout.map(|checkout| checkout.sources);
        List::of(&pipeline, &self.config.docker, sources)
            .map_err(|error| pipeline.document.placed(error).into())
    }

    /// Reads the job file, and says what looks wrong in it.
    fn read(&self, directory: &Path) -> Result<Pipeline> {
        let (file, remark) = match &self.file {
            Some(file) => (file.clone(), None),
            None => pipeline::find(directory)?,
        };
        let pipeline = Pipeline::read(&file)?;
        for remark in remark.iter().chain(&pipeline.doubts) {
            log::warn!("{remark}");
        }
        Ok(pipeline)
    }

    /// The settings, with what is different for local jobs: they come from a person, who has images of
    /// their own (manual, "images").
    fn config(&self) -> RunnerConfig {
        let mut config = self.config.clone();
        if config.name.is_empty() {
            config.name.push_str("exec");
        }
        config
            .docker
            .pull_policy
            .get_or_insert_with(|| vec![PullPolicy::IfNotPresent]);
        config
    }

    fn job(&self, found: &Found, selected: &Selected) -> Job {
        let Found {
            checkout, store, ..
        } = found;
        let Selected {
            entry,
            artifacts_from,
            ..
        } = selected;
        let keywords = &entry.keywords;
        let mut variables = entry.variables();
        variables.extend(self.variables.iter().cloned());
        let job = Job {
            id: 0,
            name: entry.name.clone(),
            stage: entry.stage().to_owned(),
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
            kept: Some(Kept {
                checkout: checkout.directory.clone(),
                store: store.directory.clone(),
                label: store.label.clone(),
                job: entry.name.clone(),
                shown: found
                    .shown_names
                    .get(&entry.name)
                    .cloned()
                    .unwrap_or_default(),
                from: artifacts_from.clone(),
            }),
            fetch: false,
            protected: false,
            volumes: Vec::new(),
            secrets: Vec::new(),
        };
        Job {
            volumes: kept::directories(&self.config, &job),
            ..job
        }
    }

    /// The job as a shell script of docker commands.
    ///
    /// # Errors
    /// [`InputError`] if it is not one job, or the job or the settings say something that cannot be meant.
    pub fn script(&self, found: &Found) -> Result<String> {
        let mut jobs = found.selection.jobs();
        let (Some(selected), None) = (jobs.next(), jobs.next()) else {
            let message = "--dry-run writes a script of one job: name it";
            return Err(InputError::new(message).into());
        };
        let job = self.job(found, selected);
        let host = host::describe(&found.config, false)?;
        let plan = Plan::new(&job, &found.config, &Names::of_script(SHORT_TOKEN), &host)
            .map_err(|error| found.document.placed(error))?;
        let prefix = format!("runner-{SHORT_TOKEN}-project-{}-script", job.project.id);
        let engine = found.config.docker.engine().words();
        Ok(printer::script(&plan, &engine, &job.name, &prefix))
    }

    /// Runs the jobs, their logs to stdout; where there are several, with a table at the end. Before them come the
    /// orphans of dead processes on the engine, whose jobs `report` tells of.
    ///
    /// # Errors
    /// [`InputError`] if a job or the settings say something that cannot be meant (then none is begun), or
    /// whatever keeps the jobs from being started.
    pub fn run(&self, mut found: Found, report: Report) -> Result<Ended> {
        let began = Instant::now();
        let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        if self.shell_on_failure && !terminal {
            let message = "--shell-on-failure needs a terminal, as stdin and stdout";
            return Err(InputError::new(message).into());
        }
        let cancel = Cancel::new();
        let stdout = Box::new(std::io::stdout());
        let screen = Screen::new(stdout, wants_colour(), cancel.clone())
            .on_terminal(std::io::stdout().is_terminal());
        let screen = Arc::new(screen);
        let state = State::open(state::directory()?)?;
        let recovered = Recovered::new(state, &found.config.docker, self.print_commands, report);
        let worker = Worker::open(&found.config, recovered, SHORT_TOKEN, screen.colour)?;
        // The copy is there as long as this value is.
        let _changes: Option<Changes> = if self.dirty {
            found.checkout.take_changes(worker.files())?
        } else {
            None
        };
        let (found, selection) = (&found, &found.selection);
        let several = selection.only_one().is_none();
        // None begins where another one cannot be meant.
        for selected in selection.jobs() {
            worker
                .check(&self.job(found, selected))
                .map_err(|error| found.document.placed(error))?;
        }
        let timeline = self.timeline.as_deref().map(Timeline::create).transpose()?;
        let signals = stop_on_signals(cancel.clone()).context("cannot watch for signals")?;
        let of_themselves = selection.jobs().filter(|job| job.when != When::Manual);
        let runner = Runner {
            local: self,
            found,
            worker: &worker,
            screen: &screen,
            cancel: &cancel,
            progress: Progress::of(of_themselves.count()),
        };
        // Among docker commands it would only be in the way.
        let shows = stdout::moves_cursor() && !self.print_commands;
        let rows = thread::scope(|scope| {
            if shows {
                scope.spawn(|| runner.progress.show(&screen, several || self.quiet));
            }
            let rows = runner.run(selection);
            runner.progress.finish();
            rows
        });
        let took = began.elapsed();
        if several || self.quiet {
            let mut text = results::summary(&rows, took, screen.colour);
            if !selection.elsewhere.is_empty() {
                let jobs: Vec<String> = selection.elsewhere.iter().map(|job| tame(job)).collect();
                text.push_str(&list::not_for(&found.checkout.sources, &jobs));
            }
            screen.write(text.as_bytes()).context(NO_STDOUT)?;
        }
        if let Some(timeline) = timeline {
            let Project {
                namespace, name, ..
            } = &found.checkout.project;
            let sources = &found.checkout.sources;
            let commit = sources.sha.get(..8).unwrap_or_default();
            timeline.write(
                &rows,
                &About {
                    project: &format!("{namespace}/{name}"),
                    sources: &format!("{} at {commit}", selection::described(sources)),
                    began,
                    took,
                },
            )?;
        }
        let gone = screen.has_no_reader().then_some(ReaderGone::STATUS);
        Ok(Ended {
            verdict: verdict(&rows),
            signal: signals.status().or(gone),
        })
    }
}

fn current_directory() -> Result<PathBuf> {
    std::env::current_dir().context("cannot find out which directory this is")
}
