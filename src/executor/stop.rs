//! Why a job does not go on.

use crate::cancel::Reason;
use crate::docker::DockerError;
use crate::outcome::{Cause, Fault, Outcome, on_one_line};
use crate::plan::key_hint;

/// What ends a job before its last stage.
pub(super) enum Stop {
    /// It has ended so.
    Outcome(Outcome),
    /// A docker command failed. Where that can be mended, it is no end yet.
    Docker(DockerError),
}

impl From<DockerError> for Stop {
    fn from(error: DockerError) -> Self {
        Self::Docker(error)
    }
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Self::Outcome(outcome_of(reason))
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::Outcome(cannot_write(&error))
    }
}

impl Stop {
    /// How the job has ended with this. `stopped`: why it was being stopped by then.
    pub fn outcome(self, stopped: Option<Reason>) -> Outcome {
        match (self, stopped) {
            // What fails while a job is being stopped fails because of that.
            (_, Some(reason)) => outcome_of(reason),
            (Self::Outcome(outcome), None) => outcome,
            (Self::Docker(error), None) => {
                let hint = key_hint(&error);
                if error.is_refusal() && !hint.is_empty() {
                    let said = on_one_line(error.reason());
                    let refused = format!("docker refuses an option: {said}{hint}");
                    return Outcome::SystemFailure(refused.into());
                }
                Outcome::SystemFailure(error.to_string().into())
            }
        }
    }
}

pub(super) fn system_failure(reason: impl Into<Fault>) -> Stop {
    Stop::Outcome(Outcome::SystemFailure(reason.into()))
}

/// The end of a job whose log takes no more.
pub(super) fn cannot_write(error: &std::io::Error) -> Outcome {
    Outcome::SystemFailure(format!("cannot write the log: {error}").into())
}

/// The end of a job that is stopped.
pub(super) fn outcome_of(reason: Reason) -> Outcome {
    match reason {
        Reason::Canceled => Outcome::Canceled,
        Reason::Stopped => {
            let stopped = Fault::new(Cause::Interrupted, "the runner was stopped");
            Outcome::SystemFailure(stopped)
        }
        Reason::NoEngine => Outcome::SystemFailure("the docker engine does not answer".into()),
        Reason::TimedOut(limit) => Outcome::TimedOut(limit),
    }
}
