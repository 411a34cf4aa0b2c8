//! Builds the helper image where it is missing.

use std::fs;
use std::io;
use std::path::Path;

use uuid::Uuid;

use super::orphans::IMAGE_CONTAINER;
use crate::cancel::Cancel;
use crate::docker::error::Kind;
use crate::docker::{Docker, DockerCommand, DockerError, Word};
use crate::plan::helper_image::{HelperImage, PLATFORM, platform};
use crate::plan::lines;

/// As many lines are shown of a step that failed.
const LAST: usize = 12;
/// As much is shown of a line's begin and of its end.
const BEGIN: usize = 80;
const END: usize = 120;

/// Builds the image. Nothing but it is left, whether that works or not. `say` hears the last lines of a step that
/// failed.
///
/// # Errors
/// [`DockerError`] of the step that failed, or if the engine is of another architecture than this
/// executable.
pub fn build(
    docker: &Docker,
    image: &HelperImage,
    cancel: &Cancel,
    say: &dyn Fn(&str),
) -> Result<(), DockerError> {
    let version = DockerCommand::version(PLATFORM);
    let engine = docker.capture_with(&version, None, cancel)?;
    let failed = |command: &DockerCommand, message| DockerError {
        kind: Kind::Other,
        command: command.to_string(),
        message,
        printed: String::new(),
    };
    if engine != platform() {
        let message = lines::other_platform(engine).plain();
        return Err(failed(&version, message));
    }
    let container = Word::from(format!("{IMAGE_CONTAINER}{}", Uuid::new_v4()));
    let steps = image.steps(&container);
    let mut made = None;
    let result = steps.iter().try_for_each(|(command, stdin)| {
        let done = docker.capture_with(command, stdin.as_deref(), cancel);
        // The last that says an id is the one that makes the image.
        done.map(|said| made = id_of(&said).or(made.take())).map_err(|error| {
            if error.is_final() {
                return error;
            }
            // A build's steps say why they fail on one of its streams or the other.
            let lines: Vec<&str> = error.printed.lines().chain(error.message.lines()).collect();
            for line in &lines[lines.len().saturating_sub(LAST)..] {
                say(&shortened(line));
            }
            let message = format!(
                "cannot make the helper image from `{}` (another base: alloy-runner helper-image build --base IMAGE): {}",
                image.base,
                shortened(lines.last().unwrap_or(&""))
            );
            DockerError { kind: Kind::NoHelperImage, message, ..error }
        })
    });
    if result.is_err()
        && let Err(error) = docker.capture_patiently(&DockerCommand::remove([&container]))
        && error.kind != Kind::NotFound
    {
        log::warn!("cannot remove {container}: {error}");
    }
    result?;
    if !image.noted_in.as_os_str().is_empty()
        && let Err(error) = note(&image.noted_in, made)
    {
        log::warn!(
            "`prune` will not know {}: {}: {error}",
            image.name,
            image.noted_in.display()
        );
    }
    Ok(())
}

/// Notes the id of an image, as the name of a file.
fn note(directory: &Path, id: Option<String>) -> io::Result<()> {
    let id = id.ok_or_else(|| io::Error::other("docker did not say its id"))?;
    fs::write(directory.join(id), "")
}

/// The id of an image, where that is all that docker says.
fn id_of(said: &str) -> Option<String> {
    let id = said.trim().strip_prefix("sha256:")?;
    let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| id.to_owned())
}

/// A line without its middle where it is long: the steps' own commands are.
fn shortened(line: &str) -> String {
    let count = line.chars().count();
    if count <= BEGIN + END {
        return line.to_owned();
    }
    let begin: String = line.chars().take(BEGIN).collect();
    let end: String = line.chars().skip(count - END).collect();
    format!("{begin} … {end}")
}
