//! Whether a command can be given to a process: what Linux gives no program is said here, with its place in the job,
//! and not by a client that does not start.

use super::parts::{Build, HelperStart, Service};
use crate::docker::DockerCommand;
use crate::job::variables::LONGEST_ARGUMENT;
use crate::job::{ImageSpec, Job};
use crate::outcome::InputError;

/// What arguments and environment may take together: 2 MiB is what Linux has for them with the usual limit of the
/// stack, and the client's own environment needs some.
const ALL: usize = 2 * 1024 * 1024 - 256 * 1024;

/// Checks the words that a job gives its containers.
///
/// # Errors
/// [`InputError`] with the place of the one that no process can get.
pub(super) fn words(job: &Job) -> Result<(), InputError> {
    let image = job.image.iter().map(|spec| ("image".to_owned(), spec));
    let services = job.services.iter().enumerate();
    let services = services.map(|(index, spec)| (format!("services[{index}]"), spec));
    for (place, spec) in image.chain(services) {
        let ImageSpec {
            entrypoint,
            command,
            ..
        } = spec;
        for (key, list) in [("entrypoint", entrypoint), ("command", command)] {
            for (index, word) in list.iter().flatten().enumerate() {
                let wrong = if word.contains('\0') {
                    "has a NUL character, which no argument can hold".to_owned()
                } else if word.len() > LONGEST_ARGUMENT {
                    format!(
                        "has {} bytes, and Linux gives no program a word of more than {LONGEST_ARGUMENT}",
                        word.len()
                    )
                } else {
                    continue;
                };
                return Err(InputError::new(format!(
                    "{}.{place}.{key}[{index}] {wrong}",
                    job.name
                )));
            }
        }
    }
    Ok(())
}

/// Checks that the containers can be started at all, with all of the job's variables.
///
/// # Errors
/// [`InputError`] that says how much there is.
pub(super) fn containers(
    job: &Job,
    build: &Build,
    helper: &[HelperStart],
    services: &[Service],
) -> Result<(), InputError> {
    let services = services.iter().map(|service| &service.run);
    let helper = helper.iter().flat_map(|start| &start.commands);
    let commands = [&build.run].into_iter().chain(helper);
    match commands.chain(services).map(DockerCommand::size).max() {
        Some(size) if size > ALL => Err(InputError::new(format!(
            "the variables of the job `{}` and what else its containers are started with are {size} bytes, and Linux \
             gives a program no more than {ALL}: put long values into files of the repository",
            job.name.escape_debug()
        ))),
        _ => Ok(()),
    }
}
