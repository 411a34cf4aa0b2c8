//! The reason of a failure, with what kind it is of where GitLab has a word of its own for that.

use std::fmt;

use super::{FailureReason, Outcome};

/// Why a job failed, as its log has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// The words of the log.
    pub text: String,
    /// What kind it is of.
    pub cause: Cause,
}

/// What kind a failure is of, for the coordinator; the log says more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cause {
    /// None of the others.
    #[default]
    Other,
    /// An image cannot be had.
    Image,
    /// The job or the runner's settings say something that cannot be meant.
    Configuration,
    /// Another server failed: of sources, or of artifacts.
    ExternalDependency,
    /// The runner was stopped or killed.
    Interrupted,
    /// This program has a bug.
    Bug,
}

impl Fault {
    /// A reason of this kind.
    pub fn new(cause: Cause, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            cause,
        }
    }
}

impl From<String> for Fault {
    fn from(text: String) -> Self {
        Self::new(Cause::Other, text)
    }
}

impl From<&str> for Fault {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Cause {
    /// GitLab's word for it, if it has one, and the reason for a GitLab that does not know the word.
    fn word(self) -> Option<(&'static str, FailureReason)> {
        Some(match self {
            Self::Other => return None,
            Self::Image => ("image_pull_failure", FailureReason::SystemFailure),
            Self::Configuration => ("runner_configuration_error", FailureReason::ScriptFailure),
            Self::ExternalDependency => {
                let word = "runner_external_dependency_failure";
                (word, FailureReason::SystemFailure)
            }
            Self::Interrupted => ("runner_interrupted", FailureReason::SystemFailure),
            Self::Bug => ("unknown_failure", FailureReason::SystemFailure),
        })
    }
}

impl Outcome {
    /// The word by which GitLab is told why the job failed; `None` after a success. `known` are the words that it says
    /// it knows; [`Outcome::failure_reason`] has those that every coordinator knows.
    #[must_use]
    pub fn reason_for_gitlab(&self, known: &[String]) -> Option<&'static str> {
        let reason = self.failure_reason()?;
        let own = match self {
            Self::TimedOut(_) => return Some("job_execution_timeout"),
            Self::BuildError(fault) | Self::SystemFailure(fault) => fault.cause.word(),
            _ => None,
        };
        Some(match own {
            Some((word, _)) if known.iter().any(|known| known == word) => word,
            Some((_, reason)) => reason.word(),
            None => reason.word(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Cause, Fault};
    use crate::outcome::Outcome;
    use std::time::Duration;

    #[test]
    fn gitlab_is_told_in_the_words_that_it_knows() {
        let build = |cause| Outcome::BuildError(Fault::new(cause, "x"));
        let system = |cause| Outcome::SystemFailure(Fault::new(cause, "x"));
        let script = Outcome::ScriptFailure {
            exit_code: 1,
            out_of_memory: false,
        };
        for (outcome, word, without) in [
            (script, "script_failure", "script_failure"),
            (Outcome::Canceled, "script_failure", "script_failure"),
            (
                Outcome::TimedOut(Duration::from_secs(1)),
                "job_execution_timeout",
                "job_execution_timeout",
            ),
            (build(Cause::Other), "script_failure", "script_failure"),
            (
                build(Cause::Image),
                "image_pull_failure",
                "runner_system_failure",
            ),
            (
                build(Cause::Configuration),
                "runner_configuration_error",
                "script_failure",
            ),
            (
                system(Cause::Other),
                "runner_system_failure",
                "runner_system_failure",
            ),
            (
                system(Cause::ExternalDependency),
                "runner_external_dependency_failure",
                "runner_system_failure",
            ),
            (
                system(Cause::Interrupted),
                "runner_interrupted",
                "runner_system_failure",
            ),
            (
                system(Cause::Bug),
                "unknown_failure",
                "runner_system_failure",
            ),
        ] {
            let known = [word.to_owned()];
            assert_eq!(outcome.reason_for_gitlab(&known), Some(word));
            assert_eq!(outcome.reason_for_gitlab(&[]), Some(without), "{word}");
        }
        assert_eq!(Outcome::Success.reason_for_gitlab(&[]), None);
    }
}
