//! What a job has of a pool: one of its engines, until it has ended.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;

use super::engines::{Event, Pool};
use crate::cancel::Cancel;
use crate::docker::{Docker, DockerError};
use crate::executor::Report;
use crate::job::Job;
use crate::outcome::Outcome;
use crate::state::Slot;
use crate::trace::Trace;
use crate::worker::{Neighbours, Run, Worker};

/// How long a job whose engine is gone waits for another one to come back.
const PATIENCE: Duration = Duration::from_mins(1);

/// An engine for one job, until this is dropped.
pub struct Lease {
    pool: Arc<Pool>,
    pub(super) index: usize,
    _slot: Option<Slot>,
}

/// A job that runs on an engine, until this is dropped.
struct Running<'a>(&'a Lease);

impl<'a> Running<'a> {
    fn begin(lease: &'a Lease) -> Self {
        lease.begins();
        lease.pool.tell(lease.index, Event::JobBegan);
        Self(lease)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.pool.tell(self.0.index, Event::JobEnded);
    }
}

impl Lease {
    /// One that the pool has counted.
    pub(super) fn new(pool: Arc<Pool>, index: usize, slot: Option<Slot>) -> Self {
        Self {
            pool,
            index,
            _slot: slot,
        }
    }

    /// A job begins on its engine, which comes behind those that have been without one for longer.
    pub(super) fn begins(&self) {
        let mut book = self.pool.book();
        book.jobs += 1;
        book.entries[self.index].last = book.jobs;
    }

    /// What runs the job, made on first use.
    ///
    /// # Errors
    /// As [`Worker::open`].
    pub fn worker(&self) -> Result<Arc<Worker>> {
        self.pool.worker(self.index)
    }

    /// Runs a job as [`Worker::run`] does. Where the engine cannot be reached before anything was made, the lease becomes
    /// one on another engine.
    ///
    /// # Errors
    /// As [`Worker::run`].
    pub fn run(&mut self, job: &Job, run: &Run) -> Result<Report> {
        let mut first = true;
        loop {
            let next: Mutex<Option<Self>> = Mutex::default();
            let elsewhere = |trace: &Trace, error: &DockerError| {
                let found = self.find_another(trace, error, run.cancel);
                let taken = found.is_some();
                *next.lock().unwrap_or_else(PoisonError::into_inner) = found;
                taken
            };
            let neighbours = Neighbours {
                others: &|| self.others(),
                elsewhere: &elsewhere,
                first,
            };
            let running = Running::begin(self);
            let report = self.worker()?.run(job, run, &neighbours)?;
            drop(running);
            let next = next.into_inner().unwrap_or_else(PoisonError::into_inner);
            let Some(next) = next else {
                self.judge(&report.outcome);
                return Ok(report);
            };
            *self = next;
            first = false;
        }
    }

    /// Engines that may have what this one lacks.
    fn others(&self) -> Vec<Docker> {
        let book = self.pool.book();
        let others = self.pool.members.iter().zip(&book.entries).enumerate();
        let others = others
            .filter(|(index, (_, entry))| *index != self.index && entry.health.resting().is_none());
        others
            .map(|(_, (member, _))| member.docker.clone())
            .collect()
    }

    /// A lease on another engine, in the place of this one, which does not answer.
    fn find_another(&self, trace: &Trace, error: &DockerError, cancel: &Cancel) -> Option<Self> {
        self.pool.bound?;
        self.pool.fails(self.index, error);
        let name = self.pool.members[self.index].name();
        let said = trace.warning(&format!(
            "the docker engine {name} cannot be reached, the job goes to another one: {}",
            error.reason()
        ));
        // Where the log cannot be written, the job's next line fails.
        drop(said);
        let found = self.pool.wait(cancel, PATIENCE);
        found.unwrap_or_else(|error| {
            log::warn!("no other engine takes the job: {error:#}");
            None
        })
    }

    /// What a job's end says of its engine.
    fn judge(&self, outcome: &Outcome) {
        if self.pool.bound.is_none() {
            return;
        }
        match outcome {
            Outcome::SystemFailure(_) => self.pool.book().entries[self.index].health.doubt(),
            Outcome::Success | Outcome::ScriptFailure { .. } => self.pool.answers(self.index),
            Outcome::BuildError(_) | Outcome::Canceled | Outcome::TimedOut(_) => {}
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.book().entries[self.index].leases -= 1;
        self.pool.changed.notify_all();
    }
}
