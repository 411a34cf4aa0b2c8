//! Removes what a job made, whatever became of it.

use std::thread;

use super::Run;
use super::orphans::{self, Selection};
use crate::docker::error::Kind;
use crate::docker::{Bindings, DockerCommand, DockerError, Word};
use crate::logging::carried;

/// What was begun on the engine for a job.
#[derive(Default)]
pub(super) struct Made {
    pub containers: Vec<Word>,
    pub networks: Vec<Word>,
    pub volumes: Vec<Word>,
}

impl Run<'_> {
    /// Leaves names to somebody else who has them. What we made under them meanwhile is told by its label.
    pub(super) fn give_way(&self) -> bool {
        let prefix = self.plan.prefix.bind(&Bindings::new()).unwrap_or_default();
        let ours = Selection {
            processes: vec![self.plan.process.clone()],
            prefix,
            ..Selection::default()
        };
        match orphans::remove(self.docker, &ours) {
            Ok(_) => true,
            Err(error) => {
                log::error!("cannot clean up: {error:#}; `alloy-runner prune` will try again");
                false
            }
        }
    }

    /// Removes everything but the caches. Returns whether nothing is left; the runner's log says what is.
    pub(super) fn clean_up(&self) -> bool {
        let made = std::mem::take(&mut *self.made());
        let remove = |names: &[Word], command: fn(&[Word]) -> DockerCommand| {
            names.is_empty() || gone(&self.docker.capture(&command(names)))
        };
        let containers = remove(&made.containers, |names| DockerCommand::remove(names));
        thread::scope(|scope| {
            let networks = scope.spawn(carried(|| {
                remove(&made.networks, |names| DockerCommand::network_remove(names))
            }));
            let volumes = remove(&made.volumes, |names| DockerCommand::volume_remove(names));
            super::joined(networks) && volumes && containers
        })
    }
}

/// Whether a removal leaves nothing behind: what is not there need not be removed.
fn gone(result: &Result<String, DockerError>) -> bool {
    let Err(error) = result else { return true };
    let others = error
        .message
        .lines()
        .any(|line| !line.contains("No such") && !line.contains("not found"));
    if error.kind == Kind::NotFound && !others {
        return true;
    }
    log::error!("cannot clean up: {error}; `alloy-runner prune` will try again");
    false
}
