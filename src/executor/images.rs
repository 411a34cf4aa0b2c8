//! Images by their pull policies: from a name to an id.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use super::trouble::RESTORATIONS;
use super::{Run, Stop, helper_image, joined, outcome_of_reason};
use crate::config::PullPolicy;
use crate::docker::error::Kind;
use crate::docker::login::Login;
use crate::docker::{DockerCommand, DockerError, Slot};
use crate::logging::carried;
use crate::outcome::Outcome;
use crate::plan::names::hold_volume;
use crate::plan::{HELPER, HOLD_VOLUME, Image, ImageSource};

/// What is asked about an image: its id, what a shell in it would run at once, and where a service of it listens.
const FORMAT: &str = r#"{"id":{{json .ID}},"entrypoint":{{json .Config.Entrypoint}},"env":{{json .Config.Env}},"volumes":{{json .Config.Volumes}},"ports":{{json .Config.ExposedPorts}}}"#;

/// How many characters an error shows of what nobody understands.
const SHOWN: usize = 300;

/// How long to wait between two tries of a pull: a registry that is overloaded needs a while.
const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(5)];

/// An image that is there.
pub(super) struct Resolved {
    /// It has an entrypoint, a variable that its shell reads before anything else, or volumes of its own, which could lie
    /// over the executable that waits: no container of it may be started before the sources are in place.
    pub runs_at_once: bool,
}

/// What the engine says of an image.
#[derive(Deserialize)]
pub(super) struct Inspected {
    pub id: String,
    entrypoint: Option<Vec<String>>,
    env: Option<Vec<String>>,
    volumes: Option<BTreeMap<String, Value>>,
    /// `6379/tcp` and what else is written down there.
    ports: Option<BTreeMap<String, Value>>,
}

