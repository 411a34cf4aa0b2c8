//! The docker commands for a job's containers, network and volumes.

use std::path::{Component, Path, PathBuf};

use super::names::{Names, RENAMED, labelled};
use super::{Build, Host, Resource, builds_directory, git};
use crate::config::RunnerConfig;
use crate::docker::client::bind_mount;
use crate::docker::command::client_reads;
use crate::docker::{DockerCommand, Slot, Word};
use crate::job::variables::{Variable, Variables};
use crate::job::{ImageSpec, Job, Origin};
use crate::outcome::InputError;
use crate::script::{CHECKOUT_DIR, SHELL};
use crate::secret::Secret;

/// Its first process only keeps the helper there; it ends by itself should nobody remove it.
const HELPER_COMMAND: [&str; 2] = ["sleep", "1000000"];

/// Writes commands for one job.
pub(super) struct Builder<'a> {
    pub job: &'a Job,
    pub config: &'a RunnerConfig,
    pub names: &'a Names,
    pub host: &'a Host,
    pub variables: &'a Variables,
    pub directory: &'a str,
    pub builds: String,
    /// Volumes beside the builds directory, by their path in the containers.
    pub caches: Vec<String>,
    /// Directories that every user must be able to write to, whoever made them.
    pub open: Vec<String>,
    pub renamed: Vec<(String, String)>,
}

impl<'a> Builder<'a> {
    pub fn new(
        job: &'a Job,
        config: &'a RunnerConfig,
        names: &'a Names,
        host: &'a Host,
        variables: &'a Variables,
        directory: &'a str,
    ) -> Result<Self, InputError> {
        let builds = builds_directory(config)?;
        let caches: Vec<String> = config
            .docker
            .volumes
            .iter()
            .map(|path| {
                let normal = path.trim_end_matches('/');
                let good =
                    normal.starts_with('/') && normal.len() > 1 && !normal.contains([':', ',']);
                if good {
                    Ok(normal.to_owned())
                } else {
                    Err(InputError::new(format!(
                        "docker.volumes: `{path}` must be an absolute path other than /"
                    )))
                }
            })
            .collect::<Result<_, _>>()?;
        let renamed = variables
            .iter()
            .filter(|variable| must_rename(variable))
            .map(|variable| (variable.name.clone(), format!("{RENAMED}{}", variable.name)))
            .collect();
        let parents = Path::new(directory)
            .ancestors()
            .skip(1)
            .map(|path| path.display().to_string());
        let open = parents
            .take_while(|path| path.len() >= builds.len())
            .chain(caches.iter().cloned())
            .collect();
        Ok(Self {
            job,
            config,
            names,
            host,
            variables,
            directory,
            builds,
            caches,
            open,
            renamed,
        })
    }

    /// The project's directory.
    pub fn directory(&self) -> &str {
        self.directory
    }

    /// Variables that travel under another name, and that name.
    pub fn renamed(&self) -> &[(String, String)] {
        &self.renamed
    }

    pub fn network(&self) -> Resource {
        let name = self.names.prefix.clone();
        let create = self
            .labelled(DockerCommand::network_create(), "network")
            .operands(&name, [""; 0]);
        Resource {
            name,
            create,
            keep: false,
        }
    }

    pub fn volumes(&self) -> Vec<Resource> {
        let volume = |name: Word, kind, keep| {
            let create = self
                .labelled(DockerCommand::volume_create(), kind)
                .operands(&name, [""; 0]);
            Resource { name, create, keep }
        };
        let mut volumes = vec![volume(self.names.builds_volume(), "builds", false)];
        volumes.extend(
            self.caches
                .iter()
                .map(|path| volume(self.names.cache_volume(path), "cache", true)),
        );
        volumes
    }

    pub fn build(&self, spec: &ImageSpec) -> Build {
        let name = self.names.container("build");
        let run = DockerCommand::run(&name)
            .flag("--interactive")
            .option("--log-driver", "none");
        let run = self
            .privileged(self.mounts(self.labelled(run, "build")))
            .option("--workdir", self.directory);
        let run = if self.job.services.is_empty() {
            run
        } else {
            run.option("--network", &self.names.prefix)
        };
        let run = git::build_settings(self.variables)
            .into_iter()
            .fold(run, |run, (name, value)| run.env(&name, &value));
        let run = self.variables.iter().fold(run, set);
        let run = overriding_entrypoint(
            run,
            spec.entrypoint.as_deref(),
            Slot::new("image_build"),
            SHELL,
        );
        // An entrypoint of the job's own is one too; `[""]` clears the image's.
        let own = spec
            .entrypoint
            .as_ref()
            .is_some_and(|words| words.iter().any(|word| !word.is_empty()));
        let read_at_once = ["ENV", "BASH_ENV"]
            .iter()
            .any(|name| self.variables.get(name).is_some());
        Build {
            name,
            run,
            may_wait: !own && !read_at_once,
        }
    }

    /// A shell in the running helper.
    pub fn helper_shell(&self) -> DockerCommand {
        DockerCommand::exec().operands(self.names.container("helper"), ["sh"])
    }

