//! The docker commands for a job's containers, network and volumes.

use std::path::Path;

use super::names::{Names, RENAMED, labelled};
use super::variables::GitSettings;
use super::{Build, Host, Resource, builds_directory, reference};
use crate::config::RunnerConfig;
use crate::docker::client::bind_mount;
use crate::docker::command::client_reads;
use crate::docker::{DockerCommand, Reference, Slot, Word};
use crate::job::variables::{Variable, Variables};
use crate::job::{ImageSpec, Job, Origin};
use crate::outcome::InputError;
use crate::script::{ALTERNATES_DIR, CHECKOUT_DIR, GetSources, SHELL};
use crate::secret::Secret;

/// Its first process only keeps the helper there; it ends by itself should nobody remove it.
const HELPER_COMMAND: [&str; 2] = ["sleep", "1000000"];

/// A service to run.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its image.
    pub image: Reference,
    /// Stands for the image's id.
    pub image_slot: Slot,
    /// Stands for what the image says about its ports, as [`Service::ports`] prints it.
    pub ports_slot: Slot,
    /// Asks the engine for the ports that the image exposes.
    pub ports: DockerCommand,
    /// The container's name.
    pub name: Word,
    /// The hostnames it answers to in the job's network.
    pub aliases: Vec<String>,
    /// Makes and starts it.
    pub run: DockerCommand,
}

/// Writes commands for one job.
pub(super) struct Builder<'a> {
    job: &'a Job,
    config: &'a RunnerConfig,
    names: &'a Names,
    host: &'a Host,
    variables: &'a Variables,
    directory: &'a str,
    builds: String,
    /// Volumes beside the builds directory, by their path in the containers.
    caches: Vec<String>,
    /// Directories that every user must be able to write to, whoever made them.
    open: Vec<String>,
    renamed: Vec<(String, String)>,
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

    pub fn services(&self) -> Result<Vec<Service>, InputError> {
        self.job
            .services
            .iter()
            .enumerate()
            .map(|(index, spec)| self.service(index, spec))
            .collect()
    }

    fn service(&self, index: usize, spec: &ImageSpec) -> Result<Service, InputError> {
        let place = format!("{}.services[{index}]", self.job.name);
        let image = reference(&place, &self.variables.expand(&spec.name))?;
        let image_slot = Slot::new(format!("image_service_{index}"));
        let ports_slot = Slot::new(format!("ports_service_{index}"));
        let name = self.names.container(&format!(
            "{}-{index}",
            image.service_name().replace('/', "__")
        ));
        let mut aliases = image.aliases();
        for alias in &spec.alias {
            let alias = self.variables.expand(alias);
            check_hostname(&alias)
                .map_err(|error| InputError::new(format!("{place}.alias: {error}")))?;
            aliases.push(alias);
        }
        aliases.dedup();
        let run = self.labelled(DockerCommand::run(&name).flag("--detach"), "service");
        let run = run
            .option("--network", &self.names.prefix)
            .option("--network-alias", self.probe_alias(index));
        let run = aliases
            .iter()
            .fold(run, |run, alias| run.option("--network-alias", alias));
        let run = self.privileged(self.mounts(run));
        let public = self
            .variables
            .iter()
            .filter(|variable| variable.public && !variable.file);
        let run = public.fold(run, |run, variable| {
            run.env(&variable.name, variable.value.expose())
        });
        let command = spec.command.clone().unwrap_or_default();
        Ok(Service {
            ports: DockerCommand::image_inspect(
                image_slot.clone(),
                "{{range $port, $_ := .Config.ExposedPorts}}{{$port}} {{end}}",
            ),
            run: overriding_entrypoint(
                run,
                spec.entrypoint.as_deref(),
                image_slot.clone(),
                command,
            ),
            image,
            image_slot,
            ports_slot,
            name,
            aliases,
        })
    }

    /// A hostname that this service has for itself, whatever aliases it shares.
    fn probe_alias(&self, index: usize) -> Word {
        self.names.container(&format!("service-{index}"))
    }

    pub fn health_check(
        &self,
        services: &[Service],
        seconds: Option<u64>,
    ) -> Option<DockerCommand> {
        let seconds = seconds.filter(|_| !services.is_empty())?;
        let mut words: Vec<Word> = [
            "alloy-runner",
            "health-check",
            "--timeout",
            &seconds.to_string(),
            "--",
        ]
        .map(Word::from)
        .to_vec();
        for (index, service) in services.iter().enumerate() {
            words.push(
                self.probe_alias(index)
                    .then("=")
                    .then(service.ports_slot.clone()),
            );
        }
        Some(DockerCommand::exec().operands(self.names.container("helper"), words))
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
        let run = self
            .safe_directory()
            .into_iter()
            .fold(run, |run, (name, value)| run.env(&name, &value));
        let run = self
            .variables
            .iter()
            .filter(|variable| variable.name != "DOCKER_AUTH_CONFIG")
            .fold(run, set);
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
        let run = helper_git_settings()
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
        let places: Vec<(&Path, String)> =
            std::iter::once((git_dir.as_path(), CHECKOUT_DIR.to_owned()))
                .chain(
                    alternates
                        .iter()
                        .enumerate()
                        .map(|(i, path)| (path.as_path(), format!("{ALTERNATES_DIR}/{i}"))),
                )
                .collect();
        let run = if alternates.is_empty() {
            run
        } else {
            let paths: Vec<&str> = places[1..]
                .iter()
                .map(|(_, target)| target.as_str())
                .collect();
            run.env("GIT_ALTERNATE_OBJECT_DIRECTORIES", &paths.join(":"))
        };
        let mounted = places.iter().fold(run.clone(), |run, (path, target)| {
            run.option("--mount", bind_mount(path, target))
        });
        let mut copied = vec![finish(run)];
        copied.push(
            DockerCommand::exec().operands(&name, ["mkdir", "-p", CHECKOUT_DIR, ALTERNATES_DIR]),
        );
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

    /// What the helper's script for the sources has to know.
    pub fn sources(&self, settings: &GitSettings) -> GetSources<'_> {
        let Origin::Checkout { remote, .. } = &self.job.sources.origin;
        GetSources {
            strategy: settings.strategy,
            directory: self.directory,
            open: &self.open,
            url: CHECKOUT_DIR,
            local: true,
            remote: remote.as_deref().unwrap_or(CHECKOUT_DIR),
            sha: &self.job.sources.sha,
            ref_name: &self.job.sources.ref_name,
            depth: settings.depth,
            checkout: settings.checkout,
            submodules: settings.submodules,
            certificates: "",
        }
    }

    fn labelled(&self, command: DockerCommand, kind: &str) -> DockerCommand {
        labelled(command, kind, self.job, &self.names.short_token, self.host)
    }

    /// The builds directory and the volumes, which every container of the job sees.
    fn mounts(&self, command: DockerCommand) -> DockerCommand {
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

    fn privileged(&self, command: DockerCommand) -> DockerCommand {
        if self.config.docker.privileged == Some(true) {
            command.flag("--privileged")
        } else {
            command
        }
    }

    /// git takes the sources for somebody else's, since the helper fetched them.
    fn safe_directory(&self) -> Vec<(String, String)> {
        let own = self
            .variables
            .iter()
            .any(|variable| variable.name.starts_with("GIT_CONFIG_"));
        if own {
            Vec::new()
        } else {
            git_config(&[("safe.directory", "*")])
        }
    }
}

