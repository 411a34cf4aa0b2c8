//! What a stage is: a script for one of the job's containers, when it runs, and what its failure means.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::docker::{DockerCommand, Slot, Word};
pub use crate::helper::task::REFUSED;
use crate::job::kept::Kept;

/// Which of a job's stages it is. `Display` is what messages call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StageKind {
    /// The job's commands before that, `hooks:pre_get_sources_script`.
    PreGetSources,
    /// git brings the sources into the job's volume.
    GetSources,
    /// The job's commands after that, `hooks:post_get_sources_script`.
    PostGetSources,
    /// Archives of caches are unpacked.
    RestoreCache,
    /// Artifacts of other jobs are unpacked.
    DownloadArtifacts,
    /// All of that is given to the user of the build.
    GiveSources,
    /// The job's `script`.
    Script,
    /// What the job releases after its `script`.
    Release,
    /// The job's `after_script`.
    AfterScript,
    /// Caches are packed.
    ArchiveCache,
    /// The job's artifacts are packed and handed on.
    UploadArtifacts,
}

impl StageKind {
    /// Its name for machines, as the metrics have it.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::PreGetSources => "pre_get_sources_script",
            Self::GetSources => "get_sources",
            Self::PostGetSources => "post_get_sources_script",
            Self::RestoreCache => "restore_cache",
            Self::DownloadArtifacts => "download_artifacts",
            Self::GiveSources => "give_sources",
            Self::Script => "build",
            Self::Release => "step_release",
            Self::AfterScript => "after_script",
            Self::ArchiveCache => "archive_cache",
            Self::UploadArtifacts => "upload_artifacts",
        }
    }
}

impl fmt::Display for StageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Keywords of a job.
            Self::PreGetSources | Self::PostGetSources | Self::AfterScript => {
                f.write_str(self.key())
            }
            Self::Release => f.write_str("release"),
            kind => f.write_str(&kind.key().replace('_', " ")),
        }
    }
}

/// The condition of a stage, by how the job's own scripts ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Only if they went well.
    OnSuccess,
    /// Only if something failed until then.
    OnFailure,
    /// In any case. Also then, nothing runs any more when the job was canceled.
    Always,
}

impl When {
    /// Whether a stage is to run, after scripts that went well or did not.
    #[must_use]
    pub fn holds(self, success: bool) -> bool {
        match self {
            Self::OnSuccess => success,
            Self::OnFailure => !success,
            Self::Always => true,
        }
    }
}

/// What it means for the job where a stage in the helper fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The system failed.
    System,
    /// The same, unless it ends with [`REFUSED`]: the job asks for something that is not to be had.
    Refusable,
    /// It costs a warning.
    Warning,
    /// The job failed: the commands are its own.
    Job,
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

/// A container that runs to its end, and is gone then.
#[derive(Clone, Debug)]
pub struct Errand {
    /// Its name.
    pub name: Word,
    /// Runs it.
    pub run: DockerCommand,
}

/// What a container is asked before a stage.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Stands for what it prints: `UID:GID`, and nothing else is taken.
    pub slot: Slot,
    /// The container.
    pub errand: Errand,
}

/// Something that the runner itself does, in the helper container.
#[derive(Clone, Debug)]
pub struct HelperStage {
    /// Which it is.
    pub kind: StageKind,
    /// The command that takes the script.
    pub command: DockerCommand,
    /// The script, for standard input.
    pub script: Word,
    /// The script writes all to stdout: what comes by stderr is docker's.
    pub one_stream: bool,
    /// Files of this host that take part.
    pub exchange: Exchange,
    /// What has to be known for the script.
    pub asked: Option<Asked>,
    /// Its condition.
    pub when: When,
    /// What its failure means.
    pub failure: Failure,
    /// How often it is tried.
    pub attempts: u32,
    /// How long all of that may take, within what the job may take.
    pub timeout: Option<Duration>,
}

impl HelperStage {
    /// A stage that is tried once, after success only, and whose failure is the system's.
    pub(super) fn new(kind: StageKind, command: DockerCommand, script: impl Into<Word>) -> Self {
        Self {
            kind,
            command,
            script: script.into(),
            one_stream: false,
            exchange: Exchange::None,
            asked: None,
            when: When::OnSuccess,
            failure: Failure::System,
            attempts: 1,
            timeout: None,
        }
    }
}

/// A script of the job's own, in the build container.
#[derive(Clone, Debug)]
pub struct BuildStage {
    /// Which it is.
    pub kind: StageKind,
    /// The command that takes the script.
    pub command: DockerCommand,
    /// The script, for standard input.
    pub script: Word,
    /// How long it may take, within what the job may take.
    pub timeout: Option<Duration>,
    /// A shell in the same container, for a user at a terminal. Where there is one, the script waits when it has
    /// failed.
    pub enter: Option<DockerCommand>,
}

#[cfg(test)]
mod tests {
    use super::StageKind;

    #[test]
    fn stages_are_called_in_words_and_by_their_keyword() {
        for (kind, words) in [
            (StageKind::GetSources, "get sources"),
            (StageKind::UploadArtifacts, "upload artifacts"),
            (StageKind::AfterScript, "after_script"),
            (StageKind::Release, "release"),
        ] {
            assert_eq!(kind.to_string(), words);
        }
    }
}
