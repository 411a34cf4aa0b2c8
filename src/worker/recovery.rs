//! Recovery after a kill: finds what dead processes of this host left on an engine and in the state directory, and
//! removes it. It comes before any job: a concurrent id of a dead process is free while its containers still have
//! that id's names.
//!
//! What a coordinator has still to hear of their jobs, the caller's [`Report`] tells: this module knows no coordinator.

use std::path::Path;

use anyhow::Result;

use crate::config::DockerConfig;
use crate::docker::Docker;
use crate::executor::orphans::{self, Selection, Strays};
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

/// An engine and a state directory after recovery: the proof that recovery ran, which is needed to make anything there.
pub struct Recovered {
    docker: Docker,
    /// How processes call the engine, so that each cleans up only where it can.
    engine: String,
    state: State,
    report: Report,
}

impl Recovered {
    /// Removes the orphans of dead processes before jobs run. It takes no docker command when there are none; what cannot
    /// be removed is logged and stays for the next recovery. With `print_commands`, docker commands go to stderr before
    /// they run.
    #[must_use]
    pub fn new(state: State, config: &DockerConfig, print_commands: bool, report: Report) -> Self {
        let recovered = Self::before_recovery(state, config, print_commands, report);
        let removed = recovered.state.remove_orphans().and_then(|()| {
            let dead = recovered.state.dead_processes()?;
            if dead.is_empty() {
                return Ok(Vec::new());
            }
            recovered.remove(dead, Wanted::default())
        });
        match removed {
            Ok(removed) => {
                for removed in removed {
                    log::info!("removed {removed}, left by a runner that was killed");
                }
            }
            Err(error) => log::warn!("cannot clean up after runners that were killed: {error:#}"),
        }
        recovered
    }

    /// Removes the orphans of dead processes, and what else is wanted. Returns what was on the engine.
    ///
    /// # Errors
    /// If the engine does not answer, or something cannot be removed.
    pub(super) fn with_wanted(
        state: State,
        config: &DockerConfig,
        print_commands: bool,
        report: Report,
        wanted: Wanted,
    ) -> Result<(Self, Vec<String>)> {
        let recovered = Self::before_recovery(state, config, print_commands, report);
        recovered.state.remove_orphans()?;
        let removed = recovered.remove(recovered.state.dead_processes()?, wanted)?;
        Ok((recovered, removed))
    }

    fn before_recovery(
        state: State,
        config: &DockerConfig,
        print_commands: bool,
        report: Report,
    ) -> Self {
        Self {
            docker: Docker::new(config.engine(), print_commands),
            engine: config.host.clone().unwrap_or_default(),
            state,
            report,
        }
    }

    /// The state directory.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// The engine's client, for what needs no registered process.
    pub(super) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Registers this process as one that makes things on the engine, with the helper image that it cannot do without.
    ///
    /// # Errors
    /// If the state directory cannot be written.
    pub(super) fn register(self, helper_image: &str) -> Result<(Process, Docker, State)> {
        let process = self.state.register(&self.engine, helper_image)?;
        let docker = self.docker.with_files_in(&process.files);
        Ok((process, docker, self.state))
    }

    fn remove(&self, dead: Vec<DeadProcess>, wanted: Wanted) -> Result<Vec<String>> {
        let (here, elsewhere): (Vec<_>, Vec<_>) = dead
            .into_iter()
            .partition(|process| process.engine == self.engine);
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
        let removed = orphans::remove_all(&self.docker, &selection, &files);
        // Neither files, which may hold secrets, nor reports need the engine: they go even if it does not answer.
        let mut unreported = Vec::new();
        for process in here.iter().chain(&elsewhere) {
            if let Err(error) = process.remove_files_but(RECORDS) {
                log::warn!("{error:#}");
            }
            if !(self.report)(&process.files.join(RECORDS)) {
                unreported.push(process.label.clone());
            }
        }
        let removed = removed?;
        here.into_iter()
            .filter(|process| !unreported.contains(&process.label))
            .try_for_each(DeadProcess::forget)?;
        Ok(removed)
    }
}
