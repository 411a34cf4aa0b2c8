//! What is mounted in a job's containers, and where its sources live (configuration, "Directories and
//! volumes").

use std::path::{Component, Path, PathBuf};

use super::names::Names;
use crate::config::RunnerConfig;
use crate::docker::Word;
use crate::job::Job;
use crate::outcome::InputError;

/// Modes that docker knows for a volume.
const MODES: &[&str] = &[
    "ro",
    "rw",
    "z",
    "Z",
    "shared",
    "slave",
    "private",
    "rshared",
    "rslave",
    "rprivate",
    "nocopy",
    "consistent",
    "cached",
    "delegated",
];

/// The directories of a job in its containers, before it is known whether its sources stay.
pub(super) struct Layout {
    /// The project's directory.
    pub directory: String,
    /// What the project's directory is below.
    pub builds: String,
    volumes: Vec<Volume>,
}

/// An entry of `volumes`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Volume {
    source: Source,
    target: String,
    mode: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// Kept for the next run of the same concurrent job.
    Dynamic,
    /// A path of the engine's host, or a docker volume of somebody's.
    Given(String),
}

/// Something to mount.
pub(super) struct Mount {
    /// A docker volume's name, or a path of the engine's host.
    pub source: Word,
    /// Where it is in the containers.
    pub target: String,
    /// As docker has it, `ro` for example.
    pub mode: Option<String>,
    /// The docker volume is ours to make.
    pub made: Option<Made>,
}

/// A docker volume of ours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// It lives as long as the job.
    ForTheJob,
    /// It stays.
    ForTheNext,
}

impl Layout {
    /// Reads `builds_dir` and `volumes`.
    ///
    /// # Errors
    /// [`InputError`] that names the key and what would be right.
    pub fn new(job: &Job, config: &RunnerConfig, names: &Names) -> Result<Self, InputError> {
        let builds = absolute(
            "builds_dir",
            config.builds_dir.as_deref().unwrap_or("/builds"),
        )?;
        let volumes = config.docker.volumes.as_deref().unwrap_or_default();
        let parsed = volumes
            .iter()
            .map(|text| parse(text))
            .collect::<Result<Vec<_>, _>>()?;
        let bound = parsed.iter().any(|volume| {
            volume.target == builds
                && matches!(&volume.source, Source::Given(source) if source.starts_with('/'))
        });
        let project = format!("{}/{}", job.project.namespace, job.project.name);
        let directory = if bound {
            // Jobs of other runners may have the same host directory.
            format!(
                "{builds}/{}/{}/{project}",
                names.short_token, names.concurrent_id
            )
        } else {
            format!("{builds}/{project}")
        };
        let mut placed: Vec<Volume> = Vec::new();
        for (volume, text) in parsed.into_iter().zip(volumes) {
            let target = normal(&Path::new(&directory).join(&volume.target));
            if placed.iter().any(|other| other.target == target) {
                return Err(InputError::new(format!(
                    "docker.volumes: `{text}`: something is mounted at {target} already"
                )));
            }
            placed.push(Volume { target, ..volume });
        }
        Ok(Self {
            directory,
            builds,
            volumes: placed,
        })
    }

    /// What to mount. `keep_sources`: the builds directory stays for the next job, as one that fetches wants
    /// it.
    pub fn mounts(&self, config: &RunnerConfig, names: &Names, keep_sources: bool) -> Vec<Mount> {
        let docker = &config.docker;
        let caching = docker.disable_cache != Some(true);
        let dynamic = |target: &str, mode: Option<String>| {
            let name = names.cache_volume(target);
            match &docker.cache_dir {
                Some(host) => {
                    let source = Word::from(host.trim_end_matches('/')).then("/").then(name);
                    Mount {
                        source,
                        target: target.to_owned(),
                        mode,
                        made: None,
                    }
                }
                None => Mount {
                    source: name,
                    target: target.to_owned(),
                    mode,
                    made: Some(Made::ForTheNext),
                },
            }
        };
        let mut mounts: Vec<Mount> = Vec::new();
        if !self.volumes.iter().any(|volume| {
            volume.target == self.builds && (caching || volume.source != Source::Dynamic)
        }) {
            mounts.push(if keep_sources && caching {
                dynamic(&self.builds, None)
            } else {
                let source = names.builds_volume();
                Mount {
                    source,
                    target: self.builds.clone(),
                    mode: None,
                    made: Some(Made::ForTheJob),
                }
            });
        }
        mounts.extend(
            self.volumes
                .iter()
                .filter_map(|volume| match &volume.source {
                    Source::Given(source) => Some(Mount {
                        source: source.into(),
                        target: volume.target.clone(),
                        mode: volume.mode.clone(),
                        made: None,
                    }),
                    Source::Dynamic => {
                        caching.then(|| dynamic(&volume.target, volume.mode.clone()))
                    }
                }),
        );
        mounts
    }

