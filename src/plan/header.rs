//! The first lines of a job's log: what runs it.

use crate::docker::Reference;

/// The log's first line: this program and its commit.
#[must_use]
pub fn running_with(version: &str, revision: &str) -> String {
    format!("Running with alloy-runner {version} ({revision})")
}

/// The second one: the runner, with the begin of its token.
#[must_use]
pub fn of_runner(name: &str, short_token: &str) -> String {
    format!("  on {name} {short_token}")
}

/// The third one: the image of the build.
#[must_use]
pub fn using_executor(image: &Reference) -> String {
    format!("Using Docker executor with image {image} ...")
}
