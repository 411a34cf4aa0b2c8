//! How what runs in a container is ended: by a signal that it may have a trap for, and some time later without asking.

use std::time::Duration;

use crate::docker::{DockerCommand, Word};

/// How long what was asked to end may take to do so, before it is killed.
pub const GRACE: Duration = Duration::from_secs(10);

/// The commands that end what runs in a container.
#[derive(Clone, Debug)]
pub struct Ending {
    /// Tells the first process to end: the script's own shell. It comes first: that shell would end by what its
    /// children end with before it heard of a signal that it has a trap for. Without a trap it takes no notice.
    pub terminate: DockerCommand,
    /// Tells all others, unless the container sees processes that are not its own.
    pub terminate_all: Option<DockerCommand>,
    /// Kills what is still there after [`GRACE`].
    pub kill: DockerCommand,
}

impl Ending {
    /// `has_own_processes`: whether the container sees no processes but its own.
    pub fn of(container: impl Into<Word>, has_own_processes: bool) -> Self {
        let container = container.into();
        Self {
            terminate: DockerCommand::kill(&container, "TERM"),
            terminate_all: has_own_processes
                .then(|| DockerCommand::exec().operands(&container, ["sh", "-c", "kill -TERM -1"])),
            kill: DockerCommand::stop(&container, Duration::ZERO),
        }
    }
}
