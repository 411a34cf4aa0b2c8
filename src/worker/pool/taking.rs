//! Which engine comes next.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::engines::Pool;
use super::lease::Lease;
use crate::cancel::Cancel;
use crate::state::Slot;

/// How often a job that waits looks again: another process does not tell when it gives an engine back.
const PAUSE: Duration = Duration::from_millis(200);

impl Pool {
    /// A lease on the least used engine that is free for one more job. `None`: there is none now. Nothing is waited for;
    /// a look that an engine needs first is begun.
    ///
    /// # Errors
    /// If the files of the slots cannot be written.
    pub fn take(self: &Arc<Self>) -> Result<Option<Lease>> {
        let Some(bound) = self.bound else {
            self.book().entries[0].leases += 1;
            return Ok(Some(Lease::new(self.clone(), 0, None)));
        };
        self.begin_looks();
        let now = Instant::now();
        let mut book = self.book();
        let mut order: Vec<usize> = (0..self.members.len()).collect();
        order.retain(|index| book.entries[*index].health.is_good(now));
        order.sort_by_key(|index| book.entries[*index].last);
        // Over all processes: no engine has a job more while another one has a job less.
        for level in 0..bound {
            for index in &order {
                if book.entries[*index].leases > level {
                    continue;
                }
                if let Some(slot) = self.slot(*index, level + 1)? {
                    book.entries[*index].leases += 1;
                    return Ok(Some(Lease::new(self.clone(), *index, Some(slot))));
                }
            }
        }
        Ok(None)
    }

    fn slot(&self, index: usize, count: u32) -> Result<Option<Slot>> {
        let name = format!("engine-{}", self.members[index].docker.engine().key());
        self.recovery.state.slot(&name, count)
    }

