//! Removes what a job made, whatever became of it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::engine::Engine;
use super::orphans::{self, Selection};
use crate::docker::error::Kind;
use crate::docker::{DockerCommand, DockerError, Word};
use crate::logging::carried;
use crate::plan::Plan;

/// How long to wait between two tries: what another process is removing is in use until it is gone.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// What may be on the engine for a job. It is written down here before it is made.
#[derive(Default)]
pub(super) struct Made(Mutex<Names>);

#[derive(Default)]
struct Names {
    containers: Vec<Word>,
    networks: Vec<Word>,
    volumes: Vec<Word>,
}

impl Made {
    fn lock(&self) -> MutexGuard<'_, Names> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A container is about to be made.
    pub fn container(&self, name: &Word) {
        self.lock().containers.push(name.clone());
    }

    /// A network is about to be made.
    pub fn network(&self, name: &Word) {
        self.lock().networks.push(name.clone());
    }

    /// A volume is about to be made that does not stay.
    pub fn volume(&self, name: &Word) {
        self.lock().volumes.push(name.clone());
    }

    /// Removes all of it. Returns whether nothing is left; the runner's log says what is.
    pub fn clean_up(&self, plan: &Plan, engine: &Engine) -> bool {
        let mut made = std::mem::take(&mut *self.lock());
        for names in [&mut made.containers, &mut made.networks, &mut made.volumes] {
            names.sort_by_key(Word::plain);
            names.dedup();
        }
        let containers =
            made.containers.is_empty() || remove(engine, &plan.removal(&made.containers));
        if !containers {
            // They have the networks and volumes.
            return false;
        }
        let remove = |names: &[Word], command: fn(&[Word]) -> DockerCommand| {
            names.is_empty() || remove(engine, &command(names))
        };
        thread::scope(|scope| {
            let networks = scope.spawn(carried(|| {
                remove(&made.networks, |names| DockerCommand::network_remove(names))
            }));
            let volumes = remove(&made.volumes, |names| DockerCommand::volume_remove(names));
            let networks = networks
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            networks && volumes
        })
    }
}

/// Leaves names to another runner that has them. What was made under them here is told by its label. Returns whether
/// nothing of it is left.
pub(super) fn give_way(plan: &Plan, engine: &Engine) -> bool {
    let ours = Selection {
        processes: vec![plan.process.clone()],
        seal: plan.seal.clone(),
        prefix: plan.prefix.plain(),
        ..Selection::default()
    };
    match orphans::remove(engine.docker, &ours) {
        Ok(_) => true,
        Err(error) => {
            complain(&error);
            false
        }
    }
}

/// Runs a command that removes something. Returns whether that is gone.
fn remove(engine: &Engine, command: &DockerCommand) -> bool {
    let mut pauses = PAUSES.iter();
    let mut waited = false;
    loop {
        let error = match engine.docker.capture_patiently(command) {
            Err(error) if !is_gone(&error) => error,
            _ => return true,
        };
        let again = match error.kind {
            // One that was never there, and was not told to make anything, has nothing of ours.
            Kind::NoEngine | Kind::NoRights | Kind::NoClient
                if !engine.has_answered() && !engine.has_abandoned() =>
            {
                return true;
            }
            Kind::NoEngine | Kind::Gone if engine.has_answered() && !waited => {
                waited = true;
                engine.comes_back(engine.canceled)
            }
            Kind::NoEngine | Kind::NoRights | Kind::Gone | Kind::NoClient => false,
            _ => pauses.next().is_some_and(|pause| {
                log::debug!("cannot clean up yet: {error}");
                thread::sleep(*pause);
                true
            }),
        };
        if !again {
            complain(&error);
            return false;
        }
    }
}

fn complain(error: &dyn std::fmt::Display) {
    log::error!("cannot clean up: {error:#}; `alloy-runner prune` will try again");
}

/// Whether a removal leaves nothing behind: what is not there need not be removed.
fn is_gone(error: &DockerError) -> bool {
    let others = error
        .message
        .lines()
        // A client of 20.10 adds its own status.
        .any(|line| {
            !line.contains("No such")
                && !line.contains("not found")
                && !line.starts_with("exit status ")
        });
    error.kind == Kind::NotFound && !others
}

#[cfg(test)]
mod tests {
    use super::is_gone;
    use crate::docker::DockerError;

    #[test]
    fn what_is_not_there_need_not_be_removed() {
        for (stderr, gone) in [
            ("Error: No such container: a", true),
            ("Error: No such network: a\nexit status 1", true),
            (
                "Error response from daemon: network a not found\nexit status 1",
                true,
            ),
            (
                "Error: No such container: a\nError response from daemon: device or resource busy",
                false,
            ),
        ] {
            let error = DockerError::from_stderr("docker x".into(), Some(1), stderr.as_bytes());
            assert_eq!(is_gone(&error), gone, "{stderr}");
        }
    }
}
