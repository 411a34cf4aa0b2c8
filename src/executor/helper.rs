//! Stages in the helper container, and the files of this host that go in and come out.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::context::Context;
use super::engine::check;
use super::phase::Phase;
use super::send::send;
use super::shown::Shown;
use super::spans::Activity;
use super::stop::{Stop, system_failure};
use super::store;
use crate::cancel::{Cancel, Reason};
use crate::docker::error::Kind;
use crate::docker::session::Status;
use crate::docker::{DockerCommand, DockerError};
use crate::outcome::{Cause, Fault, Outcome};
use crate::plan::{Asked, Exchange, Failure, HelperStage, Kept, REFUSED, StageKind, lines};
use crate::script::NO_REPOSITORY;

/// How long what follows the build may take where the job's own time is over.
const OVERTIME: Duration = Duration::from_mins(5);

/// How a stage ended.
struct End {
    status: i32,
    /// What very probably made it fail, to be put behind the status.
    cause: &'static str,
}

impl End {
    fn of(status: i32) -> Self {
        Self { status, cause: "" }
    }
}

/// Runs a stage in the helper, as often as it may be tried. Returns 0, or the status that asks for another
/// helper: every other one is a failure, or a warning, as the stage has it.
pub(super) fn run(
    context: &Context,
    stage: &HelperStage,
    phase: Phase,
    cancel: &Cancel,
) -> Result<i32, Stop> {
    run_in(context, stage, phase, cancel, false)
}

/// The same for the only stage of a helper, which ends with it.
pub(super) fn run_alone(context: &Context, stage: &HelperStage, phase: Phase) -> Result<i32, Stop> {
    run_in(context, stage, phase, context.engine.cancel, true)
}

/// Runs a stage in the helper after the job's scripts, within the job's time, or in some more where that is over.
pub(super) fn run_late(context: &Context, stage: &HelperStage) -> Result<(), Stop> {
    let engine = &context.engine;
    let run = |cancel: &Cancel| run(context, stage, Phase::Running, cancel).map(drop);
    match engine.cancel.reason() {
        Some(Reason::TimedOut(_)) => {
            let overtime = engine.canceled.child(Some(OVERTIME));
            engine.in_overtime(&overtime, || run(&overtime))
        }
        _ => run(engine.cancel),
    }
}

fn run_in(
    context: &Context,
    stage: &HelperStage,
    phase: Phase,
    cancel: &Cancel,
    alone: bool,
) -> Result<i32, Stop> {
    // Before the first of them, the job was prepared.
    context.end_preparing();
    if let Some(asked) = &stage.asked {
        ask(context, asked)?;
    }
    let limit = stage.timeout.map(|it| cancel.triggered_after(it));
    let end = match &stage.exchange {
        Exchange::None => attempts(context, stage, cancel),
        Exchange::In { job, directory } => bring_in(context, stage, job, directory, cancel),
        Exchange::Out { kept, name, limit } => {
            take_out(context, stage, (kept, name), *limit, cancel)
        }
    };
    let end = match end {
        Ok(end) if ![0, NO_REPOSITORY, i32::from(REFUSED)].contains(&end.status) => {
            let gone = why_gone(context, end.status, alone);
            gone.map_or(Ok(end), |error| Err(Stop::Docker(error)))
        }
        end => end,
    };
    let (kind, key) = (stage.kind, stage.kind.key());
    if let (Some(limit), Err(_)) = (&limit, &end)
        && limit.reason() == stage.timeout.map(Reason::TimedOut)
    {
        context.trace.warning(&format!(
            "{kind} took longer than {key}_timeout of this runner"
        ))?;
    }
    match (stage.failure, end) {
        (_, Ok(End { status: 0, .. })) => Ok(0),
        (_, Err(stop)) if phase.begins_again_after(&stop, &context.engine) => Err(stop),
        (Failure::System, Ok(end)) if end.status == NO_REPOSITORY => Ok(NO_REPOSITORY),
        (Failure::Refusable, Ok(end)) if end.status == i32::from(REFUSED) => Err(Stop::Outcome(
            Outcome::BuildError(lines::refused(kind).into()),
        )),
        (Failure::Warning, Ok(End { status, cause })) => {
            context.say(&lines::failed_with_warning(
                kind,
                format!("{status}{cause}"),
            ))?;
            Ok(0)
        }
        (Failure::Warning, Err(stop)) if cancel.reason().is_none() => {
            let reason = stop.outcome(context.engine.cancel.reason()).reason();
            context.trace.warning(&format!("{kind} failed: {reason}"))?;
            Ok(0)
        }
        (failure, Ok(End { status, cause })) => {
            let reason = lines::failed(kind, format!("{status}{cause}")).plain();
            Err(match failure {
                Failure::Job => Stop::Outcome(Outcome::BuildError(reason.into())),
                _ => system_failure(Fault::new(cause_of(kind), reason)),
            })
        }
        (_, Err(stop)) => Err(stop),
    }
}

