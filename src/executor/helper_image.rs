//! Builds the helper image if the engine does not have it.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use uuid::Uuid;

use super::old_images::note_name;
use super::orphans::IMAGE_CONTAINER;
use crate::cancel::Cancel;
use crate::docker::error::Kind;
use crate::docker::{Docker, DockerCommand, DockerError, Word};
use crate::plan::helper_image::{HelperImage, PLATFORM, platform};
use crate::plan::lines;

/// How many lines are shown of a step that failed, from its last one back.
const LAST_LINES: usize = 12;
/// How many characters are shown of a long line's start and of its end.
const BEGIN: usize = 80;
const END: usize = 120;

/// How long an engine may take to say whether it has the image.
const ANSWER: Duration = Duration::from_secs(5);

/// Makes the image where it is missing: brings it from the first of `others` that has it, else builds it. `say` hears
/// which, and the last lines of a step that failed.
///
/// # Errors
/// As [`build`].
pub fn provide(
    docker: &Docker,
    image: &HelperImage,
    others: &[Docker],
    cancel: &Cancel,
    say: &dyn Fn(&str),
) -> Result<(), DockerError> {
    // One that hangs is no help.
    let has_it = |other: &&Docker| {
        let limit = cancel.child(Some(ANSWER));
        other.capture_with(&id(image), None, &limit).is_ok()
    };
    if let Some(other) = others.iter().find(has_it) {
        let (name, from) = (&image.name, other.engine().id());
        say(&format!("Bringing helper image {name} from {from} ..."));
        match bring(other, docker, image, cancel) {
            Err(error) if cancel.reason().is_none() => {
                say(&format!("It cannot be brought: {}", error.reason()));
            }
            result => return result,
        }
    }
    say(&lines::building_helper_image(image).text.plain());
    build(docker, image, cancel, say)
}

/// Brings the image from an engine that has it to another one.
///
/// # Errors
/// As [`Docker::send_image`], and if the other engine is of another architecture.
pub fn bring(
    from: &Docker,
    to: &Docker,
    image: &HelperImage,
    cancel: &Cancel,
) -> Result<(), DockerError> {
    check_platform(to, cancel)?;
    from.send_image(&image.name, to, cancel)?;
    // Stores of images may give it an id of their own.
    let id = id_of(&to.capture_with(&id(image), None, cancel)?);
    note(to, image, id);
    Ok(())
}

/// Asks for the image's id.
fn id(image: &HelperImage) -> DockerCommand {
    DockerCommand::image_inspect([&image.name], "{{.Id}}")
}

/// Builds the helper image. What stays on the engine is that image and the image of tools that it is made of, which
/// later builds use again. The container between the two is removed, also if a step fails.
///
/// The last lines of a step that fails are handed to `say`.
///
/// # Errors
/// [`DockerError`] of the step that failed, or if the engine has another architecture than this executable.
pub fn build(
    docker: &Docker,
    image: &HelperImage,
    cancel: &Cancel,
    say: &dyn Fn(&str),
) -> Result<(), DockerError> {
    check_platform(docker, cancel)?;
    let container = Word::from(format!("{IMAGE_CONTAINER}{}", Uuid::new_v4()));
    let made = run_steps(docker, image, &container, cancel, say);
    // The last step removes the container. This has to be done also after `cancel`.
    if made.is_err()
        && let Err(error) = docker.capture_patiently(&DockerCommand::remove([&container]))
        && error.kind != Kind::NotFound
    {
        log::warn!("cannot remove {container}: {error}");
    }
    let id = made?;
    note(docker, image, id);
    Ok(())
}

/// Notes an image by its id, so that `prune` knows it for one that runners of this state directory made.
fn note(docker: &Docker, image: &HelperImage, id: Option<String>) {
    if !image.noted_in.as_os_str().is_empty()
        && let Err(error) = write_note(docker, &image.noted_in, id)
    {
        log::warn!(
            "`prune` will not know {}: {}: {error}",
            image.name,
            image.noted_in.display()
        );
    }
}

/// Checks that the engine can run this executable, which becomes a part of the image.
fn check_platform(docker: &Docker, cancel: &Cancel) -> Result<(), DockerError> {
    let version = DockerCommand::version(PLATFORM);
    let engine = docker.capture_with(&version, None, cancel)?;
    if engine == platform() {
        return Ok(());
    }
    Err(DockerError {
        kind: Kind::Other,
        command: version.to_string(),
        message: lines::other_platform(engine).plain(),
        printed: String::new(),
    })
}

/// Makes the image by way of a container of this name. Returns the image's id, if docker said it.
fn run_steps(
    docker: &Docker,
    image: &HelperImage,
    container: &Word,
    cancel: &Cancel,
    say: &dyn Fn(&str),
) -> Result<Option<String>, DockerError> {
    let mut id = None;
    for (command, stdin) in image.steps(container) {
        let printed = docker
            .capture_with(&command, stdin.as_deref(), cancel)
            .map_err(|error| step_failed(image, error, say))?;
        // The build of the tools may print an id too. The last one is that of the image, from `docker commit`.
        id = id_of(&printed).or(id);
    }
    Ok(id)
}

/// The error that a step failed. Where another base image might help, it says so, and what the step printed is shown.
fn step_failed(image: &HelperImage, error: DockerError, say: &dyn Fn(&str)) -> DockerError {
    if error.is_final() {
        return error;
    }
    // Of what the build of the tools prints, some clients have the reason on stdout and others on stderr.
    let lines: Vec<&str> = error.printed.lines().chain(error.message.lines()).collect();
    for line in &lines[lines.len().saturating_sub(LAST_LINES)..] {
        say(&shortened(line));
    }
    let message = format!(
        "cannot make the helper image from `{}` (another base: alloy-runner helper-image build --base IMAGE): {}",
        image.base,
        shortened(lines.last().unwrap_or(&""))
    );
    DockerError {
        kind: Kind::NoHelperImage,
        message,
        ..error
    }
}

/// Makes an empty file whose name begins with the id of an image: `prune` removes the images that are noted so.
fn write_note(docker: &Docker, directory: &Path, id: Option<String>) -> io::Result<()> {
    let id = id.ok_or_else(|| io::Error::other("docker did not say its id"))?;
    let name = note_name(&id, &docker.engine().key());
    fs::write(directory.join(name), "")
}

/// The id of an image, without `sha256:`, if that is all that docker printed.
fn id_of(printed: &str) -> Option<String> {
    let id = printed.trim().strip_prefix("sha256:")?;
    let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| id.to_owned())
}

/// A line without its middle if it is long, as the lines are that repeat a command of the Dockerfile.
fn shortened(line: &str) -> String {
    let count = line.chars().count();
    if count <= BEGIN + END {
        return line.to_owned();
    }
    let begin: String = line.chars().take(BEGIN).collect();
    let end: String = line.chars().skip(count - END).collect();
    format!("{begin} … {end}")
}
