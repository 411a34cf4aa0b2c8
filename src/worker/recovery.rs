//! What processes of this host left that were killed, found and removed: on an engine, and in the state directory.
//! What of their jobs nobody told the coordinator is told now.

use anyhow::Result;

use crate::docker::Docker;
use crate::executor::orphans::{self, Selection, Strays};
use crate::service::record;
use crate::state::{DeadProcess, State};

/// What is looked for beside what the dead left.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Cache volumes.
    pub caches: bool,
    /// Things of runners that this host knows nothing of.
    pub foreign: bool,
}

/// Removes what killed processes left while runners work. It costs nothing where there are none.
pub fn remove(state: &State, docker: &Docker, engine: &str) {
    let removed = state.remove_strays().and_then(|()| {
        let dead = state.dead_processes()?;
        if dead.is_empty() {
            return Ok(Vec::new());
        }
        remove_of(dead, state, docker, engine, Wanted::default())
    });
    match removed {
        Ok(removed) => {
            for removed in removed {
                log::info!("removed {removed}, left by a runner that was killed");
            }
        }
        Err(error) => log::warn!("cannot clean up after runners that were killed: {error:#}"),
    }
}

/// Removes what killed processes left, and whatever else is wanted, because somebody asks for it. Returns what was
/// on the engine.
///
/// # Errors
/// If the engine does not answer, or something cannot be removed.
pub fn remove_wanted(
    state: &State,
    docker: &Docker,
    engine: &str,
    wanted: Wanted,
) -> Result<Vec<String>> {
    state.remove_strays()?;
    remove_of(state.dead_processes()?, state, docker, engine, wanted)
}

fn remove_of(
    dead: Vec<DeadProcess>,
    state: &State,
    docker: &Docker,
    engine: &str,
    wanted: Wanted,
) -> Result<Vec<String>> {
    let (here, elsewhere): (Vec<_>, Vec<_>) = dead
        .into_iter()
        .partition(|process| process.engine == engine);
    let selection = Selection {
        processes: here.iter().map(|process| process.label.clone()).collect(),
        // An engine may have made something for a client that was killed, and only after somebody looked.
        strays: Some(Strays {
            scope: if wanted.foreign {
                String::new()
            } else {
                format!("{}/", state.scope())
            },
            living: &|| state.living_processes(),
        }),
        seal: state.seal.clone(),
        prefix: String::new(),
        caches: wanted.caches,
    };
    let files: Vec<_> = here.iter().map(|process| process.files.clone()).collect();
    let removed = orphans::remove_all(docker, &selection, &files);
    // Neither files, which may hold secrets, nor coordinators need the engine.
    let mut untold = Vec::new();
    for process in here.iter().chain(&elsewhere) {
        if let Err(error) = process.remove_files_but(record::DIRECTORY) {
            log::warn!("{error:#}");
        }
        if !record::report(&process.files) {
            untold.push(process.label.clone());
        }
    }
    let removed = removed?;
    here.into_iter()
        .filter(|process| !untold.contains(&process.label))
        .try_for_each(DeadProcess::forget)?;
    Ok(removed)
}
