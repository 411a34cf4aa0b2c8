//! Builds the helper image where it is missing.

use uuid::Uuid;

use super::orphans::IMAGE_CONTAINER;
use crate::cancel::Cancel;
use crate::docker::error::Kind;
use crate::docker::{Docker, DockerCommand, DockerError, Word};
use crate::plan::helper_image::{HelperImage, architecture};

/// Builds the image. Nothing but it is left, whether that works or not.
///
/// # Errors
/// [`DockerError`] of the step that failed, or if the engine is of another architecture than this
/// executable.
pub fn build(docker: &Docker, image: &HelperImage, cancel: &Cancel) -> Result<(), DockerError> {
    let version = DockerCommand::version("{{.Server.Os}}/{{.Server.Arch}}");
    let (engine, own) = (
        docker.capture_with(&version, None, cancel)?,
        format!("linux/{}", architecture()),
    );
    let failed = |command: &DockerCommand, message| DockerError {
        kind: Kind::Other,
        command: command.to_string(),
        message,
    };
    if engine != own {
        let message = format!(
            "the docker engine is {engine} and this executable is {own}: the helper image cannot be made of it; \
             take the executable for {engine}, or name a helper image with --docker-helper-image"
        );
        return Err(failed(&version, message));
    }
    let container = Word::from(format!("{IMAGE_CONTAINER}{}", Uuid::new_v4()));
    let result = image.steps(&container).iter().try_for_each(|(command, stdin)| {
        docker.capture_with(command, stdin.as_deref(), cancel).map(drop).map_err(|error| {
            let hint = format!(
                "cannot make the helper image from `{}` (another base: alloy-runner helper-image build --base IMAGE): {}",
                image.base, error.message
            );
            if error.is_final() { error } else { DockerError { kind: Kind::Other, message: hint, ..error } }
        })
    });
    if result.is_err()
        && let Err(error) = docker.capture_patiently(&DockerCommand::remove([&container]))
        && error.kind != Kind::NotFound
    {
        log::warn!("cannot remove {container}: {error}");
    }
    result
}
