//! The docker commands for a job's containers, network and volumes.

use std::path::Path;

use super::chosen::{BuildImage, overriding_entrypoint, with_choice};
use super::ending::Ending;
use super::host::Host;
use super::labels::labels;
use super::names::{Names, travel_name};
use super::network::Network;
use super::parts::{Build, HelperStart, Service};
use super::settings::Settings;
use super::stage::HelperStage;
use super::volumes::{Layout, Mount};
use super::{git, options};
use crate::config::{RunnerConfig, normal};
use crate::docker::client_names::may_lead_client;
use crate::docker::{DockerCommand, Slot, Word, mount};
use crate::job::files::Kind;
use crate::job::variables::{Variable, Variables};
use crate::job::{ImageSpec, Job, Origin};
use crate::script::{CHANGES_DIR, CHECKOUT_DIR, SHELL};

/// Its first process only keeps the helper there; it ends by itself should it never be removed.
const HELPER_COMMAND: [&str; 2] = ["sleep", "1000000"];

/// Stands for the id of the helper image.
pub const HELPER: &str = "image_helper";

/// What git takes for yes and no.
const SWITCHES: [&str; 8] = ["true", "1", "yes", "on", "false", "0", "no", "off"];

/// What makes git say more, in the job's log.
const TRACES: [&str; 12] = [
    "GIT_CURL_VERBOSE",
    "GIT_TRACE",
    "GIT_TRACE2",
    "GIT_TRACE2_EVENT",
    "GIT_TRACE2_PERF",
    "GIT_TRACE_CURL",
    "GIT_TRACE_CURL_NO_DATA",
    "GIT_TRACE_PACKET",
    "GIT_TRACE_PACK_ACCESS",
    "GIT_TRACE_PERFORMANCE",
    "GIT_TRACE_SETUP",
    "GIT_TRACE_SHALLOW",
];

/// What git takes for no and for stderr; anything else would be a file.
const TRACE_VALUES: [&str; 5] = ["0", "1", "2", "true", "false"];

/// Writes commands for one job.
pub(super) struct Builder<'a> {
    pub job: &'a Job,
    pub config: &'a RunnerConfig,
    pub names: &'a Names,
    pub host: &'a Host,
    pub variables: &'a Variables,
    pub layout: &'a Layout,
    pub settings: &'a Settings,
    pub network: Network,
    pub mounts: Vec<Mount>,
    /// Variables that travel under another name, and that name.
    pub renamed: Vec<(String, String)>,
}

