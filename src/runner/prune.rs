//! Removing what runners left behind, when somebody asks for it.

use anyhow::Result;

use crate::config::DockerConfig;
use crate::docker::Docker;
use crate::executor::orphans::{self, Selection};
use crate::state::{self, DeadProcess, State};

/// What to remove beside what killed runners of this host left.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Cache volumes.
    pub caches: bool,
    /// Things of runners that this host knows nothing of.
    pub foreign: bool,
}

/// Removes what is left on an engine and returns what that was.
///
/// # Errors
/// If the engine does not answer, or something cannot be removed.
pub fn prune(config: &DockerConfig, wanted: &Wanted, print_commands: bool) -> Result<Vec<String>> {
    let docker = Docker::new(config.engine(), print_commands);
    let state = State::open(state::directory()?)?;
    let dead = state.dead_processes(config.host.as_deref().unwrap_or_default())?;
    let selection = Selection {
        processes: dead.iter().map(|process| process.label.clone()).collect(),
        all_but: wanted
            .foreign
            .then(|| state.living_processes())
            .transpose()?,
        prefix: String::new(),
        caches: wanted.caches,
    };
    let removed = orphans::remove(&docker, &selection)?;
    dead.into_iter().try_for_each(DeadProcess::forget)?;
    Ok(removed)
}