    /// Directories between the builds directory and the project's.
    pub fn parents(&self) -> impl Iterator<Item = String> {
        let parents = Path::new(&self.directory)
            .ancestors()
            .skip(1)
            .map(|path| path.display().to_string());
        parents.take_while(|path| path.len() >= self.builds.len())
    }
}

impl Made {
    /// What its label says that it is.
    pub fn kind(self) -> &'static str {
        match self {
            Self::ForTheJob => "builds",
            Self::ForTheNext => "cache",
        }
    }
}

impl Mount {
    /// Whether what is in it is there for the next job.
    pub fn stays(&self) -> bool {
        self.made != Some(Made::ForTheJob)
    }
}

/// Checks that a key's value is an absolute path, and takes what means nothing out of it.
pub(super) fn absolute(key: &str, path: &str) -> Result<String, InputError> {
    let normal = normal(Path::new(path));
    if path.starts_with('/') && normal != "/" && !path.contains(':') {
        return Ok(normal);
    }
    Err(InputError::new(format!(
        "{key}: `{path}` must be an absolute path other than /, without a colon"
    )))
}

/// `PATH`, `HOST-PATH:PATH[:MODE]` or `NAME:PATH[:MODE]`.
fn parse(text: &str) -> Result<Volume, InputError> {
    let wrong = |what: String| InputError::new(format!("docker.volumes: `{text}`: {what}"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts[..] {
        [target] => (None, target, None),
        [source, target] => (Some(source), target, None),
        [source, target, mode] => (Some(source), target, Some(mode)),
        _ => {
            return Err(wrong(
                "expected PATH, HOST-PATH:PATH[:MODE] or NAME:PATH[:MODE]".to_owned(),
            ));
        }
    };
    for mode in mode.iter().flat_map(|mode| mode.split(',')) {
        if !MODES.contains(&mode) {
            return Err(wrong(format!(
                "there is no mode `{mode}`; there are {}",
                MODES.join(", ")
            )));
        }
    }
    let target = normal(Path::new(target));
    if target.is_empty() || target == "/" || target.contains('|') {
        return Err(wrong(
            "the path in the container is missing, or /".to_owned(),
        ));
    }
    let source = match source {
        None => Source::Dynamic,
        Some(path) if path.starts_with('/') || is_volume_name(path) => {
            Source::Given(path.to_owned())
        }
        Some(other) => {
            return Err(wrong(format!(
                "`{other}` is neither an absolute path of the host nor a volume's name"
            )));
        }
    };
    Ok(Volume {
        source,
        target,
        mode: mode.map(str::to_owned),
    })
}

fn is_volume_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    name.len() > 1
        && name.chars().all(good)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// A path without `.`, `..` and a slash at its end, by its letters alone: it is one of a container.
pub(super) fn normal(path: &Path) -> String {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::{Source, parse};

    #[test]
    fn volumes_are_read() {
        let given = |text: &str| Source::Given(text.to_owned());
        for (text, source, target, mode) in [
            ("/my/cache/", Source::Dynamic, "/my/cache", None),
            ("vendor", Source::Dynamic, "vendor", None),
            ("/a b:/c d", given("/a b"), "/c d", None),
            ("/a:/b/./c:ro,Z", given("/a"), "/b/c", Some("ro,Z")),
            ("data:/var/data:rw", given("data"), "/var/data", Some("rw")),
        ] {
            let volume = parse(text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(
                (
                    volume.source,
                    volume.target.as_str(),
                    volume.mode.as_deref()
                ),
                (source, target, mode),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_wrong_in_a_volume_is_said() {
        for (text, part) in [
            ("", "missing"),
            ("/", "missing"),
            ("/a:", "missing"),
            (
                "./a:/b",
                "neither an absolute path of the host nor a volume's name",
            ),
            ("--x:/b", "neither"),
            ("/a:/b:rx", "there is no mode `rx`; there are ro, rw"),
            ("/a:/b:ro:x", "expected PATH"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(
                error.starts_with(&format!("docker.volumes: `{text}`: ")) && error.contains(part),
                "{error}"
            );
        }
    }
}
