//! Stages in the helper container, and the files of this host that go in and come out.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::shown::Shown;
use super::{Run, Stop, outcome_of_reason, store, system_failure, words};
use crate::cancel::{Cancel, Reason};
use crate::docker::session::Status;
use crate::outcome::Outcome;
use crate::plan::{Exchange, Failure, Kept, REFUSED, Stage};
use crate::script::NO_REPOSITORY;

/// How long what follows the build may take where the job's own time is over.
const OVERTIME: Duration = Duration::from_mins(5);

impl Run<'_> {
    /// Runs a stage in the helper, as often as it may be tried. Returns 0, or the status that asks for another
    /// helper: every other one is a failure, or a warning, as the stage has it.
    pub(super) fn helper_stage(&self, stage: &Stage, cancel: &Cancel) -> Result<i32, Stop> {
        self.stage_of_helper(stage, cancel, false)
    }

    /// The same for the only stage of a helper, which ends with it.
    pub(super) fn lone_helper_stage(&self, stage: &Stage) -> Result<i32, Stop> {
        self.stage_of_helper(stage, self.cancel, true)
    }

    fn stage_of_helper(&self, stage: &Stage, cancel: &Cancel, alone: bool) -> Result<i32, Stop> {
        let limited = cancel.child(stage.timeout);
        let result = match &stage.exchange {
            Exchange::None => self.attempts(stage, &limited),
            Exchange::In { job, directory } => self.bring_in(stage, job, directory, &limited),
            Exchange::Out { kept, name, limit } => {
                self.take_out(stage, (kept, name), *limit, &limited)
            }
        };
        let result = match result {
            Ok(status) if ![0, NO_REPOSITORY, i32::from(REFUSED)].contains(&status) => {
                let gone = self.helper_is_gone(status, alone);
                gone.map_or(Ok(status), |error| Err(Stop::Docker(error)))
            }
            result => result,
        };
        let name = words(stage.name);
        match (stage.failure, result) {
            (_, Ok(0)) => Ok(0),
            (_, Err(stop)) if self.begins_again_after(&stop) => Err(stop),
            (Failure::System, Ok(NO_REPOSITORY)) => Ok(NO_REPOSITORY),
            (Failure::Refusable, Ok(status)) if status == i32::from(REFUSED) => Err(Stop::Outcome(
                Outcome::BuildError(format!("{name} was refused")),
            )),
            (Failure::Warning, Ok(status)) => {
                let cause = self.trouble.cause();
                self.trace
                    .warning(&format!("{name} failed with status {status}{cause}"))?;
                Ok(0)
            }
            (Failure::Warning, Err(stop)) if cancel.reason().is_none() => {
                self.trace.warning(&format!(
                    "{name} failed: {}",
                    self.outcome_of(stop).reason()
                ))?;
                Ok(0)
            }
            (_, Ok(status)) => Err(system_failure(format!(
                "{name} failed with status {status}{}",
                self.trouble.cause()
            ))),
            (_, Err(stop)) => Err(stop),
        }
    }

    /// Runs a stage in the helper after the build, within the job's time, or in some more where that is over.
    pub(super) fn late_helper_stage(&self, stage: &Stage) -> Result<i32, Stop> {
        match self.cancel.reason() {
            Some(Reason::TimedOut(_)) => {
                let overtime = self.canceled.child(Some(OVERTIME));
                self.in_overtime(&overtime, || self.helper_stage(stage, &overtime))
            }
            _ => self.helper_stage(stage, self.cancel),
        }
    }

    fn attempts(&self, stage: &Stage, cancel: &Cancel) -> Result<i32, Stop> {
        let mut attempt = 1;
        loop {
            check(cancel)?;
            let command = self.bound(&stage.command);
            let session = if stage.one_stream {
                self.docker.start_apart(&command)?
            } else {
                self.docker.start(&command)?
            };
            let status = alive(stage, self.send(stage, session, cancel)?.status)?;
            if status == 0 || status == NO_REPOSITORY || attempt >= stage.attempts {
                return Ok(status);
            }
            attempt += 1;
            self.trace.warning(&format!(
                "{} failed with status {status}, attempt {attempt} of {} follows",
                words(stage.name),
                stage.attempts
            ))?;
        }
    }

    /// Runs a stage once for each archive in a directory, which it gets over standard input.
    fn bring_in(
        &self,
        stage: &Stage,
        job: &str,
        directory: &Path,
        cancel: &Cancel,
    ) -> Result<i32, Stop> {
        let archives = store::archives(directory)
            .map_err(|error| failed("read the directory", directory, &error))?;
        if archives.is_empty() {
            self.trace
                .warning(&format!("there are no artifacts of {job} here"))?;
        }
        for archive in archives {
            check(cancel)?;
            let file = File::open(&archive).map_err(|error| failed("read", &archive, &error))?;
            self.trace.line(&format!("Using artifacts of {job}..."))?;
            let session = self.docker.start(&self.bound(&stage.command))?;
            let status = self.timed(stage.name, job, || {
                let output = &mut |bytes: &[u8]| self.trace.write(bytes);
                session.run_with_file((file, &archive), output, cancel)
            })?;
            match alive(stage, status)? {
                0 => {}
                status => return Ok(status),
            }
        }
        Ok(0)
    }

    /// Runs a stage whose output becomes the job's archive, in place of those that are there, and shows people what is
    /// in it.
    fn take_out(
        &self,
        stage: &Stage,
        (kept, name): (&Kept, &str),
        limit: Option<u64>,
        cancel: &Cancel,
    ) -> Result<i32, Stop> {
        check(cancel)?;
        let directory = kept.archives_of(&kept.job);
        let partial = store::place(kept).map_err(|error| failed("write in", &directory, &error))?;
        let out = partial
            .reopen()
            .map_err(|error| failed("write", partial.path(), &error))?;
        let command = self.bound(&stage.command);
        let session = self.docker.start_into(&command, (out, partial.path()))?;
        let status = alive(stage, self.send(stage, session, cancel)?.status)?;
        if status == 0 {
            let target = directory.join(name);
            let there = store::put_in_place(partial, &target)
                .map_err(|error| failed("write", &target, &error))?;
            if there {
                let shown_in = kept.shown_in();
                let left_out = Shown::open(kept)
                    .and_then(|shown| shown.unpack(&target, &kept.shown, limit))
                    .map_err(|error| {
                        system_failure(format!("cannot unpack artifacts in {shown_in}: {error:#}"))
                    })?;
                for warning in left_out {
                    self.trace.warning(&warning)?;
                }
                self.trace
                    .line(&format!("The artifacts are in {shown_in}"))?;
            }
        }
        Ok(status)
    }
}

fn check(cancel: &Cancel) -> Result<(), Stop> {
    cancel.reason().map_or(Ok(()), |reason| {
        Err(Stop::Outcome(outcome_of_reason(reason)))
    })
}

fn alive(stage: &Stage, status: Status) -> Result<i32, Stop> {
    status.0.ok_or_else(|| {
        system_failure(format!(
            "the docker client died during {}",
            words(stage.name)
        ))
    })
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Stop {
    system_failure(format!("cannot {what} {}: {error}", path.display()))
}