/// Two services of one name are answered in changing order: worth a word.
pub(super) fn warnings(services: &[Service]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (index, service) in services.iter().enumerate() {
        let clash = services[..index].iter().find_map(|other| {
            let alias = service
                .aliases
                .iter()
                .find(|alias| other.aliases.contains(alias))?;
            Some((alias, &other.image))
        });
        if let Some((alias, other)) = clash {
            warnings.push(format!(
                "the services {other} and {} share the hostname `{alias}`; give one of them an `alias`",
                service.image
            ));
        }
    }
    warnings
}

/// Settings for git that no file in the image or in a volume has a say in.
fn helper_git_settings() -> Vec<(String, String)> {
    git_config(&[
        ("safe.directory", "*"),
        ("advice.detachedHead", "false"),
        ("core.fsmonitor", "false"),
        ("core.hooksPath", "/dev/null"),
        ("gc.auto", "0"),
        ("init.defaultBranch", "main"),
        ("maintenance.auto", "false"),
        ("protocol.ext.allow", "never"),
        ("uploadpack.allowAnySHA1InWant", "true"),
    ])
}

/// Settings for git as variables of its environment.
fn git_config(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut variables = vec![("GIT_CONFIG_COUNT".to_owned(), settings.len().to_string())];
    for (index, (key, value)) in settings.iter().enumerate() {
        variables.push((format!("GIT_CONFIG_KEY_{index}"), (*key).to_owned()));
        variables.push((format!("GIT_CONFIG_VALUE_{index}"), (*value).to_owned()));
    }
    variables
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
fn overriding_entrypoint(
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

fn check_hostname(name: &str) -> Result<(), String> {
    let good = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() <= 253 && name.split('.').all(good) {
        Ok(())
    } else {
        Err(format!(
            "`{}` is no hostname: letters, digits, dashes and dots",
            name.escape_debug()
        ))
    }
}
