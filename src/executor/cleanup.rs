//! Removes what a job made, whatever became of it.

use std::thread;
use std::time::Duration;

use super::Run;
use super::orphans::{self, Selection};
use crate::docker::error::Kind;
use crate::docker::{DockerCommand, DockerError, Word};
use crate::logging::carried;

/// How long to wait between two tries: what somebody else is removing is in use until it is gone.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

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
        let ours = Selection {
            processes: vec![self.plan.process.clone()],
            seal: self.plan.seal.clone(),
            prefix: self.plan.prefix.plain(),
            ..Selection::default()
        };
        match orphans::remove(self.docker, &ours) {
            Ok(_) => true,
            Err(error) => {
                complain(&error);
                false
            }
        }
    }

    /// Removes everything but the caches. Returns whether nothing is left; the runner's log says what is.
    pub(super) fn clean_up(&self) -> bool {
        let mut made = std::mem::take(&mut *self.made());
        for names in [&mut made.containers, &mut made.networks, &mut made.volumes] {
            names.sort_by_key(Word::plain);
            names.dedup();
        }
        let remove = |names: &[Word], command: fn(&[Word]) -> DockerCommand| {
            names.is_empty() || self.remove(&command(names))
        };
        let containers = remove(&made.containers, |names| DockerCommand::remove(names));
        if !containers {
            // They have the networks and volumes.
            return false;
        }
        thread::scope(|scope| {
            let networks = scope.spawn(carried(|| {
                remove(&made.networks, |names| DockerCommand::network_remove(names))
            }));
            let volumes = remove(&made.volumes, |names| DockerCommand::volume_remove(names));
            super::joined(networks) && volumes
        })
    }

    fn remove(&self, command: &DockerCommand) -> bool {
        let mut pauses = PAUSES.iter();
        let mut waited = false;
        loop {
            let error = match self.docker.capture_patiently(command) {
                Err(error) if !is_gone(&error) => error,
                _ => return true,
            };
            let again = match error.kind {
                // One that was never there, and was not told to make anything, has nothing of ours.
                Kind::NoEngine | Kind::NoRights | Kind::NoClient
                    if !self.has_seen_engine() && !self.has_abandoned() =>
                {
                    return true;
                }
                Kind::NoEngine | Kind::Gone if self.has_seen_engine() && !waited => {
                    waited = true;
                    self.engine_comes_back(self.canceled)
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
