//! The tasks of the commands in the helper, as JSON, which a plan writes and the command reads.
//!
//! A task comes over standard input. If standard input is used for something else, the task comes in an environment
//! variable and contains no secret. It is never an argument.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::archive::level::Level;
use super::archive::select::{Selected, select};
use super::archive::tree::Tree;

/// The environment variable that may contain a task.
pub const VARIABLE: &str = "ALLOY_RUNNER_TASK";

/// The exit status of a command if the coordinator refuses what the job asks for.
pub const REFUSED: u8 = 65;

/// Variables that name proxies (`HTTPS_PROXY` and so on), with their values.
pub type Proxies = Vec<(String, String)>;

/// Write caches, or restore them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Caches {
    /// The project's directory.
    pub project: Within,
    /// The caches, one after the other.
    pub caches: Vec<Cache>,
    /// How often a download is tried.
    pub attempts: u32,
    /// How long a download or an upload may take, in minutes; default: as long as bytes come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minutes: Option<u64>,
    /// The longest archive that is sent, in bytes; default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_sent: Option<u64>,
    /// How hard they are compressed.
    #[serde(default, skip_serializing_if = "Level::is_default")]
    pub level: Level,
    /// The job's limit on how much an archive may unpack to, in megabytes.
    pub limit: Option<u64>,
    /// What an upload says beside its address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upload_headers: Vec<(String, String)>,
    /// Certificates to trust in addition to the system's, as PEM.
    pub certificates: String,
    /// The proxies to use; empty if nothing is sent.
    pub proxies: Proxies,
}

/// A cache.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Cache {
    /// Its name in the log.
    pub key: String,
    /// What goes into it.
    pub files: Files,
    /// Where it is.
    pub place: Place,
    /// What is restored where it is not there: the first of these that is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<Fallback>,
}

/// Another cache, to be restored in place of one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Fallback {
    /// Its name in the log.
    pub key: String,
    /// Where it is.
    pub place: Place,
}

/// Where a cache is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A file.
    File(Within),
    /// An object on a server: an address that is signed for what is to be done with the object.
    Url(String),
}

/// A path in a volume that jobs can write to. They can put links anywhere below the mount point, but not change the
/// mount point itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Within {
    /// Where the volume is mounted.
    pub volume: PathBuf,
    /// The path below the mount point.
    pub path: PathBuf,
}

impl Within {
    /// The whole path, as jobs see it.
    #[must_use]
    pub fn whole(&self) -> PathBuf {
        self.volume.join(&self.path)
    }

    /// Opens the directory at this path, without following links below the mount point.
    ///
    /// # Errors
    /// If there is none.
    pub fn open(&self) -> Result<Tree> {
        let volume = Tree::open(&self.volume).map_err(anyhow::Error::from);
        let tree = volume.and_then(|volume| Ok(volume.below(&self.path)?));
        tree.with_context(|| format!("cannot open the directory {}", self.whole().display()))
    }

    /// The same, but creates directories that are missing.
    ///
    /// # Errors
    /// If one cannot be created, or a part of the path below the mount point is a link.
    pub fn make(&self) -> Result<Tree> {
        let volume = Tree::open(&self.volume).map_err(anyhow::Error::from);
        let tree = volume.and_then(|volume| volume.make_below(&self.path));
        tree.with_context(|| format!("cannot open the directory {}", self.whole().display()))
    }
}

/// The files that a job selects for an archive.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Files {
    /// Patterns, below the project's directory.
    pub paths: Vec<String>,
    /// Whether all files that git does not track are selected too.
    pub untracked: bool,
    /// Patterns of paths that are not, whatever selects them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

impl Files {
    /// The files that are selected in a project.
    ///
    /// # Errors
    /// As [`select`].
    pub fn select(&self, project: &Tree) -> Result<Selected> {
        select(project, &self.paths, self.untracked, &self.exclude)
    }
}

/// Upload artifacts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Upload {
    /// The project's directory.
    pub project: Within,
    /// What goes into the archive.
    pub files: Files,
    /// The file name of the archive.
    pub name: String,
    /// What is made of the files.
    #[serde(default, skip_serializing_if = "Format::is_zip")]
    pub format: Format,
    /// How hard it is compressed.
    #[serde(default, skip_serializing_if = "Level::is_default")]
    pub level: Level,
    /// The coordinator that gets it. `None`: standard output.
    pub to: Option<Receiver>,
    /// As [`Caches::certificates`].
    pub certificates: String,
    /// As [`Caches::proxies`].
    pub proxies: Proxies,
}

/// A coordinator that gets artifacts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Receiver {
    /// The address of the job's artifacts.
    pub url: String,
    /// The job's token.
    pub token: String,
    /// What the coordinator wants to know of them, the query of their address: name and value, in its syntax.
    pub about: Vec<(String, String)>,
}

/// What artifacts are sent as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A zip file with all of them.
    #[default]
    Zip,
    /// Each of the files compressed, one behind the other.
    Gzip,
    /// The one file that they are.
    Raw,
}

impl Format {
    /// The format of this name.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        match word {
            "zip" => Some(Self::Zip),
            "gzip" => Some(Self::Gzip),
            "raw" => Some(Self::Raw),
            _ => None,
        }
    }

    /// What the names of such files end with.
    #[must_use]
    pub fn ending(self) -> &'static str {
        match self {
            Self::Zip => ".zip",
            Self::Gzip => ".gz",
            Self::Raw => "",
        }
    }

    /// What HTTP calls it.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Zip => "application/zip",
            Self::Gzip => "application/gzip",
            Self::Raw => "application/octet-stream",
        }
    }

    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde hands on a reference"
    )]
    fn is_zip(&self) -> bool {
        *self == Self::Zip
    }
}

/// Download the artifacts of other jobs.
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
        // The mount point itself may be behind a link of the image.
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
