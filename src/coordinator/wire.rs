//! What is said to a coordinator, and what its answers mean.

use serde::Serialize;

use super::error::ApiError;
use crate::job::payload::JobPayload;
use crate::outcome::FailureReason;

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
    /// What it can do.
    pub features: Features,
}

/// What a runner can do.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(clippy::struct_excessive_bools, reason = "the API's")]
pub struct Features {
    /// Variables.
    pub variables: bool,
    /// Images.
    pub image: bool,
    /// Services.
    pub services: bool,
    /// Artifacts.
    pub artifacts: bool,
    /// Caches.
    pub cache: bool,
    /// Serving projects that do not know of each other.
    pub shared: bool,
}

impl Default for Features {
    fn default() -> Self {
        Self {
            variables: true,
            image: true,
            services: true,
            artifacts: true,
            cache: true,
            shared: true,
        }
    }
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
    /// The job is to be stopped: the coordinator's word for why.
    pub stop: Option<String>,
}

/// The last thing that a coordinator is told of a job: how it ended.
#[derive(Clone, Copy, Debug)]
pub struct FinalUpdate<'a> {
    /// Why it failed; `None`: it succeeded.
    pub failure: Option<FailureReason>,
    /// Its whole log.
    pub log: &'a str,
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
