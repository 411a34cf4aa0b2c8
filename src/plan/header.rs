//! The first lines of a job's log: what runs it. They are worded as GitLab's runner words them, for people and programs
//! that know its logs. The log of a job that could not begin ends before the third.

use crate::docker::Reference;

/// The first line: this program's version, and `revision`, the commit that it was built from.
#[must_use]
pub fn running_with(version: &str, revision: &str) -> String {
    format!("Running with alloy-runner {version} ({revision})")
}

/// The second line: the runner's name, and what of its token may be shown: see
/// [`RunnerConfig::short_token`](crate::config::RunnerConfig::short_token).
#[must_use]
pub fn of_runner(name: &str, short_token: &str) -> String {
    format!("  on {name} {short_token}")
}

/// The third line: the image that the job's script runs in, by its full name.
#[must_use]
pub fn using_executor(image: &Reference) -> String {
    format!("Using Docker executor with image {image} ...")
}
