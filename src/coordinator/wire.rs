//! What is said to a coordinator, and what its answers mean.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::features::Features;
use crate::job::files::Kind;
use crate::job::payload::{JobKey, JobPayload};
use crate::outcome::{FailureReason, Outcome};
use crate::secret::Secret;

/// What a runner says about itself.
#[derive(Clone, Debug, Serialize)]
pub struct Info {
    /// `alloy-runner`.
    pub name: &'static str,
    /// `0.1.0`.
    pub version: &'static str,
    /// The commit it was built from.
    pub revision: &'static str,
    /// `linux`.
    pub platform: &'static str,
    /// `amd64`.
    pub architecture: &'static str,
    /// `docker`.
    pub executor: &'static str,
    /// `bash`.
    pub shell: String,
    /// What it can do.
    pub features: Features,
    /// What its configuration says of the machine.
    pub config: InfoConfig,
}

/// What a runner says of its configuration.
#[derive(Clone, Debug, Serialize)]
pub struct InfoConfig {
    /// The GPUs that jobs can use, `all` for example; empty for none.
    pub gpus: String,
}

/// The answer to a job request.
#[derive(Debug)]
pub enum JobResponse {
    /// A job, which is this runner's now.
    Job(Box<JobPayload>),
    /// A job of which so little arrived that its end cannot be reported: neither its id nor its token is known.
    Lost(ApiError),
    /// There is none, or another runner was faster. With it comes what to say next time.
    Nothing(Option<String>),
}

/// The answer to a patch that was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patched {
    /// What the coordinator wants of the job.
    pub wish: Wish,
    /// How long to wait until the next patch.
    pub interval: Option<Duration>,
}

/// What a coordinator wants of a job that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wish {
    /// It goes on.
    #[default]
    GoOn,
    /// Its script ends, and its `after_script` runs.
    EndScript,
    /// It stops: the coordinator's word for why.
    Stop(String),
}

impl Wish {
    /// What a job's status at the coordinator asks for.
    pub(super) fn of(status: Option<String>) -> Self {
        match status {
            Some(word) if word == "canceling" => Self::EndScript,
            Some(word) if ["cancelled", "canceled", "failed"].contains(&word.as_str()) => {
                Self::Stop(word)
            }
            _ => Self::GoOn,
        }
    }
}

/// How a job ended, in the words of the API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct End {
    /// Why it failed; `None`: it succeeded.
    pub failure: Option<String>,
    /// The status of the script that failed, where the coordinator wants to know it.
    pub exit_code: Option<i32>,
}

impl End {
    /// The words for a job's coordinator.
    #[must_use]
    pub fn of(outcome: &Outcome, job: &JobKey) -> Self {
        let word = match job.kind {
            Kind::AlloyCi => outcome.failure_reason().map(FailureReason::word),
            Kind::GitLab => outcome.reason_for_gitlab(&job.features.failure_reasons),
        };
        let exit_code = match (job.kind, outcome) {
            (Kind::GitLab, Outcome::ScriptFailure { exit_code, .. }) => Some(*exit_code),
            _ => None,
        };
        Self {
            failure: word.map(ToOwned::to_owned),
            exit_code,
        }
    }
}

/// A runner that is to be known.
#[derive(Clone, Debug, Default)]
pub struct Registration {
    /// What allows registering.
    pub token: String,
    /// What people will call it.
    pub description: String,
    /// `a,b`, no spaces.
    pub tags: String,
    /// Take jobs without tags too.
    pub run_untagged: bool,
    /// Stay with the project.
    pub locked: bool,
}

/// A runner's token.
#[derive(Clone, Debug)]
pub struct Token {
    /// The token itself.
    pub secret: Secret,
    /// When it expires, as GitLab writes times; `None`: never, or the coordinator does not say.
    pub expires_at: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::{End, Wish};
    use crate::job::files::{Features, Kind};
    use crate::job::payload::JobKey;
    use crate::outcome::{Cause, Fault, Outcome};
    use crate::secret::Secret;

    #[test]
    fn each_coordinator_is_told_the_end_in_its_own_words() {
        let script = Outcome::ScriptFailure {
            exit_code: 7,
            out_of_memory: false,
        };
        let image = Outcome::BuildError(Fault::new(Cause::Image, "x"));
        for (outcome, kind, failure, exit_code) in [
            (&Outcome::Success, Kind::GitLab, None, None),
            (&script, Kind::GitLab, Some("script_failure"), Some(7)),
            (&script, Kind::AlloyCi, Some("script_failure"), None),
            (&image, Kind::GitLab, Some("image_pull_failure"), None),
            (&image, Kind::AlloyCi, Some("script_failure"), None),
        ] {
            let job = JobKey {
                id: 1,
                token: Secret::new("word"),
                kind,
                features: Features {
                    failure_reasons: vec!["image_pull_failure".to_owned()],
                    ..Features::default()
                },
            };
            let end = End::of(outcome, &job);
            assert_eq!(
                (end.failure.as_deref(), end.exit_code),
                (failure, exit_code)
            );
        }
    }

    #[test]
    fn a_status_says_what_becomes_of_a_job() {
        let stop = |word: &str| Wish::Stop(word.to_owned());
        for (status, wish) in [
            ("running", Wish::GoOn),
            ("pending", Wish::GoOn),
            ("canceling", Wish::EndScript),
            ("canceled", stop("canceled")),
            ("cancelled", stop("cancelled")),
            ("failed", stop("failed")),
        ] {
            assert_eq!(Wish::of(Some(status.to_owned())), wish);
        }
        assert_eq!(Wish::of(None), Wish::GoOn);
    }
}
