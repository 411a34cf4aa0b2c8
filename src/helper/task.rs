//! What a command in the helper is asked to do: JSON, written by a plan and read by the command.
//!
//! It comes over standard input; or, where it holds what nobody is to see, or standard input is something else, in
//! the environment. None of it stands in an argument list.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The environment variable that may hold a task.
pub const VARIABLE: &str = "ALLOY_RUNNER_TASK";

/// The exit status of a command whose job asked for something that is refused.
pub const REFUSED: u8 = 65;

/// Keep caches, or bring them back.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Caches {
    /// The project's directory.
    pub project: PathBuf,
    /// The caches, one after the other.
    pub caches: Vec<Cache>,
    /// How often a download is tried.
    pub attempts: u32,
    /// What the job says of how much may be unpacked, in megabytes.
    pub limit: Option<u64>,
    /// Certificates that servers may be signed by beside the system's, PEM.
    pub certificates: String,
}

/// A cache.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Cache {
    /// What it is called in the log.
    pub key: String,
    /// What goes into it.
    pub files: Files,
    /// Where it is.
    pub place: Place,
}

/// Where a cache is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A file.
    File(PathBuf),
    /// An object on a server: a signed address for what is to be done with it.
    Url(String),
}

/// What a job selects.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Files {
    /// Patterns, below the project's directory.
    pub paths: Vec<String>,
    /// What git does not track too.
    pub untracked: bool,
}

/// Hand artifacts on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Upload {
    /// The project's directory.
    pub project: PathBuf,
    /// What goes into the archive.
    pub files: Files,
    /// The archive's name, a file's.
    pub name: String,
    /// The coordinator that gets it. `None`: standard output.
    pub to: Option<Receiver>,
    /// As [`Caches::certificates`].
    pub certificates: String,
}

/// Who gets artifacts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Receiver {
    /// The address of the job's artifacts.
    pub url: String,
    /// The job's token.
    pub token: String,
    /// How long they are kept, in the coordinator's words.
    pub expire_in: Option<String>,
}

/// Fetch the artifacts of other jobs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Download {
    /// The project's directory.
    pub project: PathBuf,
    /// Where they come from. Empty: one archive, from standard input.
    pub from: Vec<Source>,
    /// How often each is tried.
    pub attempts: u32,
    /// As [`Caches::limit`].
    pub limit: Option<u64>,
    /// As [`Caches::certificates`].
    pub certificates: String,
}

/// Artifacts of a job, at the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Source {
    /// The job, for the log.
    pub job: String,
    /// Their address.
    pub url: String,
    /// That job's token.
    pub token: String,
}

/// The task of this process.
///
/// # Errors
/// If there is none, or it cannot be read.
pub fn read<T: DeserializeOwned>() -> Result<T> {
    let text = std::env::var(VARIABLE).or_else(|_| {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    });
    let text = text.context("cannot read the task from standard input")?;
    serde_json::from_str(&text).context("this is for the runner itself: there is no task")
}
