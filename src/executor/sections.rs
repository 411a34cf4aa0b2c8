//! The parts of a job's log, between the marks by which GitLab's page folds them. One follows the other; what is written
//! belongs to the one that began last.

use std::io;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use crate::plan::StageKind;
use crate::trace::Trace;

/// A part of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// Images, network, volumes, services and helper.
    Prepare,
    /// The services are waited for.
    WaitForServices,
    /// A stage, after a job that went well so far or did not.
    Stage(StageKind, bool),
}

impl Section {
    /// Its name, as GitLab's own runner calls it: pages and scripts know these.
    fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare_executor",
            Self::WaitForServices => "prepare_script",
            Self::Stage(
                StageKind::PreGetSources | StageKind::PostGetSources | StageKind::GiveSources,
                _,
            ) => "get_sources",
            Self::Stage(StageKind::Script, _) => "step_script",
            Self::Stage(StageKind::ArchiveCache, false) => "archive_cache_on_failure",
            Self::Stage(StageKind::UploadArtifacts, true) => "upload_artifacts_on_success",
            Self::Stage(StageKind::UploadArtifacts, false) => "upload_artifacts_on_failure",
            Self::Stage(kind, _) => kind.key(),
        }
    }

    /// Its first line, which is what a folded part shows.
    fn title(self) -> &'static str {
        match self {
            Self::Prepare => "Preparing the \"docker\" executor",
            Self::WaitForServices => "Preparing environment",
            Self::Stage(
                StageKind::PreGetSources
                | StageKind::GetSources
                | StageKind::PostGetSources
                | StageKind::GiveSources,
                _,
            ) => "Getting source from Git repository",
            Self::Stage(StageKind::RestoreCache, _) => "Restoring cache",
            Self::Stage(StageKind::DownloadArtifacts, _) => "Downloading artifacts",
            Self::Stage(StageKind::Script, _) => {
                "Executing \"step_script\" stage of the job script"
            }
            Self::Stage(StageKind::Release, _) => {
                "Executing \"step_release\" stage of the job script"
            }
            Self::Stage(StageKind::AfterScript, _) => "Running after_script",
            Self::Stage(StageKind::ArchiveCache, true) => "Saving cache for successful job",
            Self::Stage(StageKind::ArchiveCache, false) => "Saving cache for failed job",
            Self::Stage(StageKind::UploadArtifacts, true) => {
                "Uploading artifacts for successful job"
            }
            Self::Stage(StageKind::UploadArtifacts, false) => "Uploading artifacts for failed job",
        }
    }
}

/// Which section a log is in.
pub(super) struct Sections<'a> {
    /// `None`: the log has no sections.
    trace: Option<&'a Trace>,
    open: Mutex<Option<Section>>,
}

impl<'a> Sections<'a> {
    /// Those of a log, if it has any.
    pub fn new(trace: Option<&'a Trace>) -> Self {
        Self {
            trace,
            open: Mutex::default(),
        }
    }

    /// What follows belongs to this one, unless the log is in it already.
    pub fn enter(&self, section: Section) -> io::Result<()> {
        self.change(Some(section))
    }

    /// What follows belongs to none.
    pub fn end(&self) -> io::Result<()> {
        self.change(None)
    }

    fn change(&self, to: Option<Section>) -> io::Result<()> {
        let Some(trace) = self.trace else {
            return Ok(());
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.map(Section::name) == to.map(Section::name) {
            return Ok(());
        }
        let now = Timestamp::now().as_second();
        if let Some(section) = open.take() {
            trace.mark(&format!("section_end:{now}:{}", section.name()), "")?;
        }
        if let Some(section) = to {
            let title = trace.coloured("36;1", section.title());
            trace.mark(&format!("section_start:{now}:{}", section.name()), &title)?;
        }
        *open = to;
        Ok(())
    }
}
