//! What is mounted in a job's containers, and where its sources live (manual, "volumes").

use std::path::{Path, PathBuf};

use super::names::{Names, PROTECTED};
use super::volume::destination;
use crate::config::{RunnerConfig, Source, Volume, absolute, normal};
use crate::docker::Word;
use crate::helper::task::Within;
use crate::job::Job;
use crate::job::variables::Variables;
use crate::outcome::InputError;

/// Where the values of file variables are if the sources stay. No earlier job can have put a link here.
const FILES: &str = "/alloy/variables";

/// What the helper has of its own is below it: the checkout, caches, settings.
pub(super) const OWN_DIR: &str = "/alloy";

/// The directories of a job in its containers, before it is known whether its sources stay.
pub(super) struct Layout {
    /// The project's directory.
    pub directory: String,
    /// What the project's directory is below.
    pub builds: String,
    /// Where the values of file variables go.
    pub files: String,
    /// What caches are below where they are files.
    caches: String,
    /// As configured, before [`Layout::place`].
    volumes: Vec<Volume>,
    /// The job's ref is protected.
    protected: bool,
}

/// Something to mount.
#[derive(Clone)]
pub(super) struct Mount {
    /// A docker volume's name, or a path of the engine's host.
    pub source: Word,
    /// Where it is in the containers.
    pub target: String,
    /// As docker has it, `ro` for example.
    pub mode: Option<String>,
    /// The docker volume is ours to make.
    pub made: Option<Made>,
    /// The configuration says what is there: a directory of the host, or a volume that it names.
    pub bound: bool,
}

/// A docker volume of ours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// It lives as long as the job.
    Job,
    /// It stays, for the next job of its concurrent id.
    ConcurrentJob,
    /// It stays, for all jobs of its project.
    Project,
}