impl Builder<'_> {
    /// The build container.
    pub fn build(&self, chosen: &BuildImage, services: &[Service]) -> Build {
        let BuildImage {
            image,
            spec,
            pulling,
            user,
            ..
        } = chosen;
        let name = self.names.container("build");
        let run = DockerCommand::run(&name).flag("--interactive");
        let run = options::log(&self.config.docker, run.clone())
            .unwrap_or_else(|| run.option("--log-driver", "none"));
        let run = self
            .mounted(self.labelled(run, "build"))
            .option("--workdir", &self.layout.directory);
        let hosts = services.iter().map(|service| {
            let aliases = service.aliases.iter().map(Word::from).collect();
            (service.name.clone(), aliases)
        });
        let run = self
            .network
            .connect(run, self.names, &hosts.collect::<Vec<_>>());
        let run = options::build(&self.config.docker, &image.to_string(), run);
        let run = with_choice(run, pulling, user.as_deref());
        let run = options::flag(run, "--init", self.settings.init);
        let run = self.tell_git(run);
        let run = self.variables.iter().fold(run, set);
        // It would run beside the helper, and its result is not used.
        let run = run.flag("--no-healthcheck");
        let image = || Slot::new("image_build");
        let held = self.held(&run, image(), shell(self.config));
        let run = overriding_entrypoint(run, self.entrypoint(spec), image(), shell(self.config));
        // An entrypoint of the job's own is one too; `[""]` clears the image's.
        let own = self
            .entrypoint(spec)
            .is_some_and(|words| words.iter().any(|word| !word.is_empty()));
        let read_at_once = ["ENV", "BASH_ENV"]
            .iter()
            .any(|name| self.variables.get(name).is_some());
        let has_own_processes = matches!(
            self.config.docker.pid_mode.as_deref(),
            None | Some("" | "private")
        );
        Build {
            ending: Ending::of(&name, has_own_processes),
            name,
            run,
            has_own_processes,
            held: held.filter(|_| !own && !read_at_once),
        }
    }

    /// Whether git has a password for where the sources come from.
    fn has_login(&self) -> bool {
        matches!(&self.job.sources.origin, Origin::Remote { remote, .. } if remote.login.is_some())
    }

    /// A shell in the running helper.
    pub fn helper_shell(&self) -> DockerCommand {
        DockerCommand::exec().operands(self.names.container("helper"), ["sh"])
    }

    /// How to start the helper: with the checkout mounted, which shows nothing where the engine has another
    /// file system, and with a copy of it. `only` is the stage that the helper is for, if there is but one;
    /// `archives` is what no other container mounts.
    pub fn helper_starts(
        &self,
        services: &[Service],
        only: Option<&HelperStage>,
        archives: Option<&Mount>,
    ) -> Vec<HelperStart> {
        let name = self.names.container("helper");
        let run = DockerCommand::run(&name)
            .option("--log-driver", "none")
            .option("--entrypoint", "");
        let run = self.mounted_in_helper(self.labelled(run, "helper"));
        let run = archives
            .into_iter()
            .fold(run, |run, mount| self.mount(run, mount));
        let run = self.holding(run);
        let hosts = services
            .iter()
            .map(|service| (service.name.clone(), vec![service.probe_alias.clone()]));
        let run = self
            .network
            .connect(run, self.names, &hosts.collect::<Vec<_>>());
        let run = options::helper(&self.config.docker, run);
        let run = git::helper_settings()
            .into_iter()
            .fold(run, |run, (name, value)| run.env(&name, &value));
        let shown = self
            .variables
            .iter()
            .filter(|variable| is_for_helper(variable, self.has_login()));
        let run = shown.fold(run, |run, variable| {
            run.env(&variable.name, variable.value.expose())
        });
        let image = Slot::new(HELPER);
        let stays = |run: &DockerCommand| {
            run.clone()
                .flag("--detach")
                .operands(image.clone(), HELPER_COMMAND)
        };
        let start = |run: DockerCommand| HelperStart {
            commands: vec![stays(&run)],
            once: only.map(|stage| HelperStage {
                command: run.flag("--interactive").operands(image.clone(), ["sh"]),
                ..stage.clone()
            }),
        };

        let Origin::Checkout {
            git_dir,
            alternates,
            changes,
            ..
        } = &self.job.sources.origin
        else {
            return vec![start(run)];
        };
        let mut places: Vec<(&Path, String)> = vec![(git_dir.as_path(), CHECKOUT_DIR.to_owned())];
        places.extend(alternates.iter().map(|alternate| {
            let objects = Path::new(CHECKOUT_DIR).join("objects");
            (
                alternate.directory.as_path(),
                normal(&objects.join(&alternate.named)),
            )
        }));
        places.extend(
            changes
                .iter()
                .map(|path| (path.as_path(), CHANGES_DIR.to_owned())),
        );
        let mounted = places.iter().fold(run.clone(), |run, (path, target)| {
            run.option("--mount", mount::bind(path, target))
        });
        let mut copied = vec![stays(&run)];
        let directories = places.iter().map(|(_, target)| target.as_str());
        let make = ["mkdir", "-p"].into_iter().chain(directories);
        copied.push(DockerCommand::exec().operands(&name, make));
        copied.extend(places.iter().map(|(path, target)| {
            // The contents of the directory, into one that is there or not.
            DockerCommand::copy_into(format!("{}/.", path.display()), &name, target)
        }));
        let copied = HelperStart {
            commands: copied,
            once: None,
        };
        if self.host.shares_files {
            vec![start(mounted), copied]
        } else {
            vec![copied]
        }
    }

    /// Says whose it is.
    pub fn labelled(&self, command: DockerCommand, kind: &str) -> DockerCommand {
        Self::with(command, self.labels(kind, &self.names.prefix))
    }

    pub fn with(command: DockerCommand, labels: Vec<(String, String)>) -> DockerCommand {
        labels.into_iter().fold(command, |command, (name, value)| {
            command.option("--label", format!("{name}={value}"))
        })
    }

    pub fn labels(&self, kind: &str, prefix: &Word) -> Vec<(String, String)> {
        let mut labels = labels(kind, prefix, self.job, self.names, self.host);
        let extra = self.config.docker.container_labels.iter().flatten();
        // With GitLab they may refer to variables. What they are shows.
        let expands = self.job.kind() == Kind::GitLab;
        let value = |text: &String| {
            if expands && self.variables.shows_no_secret(text) {
                self.variables.expand(text)
            } else {
                text.clone()
            }
        };
        labels.extend(extra.map(|(name, text)| (name.clone(), value(text))));
        labels
    }

    /// A word on entrypoints that the job may not replace.
    pub fn kept_entrypoints(&self) -> Vec<String> {
        let images = self.job.image.iter().chain(&self.job.services);
        let ignored =
            images.filter(|spec| spec.entrypoint.is_some() && self.entrypoint(spec).is_none());
        ignored
            .map(|spec| {
                format!(
                    "the entrypoint of {} is kept: docker.disable_entrypoint_overwrite is on",
                    spec.name
                )
            })
            .collect()
    }

    /// The entrypoint that a job may set.
    pub fn entrypoint<'b>(&self, spec: &'b ImageSpec) -> Option<&'b [String]> {
        let kept = self.config.docker.disable_entrypoint_overwrite == Some(true);
        spec.entrypoint.as_deref().filter(|_| !kept)
    }
}

