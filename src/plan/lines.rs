//! The lines of a job's log that a run and a printed script have in common.
//!
//! [`crate::executor`] writes them, [`crate::printer`] has the script print them. Both take them from here, so they
//! cannot say different things. What is known only while the job runs is a parameter: the executor passes the value,
//! the printer the [`Slot`](crate::docker::Slot) of the shell variable that holds it.

use super::helper_image::{HelperImage, platform};
use super::stage::{HelperStage, StageKind};
use super::{Plan, Service};
use crate::docker::Word;
use crate::outcome::{BUILD_ERROR, EXIT_CODE, FAILED, SYSTEM, TOOK_LONGER, shown};

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Whether the log has it as a warning.
    pub is_warning: bool,
    /// What it says.
    pub text: Word,
}

fn remark(text: impl Into<Word>) -> Line {
    Line {
        is_warning: false,
        text: text.into(),
    }
}

fn warning(text: impl Into<Word>) -> Line {
    Line {
        is_warning: true,
        text: text.into(),
    }
}

/// The log's first lines, with what looks wrong but stops nothing.
pub fn opening(plan: &Plan) -> impl Iterator<Item = Line> {
    let header = plan.header.iter().map(|line| remark(shown(line)));
    header.chain(plan.warnings.iter().map(|line| warning(shown(line))))
}

/// An image is pulled.
#[must_use]
pub fn pulling(image: &str) -> Line {
    remark(format!("Pulling docker image {image} ..."))
}

/// An image is there, with this id.
pub fn using_image(id: impl Into<Word>, image: &str) -> Line {
    let text = Word::from("Using docker image ").then(id);
    remark(text.then(format!(" for {image} ...")))
}

/// The helper image is not there, and is made.
#[must_use]
pub fn building_helper_image(image: &HelperImage) -> Line {
    let HelperImage { name, base, .. } = image;
    remark(format!("Building helper image {name} from {base} ..."))
}

/// A service is started.
#[must_use]
pub fn starting_service(service: &Service) -> Line {
    remark(format!("Starting service {} ...", service.image))
}

/// A service could not be started. `why` is what docker says, where that does not stand above already.
#[must_use]
pub fn service_not_started(service: &Service, why: Option<&str>) -> Line {
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    warning(format!("service {} did not start{why}", service.title))
}

/// Where the job runs: the name that everything of it has, the host, and the engine where there are several.
#[must_use]
pub fn running_on(plan: &Plan) -> Line {
    let text = Word::from("Running on ").then(&plan.prefix);
    let engine = plan.engine.as_ref();
    let engine = engine.map_or_else(String::new, |engine| format!(" on {engine}"));
    remark(text.then(format!(" via {}{engine}...", plan.hostname)))
}

/// Services are asked until they answer.
#[must_use]
pub fn waiting_for_services() -> Line {
    remark("Waiting for services to be up and running...")
}

/// Why a service does not answer. Lines of its log follow, or `log` says why not.
pub fn service_problem(
    title: impl Into<Word>,
    problem: impl Into<Word>,
    log: Result<(), &str>,
) -> Line {
    let text = Word::from("service ").then(title).then(": ").then(problem);
    warning(text.then(match log {
        Ok(()) => "; the end of its log:".to_owned(),
        Err(why) => format!("; {why}"),
    }))
}

/// The problem of a service whose container has ended.
pub fn service_died(status: impl Into<Word>) -> Word {
    Word::from("died with status ").then(status)
}

/// Why no lines of a service's log follow.
pub const NO_LOG: &str = "it logged nothing";

/// Artifacts of another local job are unpacked.
#[must_use]
pub fn using_artifacts(job: &str) -> Line {
    remark(format!("Using artifacts of {}...", shown(job)))
}

/// Another local job left no artifacts.
#[must_use]
pub fn no_artifacts(job: &str) -> Line {
    warning(format!("there are no artifacts of {} here", shown(job)))
}

/// A stage in the helper failed and is tried again; `attempt` counts from 1.
pub fn another_attempt(
    stage: &HelperStage,
    status: impl Into<Word>,
    attempt: impl Into<Word>,
) -> Line {
    let text = failed(stage.kind, status).then(", attempt ").then(attempt);
    warning(text.then(format!(" of {} follows", stage.attempts)))
}

/// A stage in the helper failed, and the job goes on.
pub fn failed_with_warning(kind: StageKind, status: impl Into<Word>) -> Line {
    warning(failed(kind, status))
}

/// The `after_script` failed for this reason, and the job goes on.
pub fn after_script_failed(reason: impl Into<Word>) -> Line {
    warning(Word::from(format!("{} failed: ", StageKind::AfterScript)).then(reason))
}

/// The `after_script` does not run for lack of time.
#[must_use]
pub fn after_script_left_out() -> Line {
    let kind = StageKind::AfterScript;
    warning(format!("{kind} is left out: the job's time is over"))
}

/// The job's last line, with a reason that is the job's own.
pub fn job_failed(reason: impl Into<Word>) -> Line {
    remark(Word::from(format!("{FAILED}: ")).then(reason))
}

/// The job's last line, with a reason that is not the job's own.
pub fn system_failed(reason: impl Into<Word>) -> Line {
    remark(Word::from(format!("{FAILED}{SYSTEM}: ")).then(reason))
}

/// The reason where a script ended with this status.
pub fn exit_code(status: impl Into<Word>) -> Word {
    Word::from(EXIT_CODE).then(status)
}

/// The reason where a time limit of so many seconds was reached.
pub fn took_longer(seconds: impl Into<Word>) -> Word {
    let [before, after] = TOOK_LONGER;
    Word::from(before).then(seconds).then(after)
}

/// The reason where a stage in the helper ended with this status.
pub fn failed(kind: StageKind, status: impl Into<Word>) -> Word {
    Word::from(format!("{kind} failed with status ")).then(status)
}

/// The reason where a stage ended with [`REFUSED`](super::REFUSED).
#[must_use]
pub fn refused(kind: StageKind) -> String {
    format!("{kind} was refused")
}

/// The reason where an image is not to be had.
#[must_use]
pub fn image_not_found(image: &str) -> String {
    format!("image {image} not found")
}

/// A reason that is the job's own though none of its commands ran.
pub fn build_error(reason: impl Into<Word>) -> Word {
    Word::from(BUILD_ERROR).then(reason)
}

/// The reason where no helper sees the sources.
pub const NO_SOURCES: &str = "the helper sees no sources";

/// The reason where the user of the build cannot be told.
pub const NO_USER: &str =
    "the image does not say which user the build runs as; it needs the command `id`";

/// The reason where the helper cannot ask the services, with its `status 1`.
pub fn asking_failed(end: impl Into<Word>) -> Word {
    Word::from("asking for the services failed in the helper: ").then(end)
}

/// The reason where the helper image cannot be made for an engine, `linux/arm64`.
pub fn other_platform(engine: impl Into<Word>) -> Word {
    let engine = engine.into();
    Word::from("the docker engine is ")
        .then(&engine)
        .then(format!(
            " and this executable is {}: the helper image cannot be made of it; take the executable for ",
            platform()
        ))
        .then(engine)
        .then(", or name a helper image with --docker-helper-image")
}

/// A printed script leaves a stage out that only the runner has the secrets for.
#[must_use]
pub fn needs_secrets(kind: StageKind) -> Line {
    warning(format!(
        "{kind} is left out: it needs secrets that are not printed"
    ))
}
