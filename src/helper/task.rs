//! What a command in the helper is asked to do: JSON, written by a plan and read by the command.
//!
//! It comes over standard input; or, where standard input is something else, in the environment, and holds no secret
//! then. None of it stands in an argument list.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::archive::tree::Tree;

/// The environment variable that may hold a task.
pub const VARIABLE: &str = "ALLOY_RUNNER_TASK";

/// The exit status of a command whose job asked for something that is refused.
pub const REFUSED: u8 = 65;

/// Variables that name proxies, `HTTPS_PROXY` and its family, and their values.
pub type Proxies = Vec<(String, String)>;

/// Keep caches, or bring them back.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Caches {
    /// The project's directory.
    pub project: Within,
    /// The caches, one after the other.
    pub caches: Vec<Cache>,
    /// How often a download is tried.
    pub attempts: u32,
    /// What the job says of how much may be unpacked, in megabytes.
    pub limit: Option<u64>,
    /// Certificates that servers may be signed by beside the system's, PEM.
    pub certificates: String,
    /// The proxies to go through, empty where nothing is sent.
    pub proxies: Proxies,
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
    File(Within),
    /// An object on a server: a signed address for what is to be done with it.
    Url(String),
}

/// A place in a volume that jobs write to. They can put links where they like, but not where the volume is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Within {
    /// Where the volume is mounted.
    pub volume: PathBuf,
    /// The place, below that.
    pub path: PathBuf,
}

impl Within {
    /// The place, as jobs name it.
    #[must_use]
    pub fn whole(&self) -> PathBuf {
        self.volume.join(&self.path)
    }

    /// Opens a directory at this place, without following a link below the volume.
    ///
    /// # Errors
    /// If there is none.
    pub fn open(&self) -> Result<Tree> {
        let volume = Tree::open(&self.volume).map_err(anyhow::Error::from);
        let tree = volume.and_then(|volume| Ok(volume.below(&self.path)?));
        tree.with_context(|| format!("cannot open the directory {}", self.whole().display()))
    }

    /// Opens a directory at this place, made where it is missing.
    ///
    /// # Errors
    /// If it cannot be made, or a part of the way to it below the volume is a link.
    pub fn make(&self) -> Result<Tree> {
        let volume = Tree::open(&self.volume).map_err(anyhow::Error::from);
        let tree = volume.and_then(|volume| volume.make_below(&self.path));
        tree.with_context(|| format!("cannot open the directory {}", self.whole().display()))
    }
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
    pub project: Within,
    /// What goes into the archive.
    pub files: Files,
    /// The archive's name, a file's.
    pub name: String,
    /// The coordinator that gets it. `None`: standard output.
    pub to: Option<Receiver>,
    /// As [`Caches::certificates`].
    pub certificates: String,
    /// As [`Caches::proxies`].
    pub proxies: Proxies,
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
    pub project: Within,
    /// Where they come from. Empty: one archive, from standard input.
    pub from: Vec<Source>,
    /// How often each is tried.
    pub attempts: u32,
    /// As [`Caches::limit`].
    pub limit: Option<u64>,
    /// As [`Caches::certificates`].
    pub certificates: String,
    /// As [`Caches::proxies`].
    pub proxies: Proxies,
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::Within;

    #[test]
    fn a_link_in_place_of_the_directory_is_not_followed() {
        let root = tempfile::tempdir().expect("a directory");
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("volume/group/there")).expect("made");
        fs::create_dir(at("outside")).expect("made");
        symlink("/proc/self", at("volume/group/link")).expect("linked");
        symlink("../outside", at("volume/out")).expect("linked");
        // Where it is mounted may lie behind a link of the image.
        symlink("volume", at("mounted")).expect("linked");
        let within = |path: &str| Within {
            volume: at("mounted"),
            path: path.into(),
        };
        for path in ["group/link", "out", "out/new", "group/link/cwd"] {
            assert!(within(path).open().is_err(), "{path}");
            assert!(within(path).make().is_err(), "{path}");
        }
        assert_eq!(fs::read_dir(at("outside")).expect("readable").count(), 0);
        let tree = within("group/there").open().expect("open");
        assert_eq!(tree.path(), at("mounted/group/there"));
        within("new/project").make().expect("made");
        assert!(at("volume/new/project").is_dir());
    }
}
