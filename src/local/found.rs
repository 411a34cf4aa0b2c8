//! Finds the jobs of a checkout and makes each ready to be planned.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::kept;
use super::list::List;
use super::selection::{Selected, Selection, Wanted};
use crate::config::{PullPolicy, RunnerConfig};
use crate::job::checkout::Checkout;
use crate::job::document::Document;
use crate::job::kept::{Kept, shown_names};
use crate::job::pipeline::{self, Pipeline};
use crate::job::variables::Variable;
use crate::job::{Hooks, Job};
use crate::state::{self, Store};

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
    pub(super) checkout: Checkout,
    /// Where its artifacts are.
    pub(super) store: Store,
    /// What people find them by, for each job of the job file.
    pub(super) shown_names: BTreeMap<String, String>,
    pub(super) selection: Selection,
    pub(super) config: RunnerConfig,
    pub(super) document: Document,
}

impl Local {
    /// Finds jobs of the checkout around this directory.
    ///
    /// # Errors
    /// [`crate::outcome::InputError`] for a missing checkout, job file or job, and what is wrong in them.
    pub fn find(&self, wanted: &Wanted) -> Result<Found> {
        let checkout = Checkout::discover(&current_directory()?)?;
        let store = Store::of(&checkout.directory, &state::directory()?)?;
        self.find_in(checkout, store, wanted)
    }

    /// Finds jobs of this checkout, whose artifacts are in this store.
    ///
    /// # Errors
    /// [`crate::outcome::InputError`] for a missing job file or job, and what is wrong in them.
    pub fn find_in(&self, checkout: Checkout, store: Store, wanted: &Wanted) -> Result<Found> {
        let pipeline = self.read(&checkout.directory)?;
        let selection = Selection::of(&pipeline, wanted, &checkout.sources)
            .map_err(|error| pipeline.document.placed(error))?;
        Ok(Found {
            selection,
            shown_names: shown_names(pipeline.jobs.iter().map(|job| job.name.as_str())),
            store,
            checkout,
            config: self.config(),
            document: pipeline.document,
        })
    }

    /// Lists the jobs, also where nothing is committed yet.
    ///
    /// # Errors
    /// [`crate::outcome::InputError`] for a missing job file and what is wrong in it.
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

    /// What a selected job says, as the planner wants it.
    pub(super) fn job(&self, found: &Found, selected: &Selected) -> Job {
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
            hooks: Hooks::default(),
            script: entry.commands(),
            releases: Vec::new(),
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
}

fn current_directory() -> Result<PathBuf> {
    std::env::current_dir().context("cannot find out which directory this is")
}
