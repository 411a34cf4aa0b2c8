//! What a job's log has beside its lines, for the page on which a coordinator shows it.

use super::settings::Settings;
use crate::job::Job;

/// What a job's log has beside its lines. `AlloyCI`'s page would show it as it is, so its logs have neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogForm {
    /// Marks around each part, by which GitLab's page folds it and shows how long it took.
    pub sections: bool,
    /// The time before each line.
    pub stamps: bool,
}

impl LogForm {
    /// What the job's coordinator can read, and its variables want.
    pub(super) fn of(job: &Job, settings: &Settings) -> Self {
        let coordinator = job.coordinator.as_ref();
        Self {
            sections: coordinator.is_some_and(|coordinator| coordinator.features.trace_sections),
            stamps: settings.stamps,
        }
    }
}
