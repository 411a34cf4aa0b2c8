//! Images by their pull policies: from a name to an id.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::context::{Context, RESTORATIONS, joined};
use super::helper_image;
use super::spans::Activity;
use super::stop::{Stop, system_failure};
use crate::config::PullPolicy;
use crate::docker::error::Kind;
use crate::docker::login::Login;
use crate::docker::{DockerCommand, DockerError, Slot};
use crate::logging::carried;
use crate::outcome::{Cause, Fault, Outcome};
use crate::plan::names::hold_volume;
use crate::plan::{HELPER, HOLD_SEAL, HOLD_VOLUME, Image, ImageSource, Pulling, hold_seal, lines};
use crate::retry::retry;

/// What is asked about an image: its id, what a shell in it would run at once, and where a service of it listens.
const FORMAT: &str = r#"{"id":{{json .ID}},"entrypoint":{{json .Config.Entrypoint}},"env":{{json .Config.Env}},"volumes":{{json .Config.Volumes}},"ports":{{json .Config.ExposedPorts}}}"#;

/// How many characters an error shows of an answer that cannot be read.
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

/// Resolves all images side by side, and says which they are, in the plan's order.
pub(super) fn resolve_all(context: &Context) -> Result<Vec<Resolved>, Stop> {
    let inspected = match inspect_together(context)? {
        Some(inspected) => inspected,
        None => thread::scope(|scope| {
            let threads: Vec<_> = context
                .plan
                .images
                .iter()
                .map(|image| {
                    scope.spawn(carried(|| {
                        context
                            .spans
                            .timed(Activity::Pull, &image.name, || resolve(context, image))
                    }))
                })
                .collect();
            threads.into_iter().map(joined).collect::<Result<_, _>>()
        })?,
    };
    let mut resolved = Vec::new();
    for (image, inspected) in context.plan.images.iter().zip(inspected) {
        if matches!(image.source, ImageSource::Pull { .. }) {
            context.say(&lines::using_image(&inspected.id, &image.name))?;
        }
        bind(context, image, &inspected.id);
        let ports = inspected.ports.unwrap_or_default();
        let ports = ports.into_keys().collect::<Vec<_>>().join(" ");
        let services = context.plan.services.iter();
        for service in services.filter(|service| image.slots.contains(&service.image_slot)) {
            context.engine.bind(&service.ports_slot, ports.clone());
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
pub(super) fn bind(context: &Context, image: &Image, id: &str) {
    for slot in &image.slots {
        context.engine.bind(slot, id.to_owned());
        if slot.name() == HELPER {
            let volume = hold_volume(id);
            let seal = hold_seal(&context.plan.seal, &volume);
            context.engine.bind(&Slot::new(HOLD_SEAL), seal);
            context.engine.bind(&Slot::new(HOLD_VOLUME), volume);
        }
    }
}

/// All images in one command, where none has to be pulled in any case. `None`: they are not all there, and each
/// has to be looked after by itself.
fn inspect_together(context: &Context) -> Result<Option<Vec<Inspected>>, Stop> {
    let first_pulled = |image: &Image| match &image.source {
        ImageSource::Pull { wanted, .. } => wanted.policies.first() == Some(&PullPolicy::Always),
        ImageSource::Build(_) => false,
    };
    if context.plan.images.iter().any(first_pulled) {
        return Ok(None);
    }
    let began = context.spans.begin(Activity::Pull);
    let names = context.plan.images.iter().map(|image| &image.name);
    let text = match context
        .engine
        .ask(&DockerCommand::image_inspect(names, FORMAT))
    {
        Ok(text) => text,
        // To ask for each of them would fail too.
        Err(error) if error.is_final() => {
            return Err(error.into());
        }
        Err(_) => return Ok(None),
    };
    let inspected = text.lines().map(serde_json::from_str);
    let Ok(inspected) = inspected.collect::<Result<Vec<_>, _>>() else {
        return Ok(None);
    };
    if inspected.len() != context.plan.images.len() {
        return Ok(None);
    }
    for image in &context.plan.images {
        context.spans.end(Activity::Pull, &image.name, began);
    }
    Ok(Some(inspected))
}

/// An image by its name, however it is to be had.
pub(super) fn resolve(context: &Context, image: &Image) -> Result<Inspected, Stop> {
    match &image.source {
        ImageSource::Pull { registry, wanted } => pull(context, image, registry, wanted),
        ImageSource::Build(helper) => match inspect(context, &image.name) {
            Err(error) if error.kind == Kind::NotFound => {
                let _lock = (context.build_lock)(context.engine.cancel)
                    .map_err(|error| system_failure(format!("{error:#}")))?;
                context.engine.check_canceled()?;
                // It may have been built while another process held the lock.
                if let Ok(inspected) = inspect(context, &image.name) {
                    return Ok(inspected);
                }
                // Where the log cannot be written, the job's next line fails.
                let say = |line: &str| drop(context.trace.line(line));
                let (engine, others) = (&context.engine, (context.others)());
                helper_image::provide(engine.docker, helper, &others, engine.cancel, &say)?;
                Ok(inspect(context, &image.name)?)
            }
            result => Ok(result?),
        },
    }
}

/// By the first policy that leads to an image.
fn pull(
    context: &Context,
    image: &Image,
    registry: &str,
    wanted: &Pulling,
) -> Result<Inspected, Stop> {
    let name = &image.name;
    let mut failures: Vec<DockerError> = Vec::new();
    for policy in &wanted.policies {
        if let Some(failed) = failures.last() {
            let reason = failed.reason();
            context
                .trace
                .warning(&format!("{reason}; trying the pull policy {policy}"))?;
        }
        let result = match policy {
            PullPolicy::Always => pull_and_inspect(context, name, registry, wanted),
            PullPolicy::Never => inspect(context, name).map_err(Stop::from),
            PullPolicy::IfNotPresent => match inspect(context, name) {
                Err(error) if error.kind == Kind::NotFound => {
                    pull_and_inspect(context, name, registry, wanted)
                }
                result => result.map_err(Stop::from),
            },
        };
        match result {
            Err(Stop::Docker(failed)) if !failed.is_final() => failures.push(failed),
            result => return result,
        }
    }
    // An image that could not be asked for is not known to be missing.
    let telling = failures.iter().find(|failed| failed.kind != Kind::NotFound);
    Err(match telling.or(failures.last()) {
        Some(error) => match error.kind {
            Kind::NotFound => build_error(lines::image_not_found(name)),
            Kind::NoRegistry => {
                let why = error.reason();
                let missing =
                    format!("cannot pull image {name}: no registry answers at {registry} ({why})");
                system_failure(Fault::new(Cause::Image, missing))
            }
            Kind::Denied => build_error(format!("cannot pull image {name}: {}", error.reason())),
            _ => error.clone().into(),
        },
        None => system_failure(format!("no pull policy for image {name}")),
    })
}

fn pull_and_inspect(
    context: &Context,
    name: &str,
    registry: &str,
    wanted: &Pulling,
) -> Result<Inspected, Stop> {
    context.say(&lines::pulling(name))?;
    let login = context
        .engine
        .docker
        .login(registry, &context.plan.registries, context.engine.cancel)
        .map_err(|error| system_failure(format!("cannot make a docker configuration: {error}")))?;
    let command = DockerCommand::pull(name, wanted.platform.as_deref());
    for _ in 0..RESTORATIONS {
        match pull_by(context, &login, &command) {
            // Not the registry's word, but what a prune does to a pull: layers go while it needs them.
            Err(Stop::Docker(error)) if is_torn(&error) => {
                context
                    .trace
                    .warning(&format!("{}; trying again", error.reason()))?;
                continue;
            }
            result => result?,
        }
        match inspect(context, name) {
            // It was pruned at once.
            Err(error) if error.kind == Kind::NotFound => {}
            result => return Ok(result?),
        }
    }
    Ok(inspect(context, name)?)
}

fn pull_by(context: &Context, login: &Login, command: &DockerCommand) -> Result<(), Stop> {
    let cancel = context.engine.cancel;
    let pulled = retry(
        PAUSES,
        || Ok(login.docker.capture_with(command, None, cancel)?),
        |stop| matches!(stop, Stop::Docker(error) if error.kind == Kind::Other),
        |stop, pause| context.pause(stop, pause),
    );
    match pulled {
        Err(Stop::Docker(error)) if error.kind == Kind::Denied => {
            let message = format!("{} (asked with {})", error.reason(), login.source);
            Err(Stop::Docker(DockerError { message, ..error }))
        }
        pulled => pulled.map(drop),
    }
}

fn inspect(context: &Context, name: &str) -> Result<Inspected, DockerError> {
    let command = DockerCommand::image_inspect([name], FORMAT);
    let text = context.engine.ask(&command)?;
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
    Stop::Outcome(Outcome::BuildError(Fault::new(Cause::Image, reason)))
}