    /// As [`Pool::take`]; where none is free, it waits. Engines that all rest are waited for as long as `patience`.
    /// `None`: `cancel` came first.
    ///
    /// # Errors
    /// As [`Pool::take`], and if no engine answers.
    pub fn wait(self: &Arc<Self>, cancel: &Cancel, patience: Duration) -> Result<Option<Lease>> {
        let pool = self.clone();
        let _woken = cancel.on_trigger(move || pool.changed.notify_all());
        let end = Instant::now() + patience;
        loop {
            if let Some(lease) = self.take()? {
                return Ok(Some(lease));
            }
            if cancel.reason().is_some() {
                return Ok(None);
            }
            if let Some(why) = self.out_of_order()
                && Instant::now() >= end
            {
                return Err(anyhow!(why));
            }
            let waited = self.changed.wait_timeout(self.book(), PAUSE);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Event;
    use super::{Lease, Pool};
    use crate::cancel::{Cancel, Reason};
    use crate::config::{DockerConfig, RunnerConfig};
    use crate::docker::error::Kind;
    use crate::docker::{DockerCommand, DockerError};
    use crate::state::State;
    use crate::worker::recovery::Recovery;
    use std::path::Path;
    use std::sync::{Arc, Mutex};
    use std::thread;
    use std::time::Duration;

    /// A pool of these engines, as a process with this state directory has it. They have answered.
    fn pool(directory: &Path, hosts: &[&str], jobs_per_host: u32) -> Arc<Pool> {
        let config = RunnerConfig {
            docker: DockerConfig {
                hosts: Some(hosts.iter().map(ToString::to_string).collect()),
                jobs_per_host: Some(jobs_per_host),
                ..DockerConfig::default()
            },
            ..RunnerConfig::default()
        };
        let recovery = Recovery {
            state: State::open(directory.to_owned()).expect("opens"),
            print_commands: false,
            report: |_| true,
        };
        let pool = Pool::new(&config, recovery, "x", false, Box::new(|_, _| {})).expect("a pool");
        (0..hosts.len()).for_each(|index| pool.answers(index));
        pool
    }

    fn take(pool: &Arc<Pool>) -> Option<Lease> {
        pool.take().expect("files")
    }

    #[test]
    fn jobs_spread_evenly_over_engines_also_those_of_several_processes() {
        let directory = tempfile::tempdir().expect("a directory");
        let hosts = ["unix:///a", "unix:///b", "unix:///c"];
        let one = pool(directory.path(), &hosts, 2);
        let other = pool(directory.path(), &hosts, 2);
        assert_eq!(one.slots(), Some(6));
        let mut used = [0; 3];
        let mut leases = Vec::new();
        for number in 0..6 {
            let lease = take(if number % 2 == 0 { &one } else { &other }).expect("a free one");
            used[lease.index] += 1;
            leases.push(lease);
            let (fewest, most) = (used.iter().min(), used.iter().max());
            let even = most.zip(fewest).map(|(most, fewest)| most - fewest <= 1);
            assert_eq!(even, Some(true), "{used:?}");
        }
        assert!(take(&one).is_none() && take(&other).is_none());
        let free = leases.swap_remove(3).index;
        assert_eq!(take(&other).map(|lease| lease.index), Some(free));
        // One that gave a low slot back while it still has a high one is not the least used.
        drop(leases);
        let _first = take(&one);
        let rest: Vec<_> = std::iter::from_fn(|| take(&one)).collect();
        assert_eq!(rest.len(), 5);
    }

    #[test]
    fn of_engines_that_are_equally_used_the_one_that_rested_longest_comes_first() {
        let directory = tempfile::tempdir().expect("a directory");
        let pool = pool(directory.path(), &["unix:///a", "unix:///b"], 1);
        for want in [0, 1, 0, 1] {
            let lease = take(&pool).expect("free");
            assert_eq!(lease.index, want);
            lease.begins();
        }
    }

    #[test]
    fn a_job_that_waits_gets_what_another_gives_back_unless_it_is_canceled_before() {
        let directory = tempfile::tempdir().expect("a directory");
        let pool = pool(directory.path(), &["unix:///a"], 1);
        let lease = take(&pool).expect("free");
        let cancel = Cancel::new();
        let wait = || pool.wait(&cancel, Duration::ZERO).expect("files");
        thread::scope(|scope| {
            let waits = scope.spawn(wait);
            drop(lease);
            let lease = waits.join().expect("no panic");
            assert!(lease.is_some());
            let waits = scope.spawn(wait);
            cancel.trigger(Reason::Canceled);
            assert!(waits.join().expect("no panic").is_none());
        });
    }

    /// What a pool tells, as it comes.
    type Told = Arc<Mutex<Vec<(String, Event)>>>;

    fn told_by(pool: &mut Arc<Pool>) -> Told {
        let told = Told::default();
        let hears = told.clone();
        Arc::get_mut(pool).expect("one").observe = Box::new(move |name, event| {
            let mut told = hears.lock().expect("no panic");
            told.push((name.to_owned(), event));
        });
        told
    }

    fn gone() -> DockerError {
        DockerError {
            kind: Kind::NoEngine,
            command: DockerCommand::load().to_string(),
            message: "gone".to_owned(),
            printed: String::new(),
        }
    }

    #[test]
    fn once_another_pool_has_taken_its_place_only_its_jobs_are_told_of() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut pool = pool(directory.path(), &["unix:///a"], 1);
        let told = told_by(&mut pool);
        pool.retire();
        pool.fails(0, &gone());
        pool.answers(0);
        pool.tell(0, Event::JobEnded);
        let events: Vec<Event> = told
            .lock()
            .expect("no panic")
            .iter()
            .map(|told| told.1)
            .collect();
        assert_eq!(events, [Event::Retired, Event::JobEnded]);
    }

    #[test]
    fn an_engine_that_fails_is_left_out_and_told_of_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut pool = pool(directory.path(), &["unix:///a", "unix:///b"], 1);
        let told = told_by(&mut pool);
        let error = gone();
        pool.fails(0, &error);
        pool.fails(0, &error);
        let only = take(&pool).expect("free");
        assert_eq!(only.index, 1);
        assert!(take(&pool).is_none() && pool.out_of_order().is_none());
        pool.fails(1, &error);
        let why = "no engine of the pool answers: unix:///a: gone; unix:///b: gone";
        assert_eq!(pool.out_of_order().as_deref(), Some(why));
        pool.answers(0);
        assert!(take(&pool).is_some());
        let told = told.lock().expect("no panic");
        let told: Vec<_> = told.iter().map(|(name, event)| (&**name, *event)).collect();
        let want = [
            ("unix:///a", Event::Rests),
            ("unix:///b", Event::Rests),
            ("unix:///a", Event::Answers),
        ];
        assert_eq!(told, want);
    }
}
