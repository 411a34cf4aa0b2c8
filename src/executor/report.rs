//! How a job ended, and what its time was spent on.

use super::spans::Span;
use crate::outcome::Outcome;

/// How a job ended.
pub struct Report {
    /// Its outcome.
    pub outcome: Outcome,
    /// Whether everything that was made for it was removed, except caches. If not, the runner's own log names the rest.
    pub clean: bool,
    /// Whether the job did not start because another host's runner has its names on this engine.
    pub taken: bool,
    /// The activities that its time was spent on, in the order of their ends.
    pub spans: Vec<Span>,
    /// See [`crate::trace::Trace::last_lines`].
    pub last_lines: Vec<String>,
}

impl Report {
    /// Of a job that is to start once more, with other names or on another engine.
    pub(super) fn not_begun(reason: &str, clean: bool) -> Self {
        Self {
            outcome: Outcome::SystemFailure(reason.into()),
            clean,
            taken: false,
            spans: Vec::new(),
            last_lines: Vec::new(),
        }
    }
}