impl Run<'_> {
    /// Resolves all images side by side, and says which they are, in the plan's order.
    pub(super) fn resolve_images(&self) -> Result<Vec<Resolved>, Stop> {
        let inspected = match self.inspect_together()? {
            Some(inspected) => inspected,
            None => thread::scope(|scope| {
                let threads: Vec<_> = self
                    .plan
                    .images
                    .iter()
                    .map(|image| {
                        scope.spawn(carried(|| {
                            self.timed("pull", &image.name, || self.resolve(image))
                        }))
                    })
                    .collect();
                threads.into_iter().map(joined).collect::<Result<_, _>>()
            })?,
        };
        let mut resolved = Vec::new();
        for (image, inspected) in self.plan.images.iter().zip(inspected) {
            if matches!(image.source, ImageSource::Pull { .. }) {
                self.trace.line(&format!(
                    "Using docker image {} for {} ...",
                    inspected.id, image.name
                ))?;
            }
            self.bind_image(image, &inspected.id);
            let ports = inspected.ports.unwrap_or_default();
            let ports = ports.into_keys().collect::<Vec<_>>().join(" ");
            let services = self.plan.services.iter();
            for service in services.filter(|service| image.slots.contains(&service.image_slot)) {
                self.bind(&service.ports_slot, ports.clone());
            }
            let read_at_once =
                |entry: &String| entry.starts_with("ENV=") || entry.starts_with("BASH_ENV=");
            resolved.push(Resolved {
                runs_at_once: inspected.entrypoint.is_some_and(|words| !words.is_empty())
                    || inspected
                        .env
                        .is_some_and(|entries| entries.iter().any(read_at_once))
                    || inspected.volumes.is_some_and(|volumes| !volumes.is_empty()),
            });
        }
        Ok(resolved)
    }

    /// From now on an image is this one, for all of its containers.
    pub(super) fn bind_image(&self, image: &Image, id: &str) {
        for slot in &image.slots {
            self.bind(slot, id.to_owned());
            if slot.name() == HELPER {
                self.bind(&Slot::new(HOLD_VOLUME), hold_volume(id));
            }
        }
    }

    /// All images in one command, where none has to be pulled in any case. `None`: they are not all there, and each
    /// has to be looked after by itself.
    fn inspect_together(&self) -> Result<Option<Vec<Inspected>>, Stop> {
        let first_pulled = |image: &Image| match &image.source {
            ImageSource::Pull { policies, .. } => policies.first() == Some(&PullPolicy::Always),
            ImageSource::Build(_) => false,
        };
        if self.plan.images.iter().any(first_pulled) {
            return Ok(None);
        }
        (self.began)("pull");
        let began = Instant::now();
        let names = self.plan.images.iter().map(|image| &image.name);
        let text = match self.ask(&DockerCommand::image_inspect(names, FORMAT)) {
            Ok(text) => text,
            // Nobody could be asked about each of them either.
            Err(error) if error.is_final() => {
                return Err(error.into());
            }
            Err(_) => return Ok(None),
        };
        let inspected = text.lines().map(serde_json::from_str);
        let Ok(inspected) = inspected.collect::<Result<Vec<_>, _>>() else {
            return Ok(None);
        };
        if inspected.len() != self.plan.images.len() {
            return Ok(None);
        }
        for image in &self.plan.images {
            self.note("pull", &image.name, began);
        }
        Ok(Some(inspected))
    }

    /// An image by its name, however it is to be had.
    pub(super) fn resolve(&self, image: &Image) -> Result<Inspected, Stop> {
        match &image.source {
            ImageSource::Pull { registry, policies } => self.pull(image, registry, policies),
            ImageSource::Build(helper) => match self.inspect(&image.name) {
                Err(error) if error.kind == Kind::NotFound => {
                    let _lock = (self.build_lock)(self.cancel)
                        .map_err(|error| super::system_failure(format!("{error:#}")))?;
                    self.check_canceled()?;
                    // Whoever held the lock may have built it.
                    if let Ok(inspected) = self.inspect(&image.name) {
                        return Ok(inspected);
                    }
                    self.trace.line(&format!(
                        "Building helper image {} from {} ...",
                        helper.name, helper.base
                    ))?;
                    // Where the log cannot be written, the job's next line fails.
                    let say = |line: &str| drop(self.trace.line(line));
                    helper_image::build(self.docker, helper, self.cancel, &say)?;
                    Ok(self.inspect(&image.name)?)
                }
                result => Ok(result?),
            },
        }
    }

    /// By the first policy that leads to an image.
    fn pull(
        &self,
        image: &Image,
        registry: &str,
        policies: &[PullPolicy],
    ) -> Result<Inspected, Stop> {
        let name = &image.name;
        let mut failures: Vec<DockerError> = Vec::new();
        for policy in policies {
            if let Some(failed) = failures.last() {
                let reason = failed.reason();
                self.trace
                    .warning(&format!("{reason}; trying the pull policy {policy}"))?;
            }
            let result = match policy {
                PullPolicy::Always => self.pull_and_inspect(name, registry),
                PullPolicy::Never => self.inspect(name).map_err(Stop::from),
                PullPolicy::IfNotPresent => match self.inspect(name) {
                    Err(error) if error.kind == Kind::NotFound => {
                        self.pull_and_inspect(name, registry)
                    }
                    result => result.map_err(Stop::from),
                },
            };
            match result {
                Err(Stop::Docker(failed)) if !failed.is_final() => failures.push(failed),
                result => return result,
            }
        }
        // What could not be asked for, nobody knows to be missing.
        let telling = failures.iter().find(|failed| failed.kind != Kind::NotFound);
        Err(match telling.or(failures.last()) {
            Some(error) => match error.kind {
                Kind::NotFound => build_error(format!("image {name} not found")),
                Kind::NoRegistry => super::system_failure(format!(
                    "cannot pull image {name}: no registry answers at {registry} ({})",
                    error.reason()
                )),
                Kind::Denied => {
                    build_error(format!("cannot pull image {name}: {}", error.reason()))
                }
                _ => error.clone().into(),
            },
            None => super::system_failure(format!("no pull policy for image {name}")),
        })
    }

    fn pull_and_inspect(&self, name: &str, registry: &str) -> Result<Inspected, Stop> {
        self.trace
            .line(&format!("Pulling docker image {name} ..."))?;
        let login = self
            .docker
            .login(registry, &self.plan.registries, self.cancel)
            .map_err(|error| {
                super::system_failure(format!("cannot make a docker configuration: {error}"))
            })?;
        let command = DockerCommand::pull(name);
        for _ in 0..RESTORATIONS {
            match self.pull_by(&login, &command) {
                // Not the registry's word, but what a prune does to a pull: layers go while it needs them.
                Err(Stop::Docker(error)) if is_torn(&error) => {
                    self.trace
                        .warning(&format!("{}; trying again", error.reason()))?;
                    continue;
                }
                result => result?,
            }
            match self.inspect(name) {
                // Somebody pruned it at once.
                Err(error) if error.kind == Kind::NotFound => {}
                result => return Ok(result?),
            }
        }
        Ok(self.inspect(name)?)
    }

    fn pull_by(&self, login: &Login, command: &DockerCommand) -> Result<(), Stop> {
        let mut pauses = PAUSES.iter();
        while let Err(error) = login.docker.capture_with(command, None, self.cancel) {
            match (error.kind, pauses.next()) {
                (Kind::Other, Some(pause)) => {
                    self.trace.warning(&format!(
                        "{}; trying again in {} s",
                        error.reason(),
                        pause.as_secs()
                    ))?;
                    if let Some(reason) = self.cancel.wait(*pause) {
                        return Err(Stop::Outcome(outcome_of_reason(reason)));
                    }
                }
                (Kind::Denied, _) => {
                    let message = format!("{} (asked with {})", error.reason(), login.source);
                    return Err(Stop::Docker(DockerError { message, ..error }));
                }
                _ => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn inspect(&self, name: &str) -> Result<Inspected, DockerError> {
        let command = DockerCommand::image_inspect([name], FORMAT);
        let text = self.ask(&command)?;
        serde_json::from_str(&text).map_err(|error| DockerError {
            kind: Kind::Other,
            command: command.to_string(),
            message: format!(
                "docker printed something unexpected ({error}): {}",
                text.chars().take(SHOWN).collect::<String>().escape_debug()
            ),
            printed: String::new(),
        })
    }
}

/// Whether a pull failed by what the engine had and has no more.
fn is_torn(error: &DockerError) -> bool {
    let words = [
        "No such image",
        "no such file",
        "layer does not exist",
        "failed to register layer",
        "layer not found",
    ];
    words.iter().any(|words| error.message.contains(words))
        && !error.message.contains("no space left")
}

fn build_error(reason: String) -> Stop {
    Stop::Outcome(Outcome::BuildError(reason))
}
