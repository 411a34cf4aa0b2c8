//! What was removed while a job ran is made again: `docker system prune` takes whatever nothing runs on.

use std::sync::PoisonError;

use super::context::{Context, RESTORATIONS};
use super::images;
use super::resources::make_network;
use super::stop::{Stop, system_failure};
use crate::docker::error::Kind;
use crate::docker::{DockerError, Word};
use crate::outcome::{Fault, Outcome};

/// Does something, and where it fails since what it needs was removed, makes that again and does it again. `container`
/// is what it starts.
pub(super) fn restoring<T>(
    context: &Context,
    container: &Word,
    work: impl Fn() -> Result<T, Stop>,
) -> Result<T, Stop> {
    for _ in 0..RESTORATIONS {
        match work() {
            Err(Stop::Docker(error)) if was_removed(context, &error) => {
                restore(context, container, &error)?;
            }
            result => return result,
        }
    }
    work()
}

/// Whether a command failed for something of this job that was there and is gone.
pub(super) fn was_removed(context: &Context, error: &DockerError) -> bool {
    error.kind == Kind::NotFound && is_of_job(error.reason(), &context.plan.prefix.plain())
}

/// Makes what a container needs again, as far as it is gone.
pub(super) fn restore(
    context: &Context,
    container: &Word,
    error: &DockerError,
) -> Result<(), Stop> {
    context.engine.check_canceled()?;
    let reason = error.reason();
    let last = reason.lines().last().unwrap_or(reason);
    let cause = if error.kind == Kind::NotFound {
        "; somebody removed it"
    } else {
        ""
    };
    let warning = format!("{last}{cause}, trying again");
    context.trace.warning(&warning)?;
    let one_at_a_time = &context.repairing;
    let _held = one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
    let image = reason.contains("No such image");
    if image {
        restore_images(context, reason)?;
    } else {
        // It may have been made, and not started.
        context.engine.remove_container(container)?;
    }
    match &context.plan.network {
        // While an image is pulled, a network that nothing runs in may go, too.
        Some(network) if image || reason.contains("network") => {
            match make_network(context, network) {
                Err(Stop::Docker(error)) if error.kind == Kind::Conflict => Ok(()),
                result => result,
            }
        }
        _ => Ok(()),
    }
}

fn restore_images(context: &Context, reason: &str) -> Result<(), Stop> {
    for image in &context.plan.images {
        // They all stand for the same.
        let slot = image.slots.first().map(|slot| Word::from(slot.clone()));
        let id = slot.map(|slot| context.engine.filled(&slot).plain());
        if !id.is_some_and(|id| !id.is_empty() && reason.contains(&id)) {
            continue;
        }
        let inspected = images::resolve(context, image).map_err(|stop| match stop {
            Stop::Outcome(Outcome::BuildError(error)) => {
                let what = format!(
                    "somebody removed the image {} from the engine while the job ran, and it cannot be had again: {error}",
                    image.name
                );
                system_failure(Fault::new(error.cause, what))
            }
            stop => stop,
        })?;
        images::bind(context, image, &inspected.id);
    }
    Ok(())
}

/// Whether what an engine does not find is something of a job, and not a network, a container or a plugin that the
/// configuration names and that never was there. What the job has made has a name with its prefix or, as images have,
/// an id.
fn is_of_job(message: &str, prefix: &str) -> bool {
    let is_id = |word: &str| word.len() >= 12 && word.chars().all(|c| c.is_ascii_hexdigit());
    message.contains("No such image")
        || message.contains("is marked for removal")
        || message.contains(prefix)
        || message
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(is_id)
}

#[cfg(test)]
mod tests {
    use super::is_of_job;

    #[test]
    fn what_the_job_has_made_is_told_from_what_never_was_there() {
        let prefix = "runner-local-project-3-concurrent-0";
        for message in [
            "No such image: sha256:0a061e3f9a38",
            "conflict: image is marked for removal",
            "network runner-local-project-3-concurrent-0 not found",
            "No such container: runner-local-project-3-concurrent-0-build",
            "No such container: 0a061e3f9a380a061e3f9a38",
        ] {
            assert!(is_of_job(message, prefix), "{message}");
        }
        for message in [
            "network intranet not found",
            "No such container: database",
            "error looking up volume plugin nope: plugin \"nope\" not found",
        ] {
            assert!(!is_of_job(message, prefix), "{message}");
        }
    }
}