/// The command of a build container, by the configuration's `shell`.
fn shell(config: &RunnerConfig) -> Vec<&'static str> {
    match config.shell.as_deref() {
        Some("sh") => vec!["sh"],
        // As in the files of other runners, whose images need not have it.
        _ => SHELL.to_vec(),
    }
}

/// Which of a job's variables the helper gets: those that describe the job, for the operator's own commands, and the
/// switches on this list. No other one reaches git or what it starts, for the helper also sees tokens: a variable like
/// `GIT_TRACE` or `GIT_LFS_PROGRESS` may name a file to write, or say what git shows of its environment.
fn is_for_helper(variable: &Variable, has_login: bool) -> bool {
    let value = variable.value.expose();
    match variable.name.as_str() {
        // No secret, though every variable of an AlloyCI project is called one. No job decides whom a password goes to.
        "GIT_SSL_NO_VERIFY" => !has_login && SWITCHES.contains(&value),
        "GIT_LFS_SKIP_SMUDGE" => SWITCHES.contains(&value),
        name if TRACES.contains(&name) => TRACE_VALUES.contains(&value),
        name => variable.public && (["ALLOY_CI", "CI"].contains(&name) || name.starts_with("CI_")),
    }
}

/// The longest line of an `--env-file` that docker reads is one of 64 KiB.
const LONGEST_LINE: usize = 63 * 1024;

/// A secret whose name leads the docker client and whose value has several lines, or a very long one, fits neither
/// into the client's environment nor into an `--env-file`: it travels under another name.
pub(super) fn must_rename(variable: &Variable) -> bool {
    !variable.public
        && may_lead_client(&variable.name)
        && (variable.value.expose().contains(['\n', '\r'])
            || variable.value.expose().len() > LONGEST_LINE)
}

/// Variables that travel under another name, and that name.
pub(super) fn renamed(variables: &Variables) -> Vec<(String, String)> {
    let renamed = variables.iter().filter(|variable| must_rename(variable));
    renamed
        .map(|variable| (variable.name.clone(), travel_name(&variable.name)))
        .collect()
}

/// Sets a variable of the build container.
pub(super) fn set(run: DockerCommand, variable: &Variable) -> DockerCommand {
    if must_rename(variable) {
        run.secret_env(&travel_name(&variable.name), &variable.value)
    } else if variable.public {
        run.env(&variable.name, variable.value.expose())
    } else {
        run.secret_env(&variable.name, &variable.value)
    }
}