impl Layout {
    /// Reads `builds_dir` and `volumes`.
    ///
    /// # Errors
    /// [`InputError`] that names the key and what would be right.
    pub fn new(job: &Job, config: &RunnerConfig, names: &Names) -> Result<Self, InputError> {
        let builds = absolute(config.builds_dir.as_deref().unwrap_or("/builds"))
            .map_err(|what| InputError::new(format!("builds_dir: {what}")))?;
        let volumes = config.docker.volumes.as_deref();
        let volumes = volumes.unwrap_or(&job.volumes);
        let parsed = volumes
            .iter()
            .map(|text| Volume::parse(text))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|what| InputError::new(format!("docker.volumes: {what}")))?;
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
        Ok(Self {
            files: beside(&directory),
            directory,
            builds,
            caches: normal(Path::new(config.cache_dir.as_deref().unwrap_or("/cache"))),
            volumes: parsed,
            protected: job.protected,
        })
    }

    /// Takes the directory for the sources that the job names (`GIT_CLONE_PATH`). Returns what is wrong with it: it is not
    /// taken then.
    pub fn take_directory(
        &mut self,
        config: &RunnerConfig,
        variables: &Variables,
    ) -> Option<String> {
        const NAME: &str = "GIT_CLONE_PATH";
        let named = variables.get(NAME).map(str::trim).unwrap_or_default();
        if named.is_empty() {
            return None;
        }
        let allowed = config.custom_build_dir.as_ref().and_then(|own| own.enabled);
        if allowed == Some(false) {
            return Some(format!(
                "{NAME} has no effect: `enabled` in this runner's [runners.custom_build_dir] is false"
            ));
        }
        let directory = normal(Path::new(named));
        let good = |c: char| c.is_alphanumeric() || "/._-+@=~".contains(c);
        let below = directory.strip_prefix(&self.builds);
        let is_below = below.is_some_and(|rest| rest.starts_with('/'));
        if !is_below || !directory.chars().all(good) {
            return Some(format!(
                "the variable {NAME} is `{}`; it must be a directory below {}, of letters, digits and `._-+@=~`: `{}` is \
                 taken",
                named.escape_debug(),
                self.builds,
                self.directory
            ));
        }
        self.files = beside(&directory);
        self.directory = directory;
        None
    }

    /// Expands the variables of the job in the destinations of the volumes.
    ///
    /// # Errors
    /// [`InputError`] where a destination is not what the operator can have meant, or two are the same.
    pub fn place(&mut self, variables: &Variables) -> Result<(), InputError> {
        let open = [self.builds.clone(), self.caches.clone()];
        let mut placed: Vec<Volume> = Vec::new();
        for volume in std::mem::take(&mut self.volumes) {
            let wrong = |what: &str| {
                InputError::new(format!("docker.volumes: `{}`: {what}", volume.target))
            };
            let target =
                destination(&volume.target, variables, &open).map_err(|what| wrong(&what))?;
            if placed.iter().any(|other| other.target == target) {
                return Err(wrong(&format!("something is mounted at {target} already")));
            }
            if Path::new(&target).starts_with(OWN_DIR) {
                return Err(wrong(&format!(
                    "what is below {OWN_DIR} in the containers is the runner's own"
                )));
            }
            placed.push(Volume { target, ..volume });
        }
        self.volumes = placed;
        Ok(())
    }

    /// What to mount; that decides where the values of file variables go: beside the sources, unless those stay.
    /// `keep_sources`: the builds directory stays for the next job, as one that fetches wants
    /// it. `has_files`: the job has variables whose values are files; those do not stay.
    pub fn mounts(
        &mut self,
        config: &RunnerConfig,
        names: &Names,
        keep_sources: bool,
        has_files: bool,
    ) -> Vec<Mount> {
        let docker = &config.docker;
        let caching = docker.disable_cache != Some(true);
        let dynamic = |target: &str, mode: Option<String>| Mount {
            mode,
            ..self.kept(config, names, Made::ConcurrentJob, target)
        };
        let own = |source: Word, target: &str, mode: Option<String>| Mount {
            source,
            target: target.to_owned(),
            mode,
            made: Some(Made::Job),
            bound: false,
        };
        let mut mounts: Vec<Mount> = Vec::new();
        if !self.volumes.iter().any(|volume| {
            volume.target == self.builds && (caching || volume.source != Source::Dynamic)
        }) {
            mounts.push(if keep_sources && caching {
                dynamic(&self.builds, None)
            } else {
                own(names.builds_volume(), &self.builds, None)
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
                        bound: true,
                    }),
                    Source::Dynamic if caching => {
                        Some(dynamic(&volume.target, volume.mode.clone()))
                    }
                    Source::Dynamic if volume.target == self.builds => None,
                    // Nothing stays, and the job's containers share it all the same.
                    Source::Dynamic => {
                        let source = names.job_volume(&volume.target);
                        Some(own(source, &volume.target, volume.mode.clone()))
                    }
                }),
        );
        let mut kept = mounts.iter().filter(|mount| mount.stays());
        if has_files && kept.any(|mount| Path::new(&self.files).starts_with(&mount.target)) {
            FILES.clone_into(&mut self.files);
            mounts.push(own(names.files_volume(), FILES, None));
        }
        mounts
    }

    /// A volume that stays: docker's, or a directory of the host where the configuration names one for them. What a job
    /// of a protected ref finds there, others have not written.
    pub fn kept(&self, config: &RunnerConfig, names: &Names, made: Made, target: &str) -> Mount {
        let name = match made {
            Made::Project => names.archives_volume(),
            Made::Job | Made::ConcurrentJob => names.cache_volume(target),
        };
        let name = name.then(if self.protected { PROTECTED } else { "" });
        let (source, made) = match &config.docker.cache_dir {
            Some(host) => (
                Word::from(host.trim_end_matches('/')).then("/").then(name),
                None,
            ),
            None => (name, Some(made)),
        };
        Mount {
            source,
            target: target.to_owned(),
            mode: None,
            made,
            bound: false,
        }
    }

    /// Where the helper has what is mounted elsewhere, if it has. Of the configuration's own directories and volumes it
    /// sees those alone that hold sources or caches. Others of ours, which it has to make writable for every user, are
    /// not where programs look: jobs write to them.
    pub fn in_helper(&self, index: usize, mount: &Mount) -> Option<String> {
        let target = Path::new(&mount.target);
        let is_for = |directory: &str| Path::new(directory).starts_with(target);
        if self.leads_to_builds(&mount.target) || is_for(&self.caches) {
            return Some(mount.target.clone());
        }
        let ours = mount.made.is_some() && !mount.is_read_only();
        ours.then(|| format!("{OWN_DIR}/volumes/{index}"))
    }

    /// Whether the builds directory is a volume's that is mounted at this path, or around it.
    pub fn leads_to_builds(&self, target: &str) -> bool {
        Path::new(&self.builds).starts_with(target) || Path::new(target).starts_with(&self.builds)
    }

    /// A directory for what a job keeps beside its sources.
    pub fn temporary(&self) -> String {
        beside(&self.directory)
    }

    /// The project's directory, as the helper opens it.
    pub fn project(&self) -> Within {
        let below = self.directory.strip_prefix(&self.builds);
        Within {
            volume: PathBuf::from(&self.builds),
            path: below.unwrap_or_default().trim_start_matches('/').into(),
        }
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

/// The directory for what belongs to sources and is none.
fn beside(directory: &str) -> String {
    format!("{directory}.tmp")
}

impl Made {
    /// What its label says that it is.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Job => "builds",
            Self::ConcurrentJob | Self::Project => "cache",
        }
    }

    /// What its name begins with.
    pub fn prefix(self, names: &Names) -> &Word {
        match self {
            Self::Job | Self::ConcurrentJob => &names.prefix,
            Self::Project => &names.project,
        }
    }
}

impl Mount {
    /// Whether what is in it is there for the next job.
    pub fn stays(&self) -> bool {
        self.made != Some(Made::Job)
    }

    /// Whether no container can write to it.
    pub fn is_read_only(&self) -> bool {
        let mut modes = self.mode.iter().flat_map(|mode| mode.split(','));
        modes.any(|mode| mode == "ro")
    }
}
