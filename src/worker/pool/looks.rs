//! Looks at the engines of a pool: each in a thread of its own, since an engine that hangs takes its time. A pool that is
//! dropped does not wait for them: until the engine answers, they hold nothing of it.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::Instant;

use super::engines::{Event, Pool};
use crate::cancel::Cancel;
use crate::docker::error::Kind;
use crate::docker::{Docker, DockerError};
use crate::logging::carried;
use crate::outcome::on_one_line;

/// A look that is under way, until this is dropped.
struct Look {
    pool: Weak<Pool>,
    index: usize,
}

impl Look {
    fn run(&self, docker: &Docker) {
        let answer = docker.answers(&Cancel::new());
        if let Some(pool) = self.pool.upgrade() {
            pool.looked_at(self.index, answer);
        }
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.book().entries[self.index].health.look_ended();
            pool.changed.notify_all();
        }
    }
}

impl Pool {
    /// Looks at the engines for which it is time.
    pub(super) fn begin_looks(self: &Arc<Self>) {
        let now = Instant::now();
        let due: Vec<usize> = {
            let mut book = self.book();
            let entries = book.entries.iter_mut().enumerate();
            let due = entries.filter_map(|(index, entry)| {
                let begins = entry.health.begins_look(now);
                begins.then_some(index)
            });
            due.collect()
        };
        for index in due {
            let docker = self.members[index].docker.clone();
            let pool = Arc::downgrade(self);
            let look = Look { pool, index };
            let work = carried(move || look.run(&docker));
            let started = thread::Builder::new().name("engine".to_owned()).spawn(work);
            if let Err(error) = started {
                log::error!("cannot start a thread: {error}");
            }
        }
    }

    fn looked_at(&self, index: usize, answer: Result<(), DockerError>) {
        let member = &self.members[index];
        match answer {
            Ok(()) => {
                if member.is_unfinished() {
                    member.is_recovered(&self.recover(member));
                }
                self.answers(index);
                if let Some(worker) = member.worker_if_open() {
                    worker.remove_orphans();
                }
            }
            Err(error) => self.fails(index, &error),
        }
    }

    /// An engine has answered, now.
    pub(super) fn answers(&self, index: usize) {
        let now = Instant::now();
        let (rested, good) = {
            let health = &mut self.book().entries[index].health;
            let good = health.is_good(now);
            (health.answers(now), good)
        };
        if rested {
            log::info!("the engine {} answers again", self.members[index].name());
        }
        if !good {
            self.tell(index, Event::Answers);
        }
    }

    /// An engine has not answered: it rests.
    pub(super) fn fails(&self, index: usize, error: &DockerError) {
        let why = match error.kind {
            Kind::Canceled => "it hangs".to_owned(),
            _ => on_one_line(error.reason()),
        };
        let rests = self.book().entries[index]
            .health
            .fails(Instant::now(), &why);
        if let Some(pause) = rests {
            log::warn!(
                "the engine {} does not answer and gets no jobs; it is looked at again after {} s, then after growing \
                 pauses: {why}",
                self.members[index].name(),
                pause.as_secs().max(1)
            );
            self.tell(index, Event::Rests);
        }
    }

    /// Whether it is not known yet if an engine can take a job.
    #[must_use]
    pub fn is_looking(&self) -> bool {
        let now = Instant::now();
        let book = self.book();
        let mut entries = book.entries.iter();
        entries.any(|entry| entry.health.is_looked_at() && !entry.health.is_good(now))
    }
}
