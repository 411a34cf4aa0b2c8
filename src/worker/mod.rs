//! Runs jobs on one engine, wherever they come from: from a concurrent id to a clean engine.

mod cloud;
pub mod duration;
pub mod helper_image;
pub mod host;
mod orphaned;
pub mod pool;
pub mod prune;
pub mod recovery;
pub mod signals;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::Result;

use crate::cancel::Cancel;
use crate::config::RunnerConfig;
use crate::docker::{Docker, DockerError};
use crate::executor::orphans::{self, Selection};
use crate::executor::{Activity, Executor, Report, Terminal};
use crate::job::Job;
use crate::outcome::{InputError, Outcome};
use crate::plan::names::Names;
use crate::plan::{Host, Plan, ScriptMarkers};
use crate::state::{Process, State};
use crate::trace::Trace;
use crate::trace::secrets::JobSecrets;
use crate::trace::stamps::Stamps;
use orphaned::Orphaned;
use recovery::{RECORDS, Recovered};

/// Where the search for names that are free on a shared engine ends.
const MAX_CONCURRENT_ID: u32 = 1000;

/// An engine, the settings for jobs on it, and this process's part in what is there. It runs any number of
/// jobs side by side.
pub struct Worker {
    config: RunnerConfig,
    short_token: String,
    docker: Docker,
    host: Host,
    state: State,
    /// The lock that says that this process lives, so that no other removes what it has made.
    process: Process,
    /// The names of jobs whose removal failed.
    orphaned: Orphaned,
}

/// The other engines of a pool, as a job on one of them has to do with them.
pub(crate) struct Neighbours<'a> {
    /// As [`Executor::others`].
    pub others: &'a (dyn Fn() -> Vec<Docker> + Sync),
    /// As [`Executor::elsewhere`].
    pub elsewhere: &'a (dyn Fn(&Trace, &DockerError) -> bool + Sync),
    /// Whether the log has nothing of the job yet.
    pub first: bool,
}

/// How a job is to be run.
pub struct Run<'a> {
    /// Opens the log. It is asked again where the job has to take another concurrent id, and goes on then.
    pub log: &'a dyn Fn() -> Box<dyn Write + Send>,
    /// What must not be shown of the job, in its log or elsewhere; the plan adds what it knows.
    pub secrets: &'a JobSecrets,
    /// Where the log is cut, in kilobytes.
    pub output_limit: Option<u64>,
    /// Runs once, in the background of the job.
    pub in_background: &'a (dyn Fn(&Trace) + Sync),
    /// Is told how the job ended when its log is complete, before what it made is removed.
    pub ended: &'a (dyn Fn(&Outcome) + Sync),
    /// Hears what begins.
    pub began: &'a (dyn Fn(Activity) + Sync),
    /// Triggered to stop it.
    pub cancel: &'a Cancel,
    /// As [`Executor::canceling`].
    pub canceling: &'a Cancel,
    /// The terminal of a user who wants a shell where the script fails.
    pub terminal: Option<Terminal<'a>>,
}

impl Worker {
    /// Looks at the host and registers this process, on an engine after its recovery. `engine` names it where there are
    /// several.
    ///
    /// # Errors
    /// If the state directory cannot be written, or a file that the settings name cannot be read.
    pub fn open(
        config: &RunnerConfig,
        recovered: Recovered,
        short_token: &str,
        colour: bool,
        engine: Option<&str>,
    ) -> Result<Self> {
        let mut host = host::describe(config, recovered.docker().engine(), colour)?;
        host.engine = engine.map(ToOwned::to_owned);
        let (process, docker, state) = recovered.register(&host.helper_image.name)?;
        host.process.clone_from(&process.label);
        host.helper_image.process.clone_from(&process.label);
        host.seal = state.seal.clone();
        host.helper_image.seal = state.seal.clone();
        host.helper_image.noted_in = state.images_made();
        Ok(Self {
            config: config.clone(),
            short_token: short_token.to_owned(),
            docker,
            host,
            state,
            process,
            orphaned: Orphaned::default(),
        })
    }

    /// A directory that only this process can enter, and that goes with it.
    #[must_use]
    pub fn files(&self) -> &Path {
        &self.process.files
    }