/// Why there is no helper any more, if that is what made a stage in it fail. `alone`: the helper ends with its stage,
/// with this status.
pub(super) fn why_gone(context: &Context, status: i32, alone: bool) -> Option<DockerError> {
    const STATE: &str = "{{.State.Running}} {{.State.ExitCode}}";
    let command = DockerCommand::inspect(&context.plan.helper, STATE);
    let gone = |message: String| DockerError {
        kind: Kind::Gone,
        command: command.to_string(),
        message,
        printed: String::new(),
    };
    match context.engine.ask(&command) {
        Err(error) if error.is_loss() => Some(error),
        Err(error) if error.kind == Kind::NotFound && !alone => {
            Some(gone("somebody removed the helper container".to_owned()))
        }
        Ok(state) if !alone && !state.starts_with("true ") => {
            Some(gone("the helper container was ended".to_owned()))
        }
        Ok(state) if alone && state != format!("false {status}") => Some(gone(format!(
            "the connection to the helper container was lost ({status}; {state})"
        ))),
        _ => None,
    }
}

fn attempts(context: &Context, stage: &HelperStage, cancel: &Cancel) -> Result<End, Stop> {
    let mut attempt = 1;
    loop {
        check(cancel)?;
        let session = if stage.one_stream {
            context.engine.start_apart(&stage.command)?
        } else {
            context.engine.start(&stage.command)?
        };
        let sent = send(context, (stage.kind, &stage.script), session, cancel)?;
        let status = alive(stage.kind, sent.status)?;
        if status == 0 || status == NO_REPOSITORY || attempt >= stage.attempts {
            let cause = sent.cause();
            return Ok(End { status, cause });
        }
        attempt += 1;
        let (status, attempt) = (status.to_string(), attempt.to_string());
        context.say(&lines::another_attempt(stage, status, attempt))?;
    }
}

/// Runs a stage once for each archive in a directory, which it gets over standard input.
fn bring_in(
    context: &Context,
    stage: &HelperStage,
    job: &str,
    directory: &Path,
    cancel: &Cancel,
) -> Result<End, Stop> {
    let archives = store::archives(directory)
        .map_err(|error| failed("read the directory", directory, &error))?;
    if archives.is_empty() {
        context.say(&lines::no_artifacts(job))?;
    }
    for archive in archives {
        check(cancel)?;
        let file = File::open(&archive).map_err(|error| failed("read", &archive, &error))?;
        context.say(&lines::using_artifacts(job))?;
        let session = context.engine.start(&stage.command)?;
        let activity = Activity::Stage(stage.kind);
        let status = context.spans.timed(activity, job, || {
            let output = &mut |bytes: &[u8]| context.trace.write(bytes);
            session.run_with_file((file, &archive), output, cancel)
        })?;
        match alive(stage.kind, status)? {
            0 => {}
            status => return Ok(End::of(status)),
        }
    }
    Ok(End::of(0))
}

/// Runs a stage whose output becomes the job's archive, in place of those that are there, and shows people what is
/// in it.
fn take_out(
    context: &Context,
    stage: &HelperStage,
    (kept, name): (&Kept, &str),
    limit: Option<u64>,
    cancel: &Cancel,
) -> Result<End, Stop> {
    check(cancel)?;
    let directory = kept.archives_of(&kept.job);
    let partial = store::place(kept).map_err(|error| failed("write in", &directory, &error))?;
    let out = partial
        .reopen()
        .map_err(|error| failed("write", partial.path(), &error))?;
    let session = context
        .engine
        .start_into(&stage.command, (out, partial.path()))?;
    let sent = send(context, (stage.kind, &stage.script), session, cancel)?;
    let status = alive(stage.kind, sent.status)?;
    if status != 0 {
        let cause = sent.cause();
        return Ok(End { status, cause });
    }
    let target = directory.join(name);
    let there =
        store::put_in_place(partial, &target).map_err(|error| failed("write", &target, &error))?;
    if there {
        let shown_in = kept.shown_in();
        let left_out = Shown::open(kept)
            .and_then(|shown| shown.unpack(&target, &kept.shown, limit))
            .map_err(|error| {
                system_failure(format!("cannot unpack artifacts in {shown_in}: {error:#}"))
            })?;
        for warning in left_out {
            context.trace.warning(&warning)?;
        }
        let line = format!("The artifacts are in {shown_in}");
        context.trace.line(&line)?;
    }
    Ok(End::of(0))
}

/// Asks a container what a stage has to know.
fn ask(context: &Context, asked: &Asked) -> Result<(), Stop> {
    let Asked { slot, errand } = asked;
    context.made.container(&errand.name);
    let owner = context.engine.ask(&errand.run).map_err(|error| {
        if error.is_final() || error.is_loss() {
            return Stop::from(error);
        }
        system_failure(format!("{}: {}", lines::NO_USER, error.reason()))
    })?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_one = |(user, group)| is_number(user) && is_number(group);
    if !owner.split_once(':').is_some_and(is_one) {
        let said = owner.escape_debug();
        let what = format!("the image's `id` says `{said}` for the user of the build");
        return Err(Stop::Outcome(Outcome::BuildError(what.into())));
    }
    context.engine.bind(slot, owner);
    Ok(())
}

/// What kind the failure of a stage is of: these stages ask other servers.
fn cause_of(kind: StageKind) -> Cause {
    match kind {
        StageKind::GetSources | StageKind::DownloadArtifacts | StageKind::UploadArtifacts => {
            Cause::ExternalDependency
        }
        _ => Cause::Other,
    }
}

fn alive(kind: StageKind, status: Status) -> Result<i32, Stop> {
    let died = || system_failure(format!("the docker client died during {kind}"));
    status.0.ok_or_else(died)
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Stop {
    system_failure(format!("cannot {what} {}: {error}", path.display()))
}
