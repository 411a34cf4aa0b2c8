//! What a stage is: a script for a container, when it runs, and what its failure means.

use std::path::PathBuf;
use std::time::Duration;

use crate::docker::{DockerCommand, Word};
pub use crate::helper::task::REFUSED;
use crate::job::kept::Kept;

/// Where a stage runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the helper container.
    Helper,
    /// In the build container.
    Build,
}

/// When a stage runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Only if everything went well so far.
    OnSuccess,
    /// Only if something failed.
    OnFailure,
    /// In any case, unless the job is canceled.
    Always,
}

/// What it means for the job where a stage fails that is not the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The system failed.
    System,
    /// The same, unless it says [`REFUSED`]: the job asks for something that is not to be had.
    Refusable,
    /// It costs a warning.
    Warning,
}

/// Files of this host that go into a stage or come out of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// None.
    None,
    /// The stage runs once for each zip file in a directory, which is its standard input in place of a script. Where
    /// there is none, there are no artifacts of that job.
    In {
        /// Whose artifacts they are.
        job: String,
        /// Where they are.
        directory: PathBuf,
    },
    /// What it prints to stdout becomes the job's archive, in place of those there, and is unpacked for people.
    /// Nothing printed, nothing changed.
    Out {
        /// Where it goes.
        kept: Box<Kept>,
        /// What it is called.
        name: String,
        /// How many megabytes it may unpack to, where the job says it.
        limit: Option<u64>,
    },
}

/// A script and where it belongs.
#[derive(Clone, Debug)]
pub struct Stage {
    /// For people.
    pub name: &'static str,
    /// Where it runs.
    pub place: Place,
    /// The command that takes the script.
    pub command: DockerCommand,
    /// The script, for standard input.
    pub script: Word,
    /// The script writes all to stdout: what comes by stderr is docker's.
    pub one_stream: bool,
    /// Files of this host beside it.
    pub exchange: Exchange,
    /// When it runs.
    pub when: When,
    /// What its failure means.
    pub failure: Failure,
    /// How often it is tried.
    pub attempts: u32,
    /// How long it may take by itself.
    pub timeout: Option<Duration>,
    /// A shell beside it, for a user at a terminal. Where there is one, the script waits when it has failed.
    pub enter: Option<DockerCommand>,
}

impl Stage {
    /// A stage that is tried once, after success only, and whose failure is the system's.
    pub(super) fn new(
        name: &'static str,
        place: Place,
        command: DockerCommand,
        script: impl Into<Word>,
    ) -> Self {
        Self {
            name,
            place,
            command,
            script: script.into(),
            one_stream: false,
            exchange: Exchange::None,
            when: When::OnSuccess,
            failure: Failure::System,
            attempts: 1,
            timeout: None,
            enter: None,
        }
    }
}