    /// Where records of jobs go that a [`recovery::Report`] needs, should this process be killed.
    #[must_use]
    pub fn records(&self) -> PathBuf {
        self.process.files.join(RECORDS)
    }

    /// Something in [`Worker::records`] is for the next process.
    pub fn leave_to_others(&self) {
        self.process.leave_to_others();
    }

    /// Checks that a job can be planned.
    ///
    /// # Errors
    /// [`InputError`] where the job or the settings say something that cannot be meant.
    pub fn check(&self, job: &Job) -> Result<(), InputError> {
        let names = Names::new(&self.short_token, job.project.id, 0);
        Plan::new(job, &self.config, &names, &self.host)?;
        Ok(())
    }

    /// Runs a job, with its last line in the log, and removes what it has made.
    ///
    /// # Errors
    /// [`InputError`] where the job or the settings say something that cannot be meant, or
    /// whatever keeps the job from being started. Nothing is in the log then.
    pub(crate) fn run(&self, job: &Job, run: &Run, neighbours: &Neighbours) -> Result<Report> {
        let build_lock = |cancel: &Cancel| -> Result<Option<File>> {
            self.state.exclusive(helper_image::LOCK, cancel)
        };
        let take = |from| {
            self.state
                .concurrent_id(&self.short_token, job.project.id, from)
        };
        let mut id = take(0)?;
        let mut first = neighbours.first;
        loop {
            let names = Names::new(&self.short_token, job.project.id, id.number);
            let host = Host {
                cloud_keys: cloud::wants_keys(&self.config, job).then(cloud::keys),
                markers: match run.terminal {
                    Some(_) => ScriptMarkers::Failure,
                    // Printed commands may be pasted into a shell.
                    None if self.docker.prints() => ScriptMarkers::None,
                    None => ScriptMarkers::Success,
                },
                now: host::now(),
                ..self.host.clone()
            };
            let plan = Plan::new(job, &self.config, &names, &host)?;
            run.secrets.add(&plan.secrets);
            let log = (run.log)();
            let log = if plan.log_form.stamps {
                Box::new(Stamps::new(log))
            } else {
                log
            };
            let trace = Trace::new(log, run.secrets.masker(), self.host.colour);
            let trace = match run.output_limit {
                Some(kilobytes) => trace.limited(kilobytes),
                None => trace,
            };
            let executor = Executor {
                plan: &plan,
                docker: &self.docker,
                trace: &trace,
                cancel: run.cancel,
                canceling: run.canceling,
                build_lock: &build_lock,
                others: neighbours.others,
                elsewhere: neighbours.elsewhere,
                first,
                ended: run.ended,
                began: run.began,
                terminal: run.terminal,
            };
            let prefix = names.prefix.plain();
            // Where that does not work, the job meets the same.
            let removed = !self.orphaned.take(&prefix) || self.remove_orphans_of(&prefix);
            let report = thread::scope(|scope| {
                if first {
                    scope.spawn(|| (run.in_background)(&trace));
                }
                executor.run()
            });
            if !(removed && report.clean) {
                self.orphaned.remember(prefix);
            }
            if !report.taken || id.number >= MAX_CONCURRENT_ID {
                return Ok(report);
            }
            // A runner of another host has these names on the same engine.
            id = take(id.number + 1)?;
            first = false;
        }
    }
}

impl Worker {
    /// Removes what jobs could not that have ended.
    fn remove_orphans(&self) {
        self.orphaned
            .remove_all(|prefix| self.remove_orphans_of(prefix));
    }

    /// Removes what is left on the engine by names with this prefix. Returns whether that worked.
    fn remove_orphans_of(&self, prefix: &str) -> bool {
        let selection = Selection {
            processes: vec![self.process.label.clone()],
            seal: self.state.seal.clone(),
            prefix: prefix.to_owned(),
            ..Selection::default()
        };
        let removed = orphans::remove(&self.docker, &selection);
        if let Err(error) = &removed {
            log::warn!("cannot remove what an earlier job left: {error}");
        }
        removed.is_ok()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.orphaned.is_empty() {
            self.process.leave_to_others();
        }
    }
}