    /// Ways to start the helper: with the checkout mounted, which shows nothing where the engine has another
    /// file system, and with a copy of it.
    pub fn helper_variants(&self) -> Vec<Vec<DockerCommand>> {
        let name = self.names.container("helper");
        let run = DockerCommand::run(&name)
            .flag("--detach")
            .option("--log-driver", "none")
            .option("--entrypoint", "");
        let run = self.mounts(self.labelled(run, "helper"));
        let run = if self.job.services.is_empty() {
            run
        } else {
            run.option("--network", &self.names.prefix)
        };
        let run = git::helper_settings()
            .into_iter()
            .fold(run, |run, (name, value)| run.env(&name, &value));
        // A proxy's address may hold a password.
        let proxies = self.host.proxies.iter();
        let run = proxies.fold(run, |run, (name, value)| {
            run.secret_env(name, &Secret::new(value))
        });
        let shown = self
            .variables
            .iter()
            .filter(|variable| variable.public && is_for_helper(&variable.name));
        let run = shown.fold(run, |run, variable| {
            run.env(&variable.name, variable.value.expose())
        });
        let finish = |run: DockerCommand| run.operands(Slot::new("image_helper"), HELPER_COMMAND);

        let Origin::Checkout {
            git_dir,
            alternates,
            ..
        } = &self.job.sources.origin;
        let mut places: Vec<(&Path, String)> = vec![(git_dir.as_path(), CHECKOUT_DIR.to_owned())];
        places.extend(alternates.iter().map(|alternate| {
            let objects = Path::new(CHECKOUT_DIR).join("objects");
            (
                alternate.directory.as_path(),
                normal(&objects.join(&alternate.named)),
            )
        }));
        let mounted = places.iter().fold(run.clone(), |run, (path, target)| {
            run.option("--mount", bind_mount(path, target))
        });
        let mut copied = vec![finish(run)];
        let directories = places.iter().map(|(_, target)| target.as_str());
        let make = ["mkdir", "-p"].into_iter().chain(directories);
        copied.push(DockerCommand::exec().operands(&name, make));
        copied.extend(places.iter().map(|(path, target)| {
            // The contents of the directory, into one that is there or not.
            DockerCommand::copy_into(format!("{}/.", path.display()), &name, target)
        }));
        if self.host.shares_files {
            vec![vec![finish(mounted)], copied]
        } else {
            vec![copied]
        }
    }

    pub fn labelled(&self, command: DockerCommand, kind: &str) -> DockerCommand {
        labelled(command, kind, self.job, &self.names.short_token, self.host)
    }

    /// The builds directory and the volumes, which every container of the job sees.
    pub fn mounts(&self, command: DockerCommand) -> DockerCommand {
        let mount = |name: Word, path: &str| {
            Word::from("type=volume,source=")
                .then(name)
                .then(format!(",target={path}"))
        };
        let command = command.option("--mount", mount(self.names.builds_volume(), &self.builds));
        self.caches.iter().fold(command, |command, path| {
            command.option("--mount", mount(self.names.cache_volume(path), path))
        })
    }

    pub fn privileged(&self, command: DockerCommand) -> DockerCommand {
        if self.config.docker.privileged == Some(true) {
            command.flag("--privileged")
        } else {
            command
        }
    }
}

/// Which of a job's variables the helper gets: those that describe the job or make git say more. None that
/// changes what runs there, for the helper also sees tokens.
fn is_for_helper(name: &str) -> bool {
    name == "ALLOY_CI"
        || name == "CI"
        || ["CI_", "GIT_LFS_", "GIT_TRACE"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
        || ["GIT_CURL_VERBOSE", "GIT_SSL_NO_VERIFY"].contains(&name)
}

/// A secret whose name leads the docker client and whose value has several lines fits neither into the
/// client's environment nor into an `--env-file`: it travels under another name.
fn must_rename(variable: &Variable) -> bool {
    !variable.public
        && client_reads(&variable.name)
        && variable.value.expose().contains(['\n', '\r'])
}

/// Sets a variable of the build container.
fn set(run: DockerCommand, variable: &Variable) -> DockerCommand {
    if must_rename(variable) {
        run.secret_env(&format!("{RENAMED}{}", variable.name), &variable.value)
    } else if variable.public {
        run.env(&variable.name, variable.value.expose())
    } else {
        run.secret_env(&variable.name, &variable.value)
    }
}

/// The end of a command that runs an image. docker takes one word as the entrypoint; what else the list
/// has goes before the command.
pub(super) fn overriding_entrypoint(
    run: DockerCommand,
    entrypoint: Option<&[String]>,
    image: Slot,
    command: impl IntoIterator<Item = impl Into<Word>>,
) -> DockerCommand {
    let command = command.into_iter().map(Into::into);
    match entrypoint {
        None => run.operands(image, command),
        Some(words) => {
            let (first, rest) = words
                .split_first()
                .map_or(("", &[][..]), |(first, rest)| (first, rest));
            run.option("--entrypoint", first)
                .operands(image, rest.iter().map(Word::from).chain(command))
        }
    }
}

/// A path without `.` and `..`, by its letters alone: it is one of a container.
fn normal(path: &Path) -> String {
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
