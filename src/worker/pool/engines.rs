//! The engines of a runner, each with its worker.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use anyhow::Result;

use super::health::Health;
use super::member::Member;
use crate::config::RunnerConfig;
use crate::docker::Docker;
use crate::outcome::InputError;
use crate::worker::Worker;
use crate::worker::recovery::{Recovered, Recovery};

/// What becomes of an engine, for metrics and for the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A job runs on it.
    JobBegan,
    /// That job does not run there any more.
    JobEnded,
    /// It does not answer and is left out for a while.
    Rests,
    /// It answers, and can take jobs from now on.
    Answers,
    /// The pool will not say any more how it answers.
    Retired,
}

/// Hears what becomes of the engine of this name. Of a runner with one engine there is nothing to hear.
pub type Observe = dyn Fn(&str, Event) + Send + Sync;

/// The engines of a runner.
pub struct Pool {
    config: RunnerConfig,
    short_token: String,
    colour: bool,
    pub(super) recovery: Recovery,
    /// How many jobs each engine may run at once; `None`: there is one, and any number.
    pub(super) bound: Option<u32>,
    pub(super) members: Vec<Member>,
    book: Mutex<Book>,
    recovering: Mutex<()>,
    /// Whether [`Pool::retire`] was called. Held while something is told, so that nothing comes after that.
    retired: Mutex<bool>,
    /// An engine was given back, or a look at one has ended.
    pub(super) changed: Condvar,
    pub(super) observe: Box<Observe>,
}

/// What this process knows of the members, in their order.
pub(super) struct Book {
    pub entries: Vec<Entry>,
    /// Counts the jobs.
    pub jobs: u64,
}

#[derive(Default)]
pub(super) struct Entry {
    /// How many leases this process has.
    pub leases: u32,
    /// The number of the last job; 0: none.
    pub last: u64,
    pub health: Health,
}

impl Pool {
    /// The engines of these settings. Nothing is asked of them yet. Jobs are known by `short_token`.
    ///
    /// # Errors
    /// [`InputError`] for what is no pool.
    pub fn new(
        config: &RunnerConfig,
        recovery: Recovery,
        short_token: &str,
        colour: bool,
        observe: Box<Observe>,
    ) -> Result<Arc<Self>, InputError> {
        let engines = config.docker.engines().map_err(|error| {
            InputError::new(format!("{}{error}", config.origin.prefix("docker")))
        })?;
        let members: Vec<Member> = engines
            .into_iter()
            .map(|engine| Member::new(Docker::new(engine, recovery.print_commands)))
            .collect();
        let entries = members.iter().map(|_| Entry::default()).collect();
        Ok(Arc::new(Self {
            config: config.clone(),
            short_token: short_token.to_owned(),
            colour,
            recovery,
            bound: config.docker.jobs_per_engine(),
            members,
            book: Mutex::new(Book { entries, jobs: 0 }),
            recovering: Mutex::default(),
            retired: Mutex::default(),
            changed: Condvar::new(),
            observe,
        }))
    }

    /// How many jobs all engines together may run at once; `None`: any number.
    #[must_use]
    pub fn slots(&self) -> Option<usize> {
        let each = usize::try_from(self.bound?).unwrap_or(usize::MAX);
        Some(each.saturating_mul(self.members.len()))
    }

    /// Recovery on all engines at the same time, and a worker for each.
    ///
    /// # Errors
    /// As [`Worker::open`].
    pub fn open(&self) -> Result<()> {
        let engines = self.members.iter().map(|member| member.docker.clone());
        let engines: Vec<Docker> = engines.collect();
        let recovered = {
            let _one = self.recovering();
            self.recovery.of_all(&engines, self.bound.is_some())
        };
        for (member, recovered) in self.members.iter().zip(recovered) {
            self.open_member(member, || recovered)?;
        }
        Ok(())
    }

    /// A worker for what needs no engine.
    ///
    /// # Errors
    /// As [`Worker::open`].
    pub fn any_worker(&self) -> Result<Arc<Worker>> {
        self.worker(0)
    }

    /// Why no engine will be free: all rest.
    #[must_use]
    pub fn out_of_order(&self) -> Option<String> {
        self.bound?;
        let book = self.book();
        let entries = self.members.iter().zip(&book.entries);
        let why = entries.map(|(member, entry)| {
            let why = entry.health.resting()?;
            (!entry.health.is_looked_at()).then(|| format!("{}: {why}", member.name()))
        });
        let why: Vec<String> = why.collect::<Option<_>>()?;
        Some(format!("no engine of the pool answers: {}", why.join("; ")))
    }

    /// Another pool takes its place, or none: only its jobs are told of from now on.
    pub fn retire(&self) {
        let mut retired = self.retired();
        for member in self.members.iter().filter(|_| self.bound.is_some()) {
            (self.observe)(member.name(), Event::Retired);
        }
        *retired = true;
    }

    /// What runs jobs on a member, made on first use.
    pub(super) fn worker(&self, index: usize) -> Result<Arc<Worker>> {
        let member = &self.members[index];
        self.open_member(member, || self.recover(member))
    }

    /// Recovery on the engine of a member.
    pub(super) fn recover(&self, member: &Member) -> Recovered {
        let _one = self.recovering();
        self.recovery.of(&member.docker, self.bound.is_some())
    }

    fn open_member(
        &self,
        member: &Member,
        recovered: impl FnOnce() -> Recovered,
    ) -> Result<Arc<Worker>> {
        let name = self.bound.map(|_| member.name());
        member.worker(|| {
            let recovered = recovered();
            member.is_recovered(&recovered);
            Worker::open(
                &self.config,
                recovered,
                &self.short_token,
                self.colour,
                name,
            )
        })
    }

    /// One recovery at a time: it holds the files of dead processes, also of those of other engines.
    fn recovering(&self) -> MutexGuard<'_, ()> {
        self.recovering
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tell(&self, index: usize, event: Event) {
        let retired = self.retired();
        let is_of_job = matches!(event, Event::JobBegan | Event::JobEnded);
        if self.bound.is_some() && (is_of_job || !*retired) {
            (self.observe)(self.members[index].name(), event);
        }
    }

    fn retired(&self) -> MutexGuard<'_, bool> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
