//! Recovery after a kill: finds what dead processes of this host left on engines and in the state directory, and
//! removes it. It comes before any job: a concurrent id of a dead process is free while its containers still have
//! that id's names.
//!
//! What a coordinator has still to hear of their jobs, the caller's [`Report`] tells: this module knows no coordinator.

use std::path::Path;
use std::slice;
use std::thread;

use anyhow::Result;

use crate::docker::Docker;
use crate::executor::orphans::{self, Selection, Strays};
use crate::logging::carried;
use crate::state::{DeadProcess, Process, State};

/// The directory, among the files of a process, of what has to be reported about its jobs. It outlives the process
/// until a [`Report`] is done with it.
pub const RECORDS: &str = "jobs";

/// Reports the jobs of a dead process, whose [`RECORDS`] are in this directory, if it is there. Returns whether nothing
/// remains to be reported; otherwise the next recovery tries again.
pub type Report = fn(&Path) -> bool;

/// What is removed besides the orphans of this host's dead processes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Cache volumes.
    pub caches: bool,
    /// Things of runners that this host knows nothing of.
    pub foreign: bool,
}

/// What every recovery needs to know.
#[derive(Clone)]
pub struct Recovery {
    /// The state directory.
    pub state: State,
    /// Docker commands go to stderr before they run.
    pub print_commands: bool,
    /// Reports the jobs of dead processes.
    pub report: Report,
}

/// An engine and a state directory after recovery: the proof that recovery ran, which is needed to make anything there.
pub struct Recovered {
    docker: Docker,
    state: State,
    /// Something may be left on the engine, which could not be asked.
    pub(super) unfinished: bool,
}

impl Recovery {
    /// Removes the orphans of dead processes before jobs run on this engine. It takes no docker command when there are
    /// none; what cannot be removed is logged and stays for the next recovery. `named`: the log says on which engine.
    pub(super) fn of(&self, docker: &Docker, named: bool) -> Recovered {
        let removed = self.removed(slice::from_ref(docker)).pop();
        self.recovered(docker, removed.unwrap_or_else(|| Ok(Vec::new())), named)
    }

    /// The same for several engines at the same time, in their order. One that does not answer holds up no other one.
    pub(super) fn of_all(&self, engines: &[Docker], named: bool) -> Vec<Recovered> {
        let removed = engines.iter().zip(self.removed(engines));
        let recovered = removed.map(|(docker, removed)| self.recovered(docker, removed, named));
        recovered.collect()
    }

    /// What was removed from each of these engines. No docker command is needed where no process is dead.
    fn removed(&self, engines: &[Docker]) -> Vec<Result<Vec<String>>> {
        let dead = self.state.remove_orphans();
        let dead = dead.and_then(|()| self.state.dead_processes());
        match dead {
            Ok(dead) if !dead.is_empty() => self.remove(dead, engines, Wanted::default()),
            dead => {
                if let Err(error) = dead {
                    log::warn!("cannot look for runners that were killed: {error:#}");
                }
                engines.iter().map(|_| Ok(Vec::new())).collect()
            }
        }
    }

    /// Says what was removed, and with `named` from which engine.
    fn recovered(&self, docker: &Docker, removed: Result<Vec<String>>, named: bool) -> Recovered {
        let unfinished = removed.is_err();
        let on = if named {
            format!(" on {}", docker.engine().id())
        } else {
            String::new()
        };
        match removed {
            Ok(removed) => {
                for removed in removed {
                    log::info!("removed {removed}{on}, left by a runner that was killed");
                }
            }
            Err(error) => {
                log::warn!("cannot clean up after runners that were killed{on}: {error:#}");
            }
        }
        Recovered {
            docker: docker.clone(),
            state: self.state.clone(),
            unfinished,
        }
    }

    /// Removes the orphans of dead processes, and what else is wanted, from each of these engines. Returns what was on
    /// each, in their order, or why it cannot be removed.
    ///
    /// # Errors
    /// If the state directory cannot be read or written.
    pub(super) fn with_wanted(
        &self,
        engines: &[Docker],
        wanted: Wanted,
    ) -> Result<Vec<Result<Vec<String>>>> {
        self.state.remove_orphans()?;
        Ok(self.remove(self.state.dead_processes()?, engines, wanted))
    }

    fn remove(
        &self,
        mut dead: Vec<DeadProcess>,
        engines: &[Docker],
        wanted: Wanted,
    ) -> Vec<Result<Vec<String>>> {
        let shares: Vec<(&Docker, Vec<DeadProcess>)> = engines
            .iter()
            .map(|docker| {
                let id = docker.engine().id();
                let (here, elsewhere) = dead.drain(..).partition(|dead| dead.engine == id);
                dead = elsewhere;
                (docker, here)
            })
            .collect();
        let removed = side_by_side(shares, |(docker, here)| {
            self.remove_on(docker, here, wanted)
        });
        for process in &dead {
            self.settle(process);
        }
        removed
    }

    /// Removes from an engine what the processes `here` left there.
    fn remove_on(
        &self,
        docker: &Docker,
        here: Vec<DeadProcess>,
        wanted: Wanted,
    ) -> Result<Vec<String>> {
        let selection = Selection {
            processes: here.iter().map(|process| process.label.clone()).collect(),
            // An engine may finish a command after its client was killed, and after the last recovery has looked.
            strays: Some(Strays {
                scope: if wanted.foreign {
                    String::new()
                } else {
                    format!("{}/", self.state.scope())
                },
                living: &|| self.state.living_processes(),
            }),
            seal: self.state.seal.clone(),
            prefix: String::new(),
            caches: wanted.caches,
        };
        let files: Vec<_> = here.iter().map(|process| process.files.clone()).collect();
        let removed = orphans::remove_all(docker, &selection, &files);
        // Neither files, which may hold secrets, nor reports need the engine: they go even if it does not answer.
        let (settled, _unreported): (Vec<_>, Vec<_>) =
            here.into_iter().partition(|process| self.settle(process));
        let removed = removed?;
        settled.into_iter().try_for_each(DeadProcess::forget)?;
        Ok(removed)
    }

    /// Removes the files of a dead process, and reports its jobs. Returns whether nothing remains to be reported.
    fn settle(&self, process: &DeadProcess) -> bool {
        if let Err(error) = process.remove_files_but(RECORDS) {
            log::warn!("{error:#}");
        }
        (self.report)(&process.files.join(RECORDS))
    }
}

/// Does the same with each, all at the same time, and returns the results in their order.
pub(super) fn side_by_side<T: Send, R: Send>(each: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = each
            .into_iter()
            .map(|one| scope.spawn(carried(move || work(one))))
            .collect();
        let joined = threads.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        joined.collect()
    })
}

impl Recovered {
    /// The engine's client.
    pub(super) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Registers this process as one that makes things on the engine, with the helper image that it cannot do without.
    ///
    /// # Errors
    /// If the state directory cannot be written.
    pub(super) fn register(self, helper_image: &str) -> Result<(Process, Docker, State)> {
        let engine = self.docker.engine().id().to_owned();
        let process = self.state.register(&engine, helper_image)?;
        let docker = self.docker.with_files_in(&process.files);
        Ok((process, docker, self.state))
    }
}
