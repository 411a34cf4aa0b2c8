//! Images by their pull policies: from a name to an id.

use std::thread;

use serde::Deserialize;

use super::{Run, Stop, helper_image, joined};
use crate::config::PullPolicy;
use crate::docker::error::Kind;
use crate::docker::{DockerCommand, DockerError};
use crate::outcome::Outcome;
use crate::plan::{Image, ImageSource};

/// What is asked about an image: its id and what a shell in it would run at once.
const FORMAT: &str =
    r#"{"id":{{json .Id}},"entrypoint":{{json .Config.Entrypoint}},"env":{{json .Config.Env}}}"#;

/// An image that is there.
pub(super) struct Resolved {
    /// It has an entrypoint, or a variable that its shell reads before anything else: no container of it
    /// may be started before the sources are in place.
    pub runs_at_once: bool,
}

#[derive(Deserialize)]
struct Inspected {
    id: String,
    entrypoint: Option<Vec<String>>,
    env: Option<Vec<String>>,
}

impl Run<'_> {
    /// Resolves all images side by side, and says which they are in the plan's order.
    pub(super) fn resolve_images(&self) -> Result<Vec<Resolved>, Stop> {
        let inspected: Vec<Inspected> = thread::scope(|scope| {
            let threads: Vec<_> = self
                .plan
                .images
                .iter()
                .map(|image| scope.spawn(|| self.resolve(image)))
                .collect();
            threads.into_iter().map(joined).collect::<Result<_, _>>()
        })?;
        let mut resolved = Vec::new();
        for (image, inspected) in self.plan.images.iter().zip(inspected) {
            if matches!(image.source, ImageSource::Pull(_)) {
                self.trace.line(&format!(
                    "Using docker image {} for {} ...",
                    inspected.id, image.name
                ))?;
            }
            self.bind(&image.slot, inspected.id);
            let read_at_once =
                |entry: &String| entry.starts_with("ENV=") || entry.starts_with("BASH_ENV=");
            resolved.push(Resolved {
                runs_at_once: inspected.entrypoint.is_some_and(|words| !words.is_empty())
                    || inspected
                        .env
                        .is_some_and(|entries| entries.iter().any(read_at_once)),
            });
        }
        Ok(resolved)
    }

    fn resolve(&self, image: &Image) -> Result<Inspected, Stop> {
        match &image.source {
            ImageSource::Pull(policies) => self.pull(image, policies),
            ImageSource::Build(helper) => match self.inspect(&image.name) {
                Err(error) if error.kind == Kind::NotFound => {
                    let _lock = (self.build_lock)().map_err(|error| {
                        Stop::Outcome(Outcome::SystemFailure(format!("{error:#}")))
                    })?;
                    // Whoever held the lock may have built it.
                    if let Ok(inspected) = self.inspect(&image.name) {
                        return Ok(inspected);
                    }
                    self.trace.line(&format!(
                        "Building helper image {} from {} ...",
                        helper.name, helper.base
                    ))?;
                    helper_image::build(self.docker, helper, self.cancel)?;
                    Ok(self.inspect(&image.name)?)
                }
                result => Ok(result?),
            },
        }
    }

    fn pull(&self, image: &Image, policies: &[PullPolicy]) -> Result<Inspected, Stop> {
        let mut error = None;
        for policy in policies {
            let result = match policy {
                PullPolicy::Always => self.pull_and_inspect(image),
                PullPolicy::Never => self.inspect(&image.name).map_err(Stop::from),
                PullPolicy::IfNotPresent => match self.inspect(&image.name) {
                    Err(error) if error.kind == Kind::NotFound => self.pull_and_inspect(image),
                    result => result.map_err(Stop::from),
                },
            };
            match result {
                Ok(inspected) => return Ok(inspected),
                Err(Stop::Docker(failed)) => error = Some(failed),
                Err(stop) => return Err(stop),
            }
        }
        Err(match error {
            Some(error) if error.kind == Kind::NotFound => Stop::Outcome(Outcome::BuildError(
                format!("image {} not found", image.name),
            )),
            Some(error) => error.into(),
            None => super::system_failure(format!("no pull policy for image {}", image.name)),
        })
    }

    fn pull_and_inspect(&self, image: &Image) -> Result<Inspected, Stop> {
        self.trace
            .line(&format!("Pulling docker image {} ...", image.name))?;
        self.docker
            .capture_with(&DockerCommand::pull(&image.name), None, self.cancel)?;
        Ok(self.inspect(&image.name)?)
    }

    fn inspect(&self, name: &str) -> Result<Inspected, DockerError> {
        let command = DockerCommand::image_inspect(name, FORMAT);
        let text = self.docker.capture(&command)?;
        serde_json::from_str(&text).map_err(|error| DockerError {
            kind: Kind::Other,
            command: command.to_string(),
            message: format!("docker printed something unexpected ({error}): {text}"),
        })
    }
}
