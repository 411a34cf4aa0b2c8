//! Runs the jobs of a selection: stages one after the other, jobs of a stage side by side.

use std::collections::VecDeque;
use std::io::Write;
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::found::{Found, Local};
use super::progress::Progress;
use super::results::{Fate, Row};
use super::screen::{Log, Screen, prefix, sanitize, widest};
use super::selection::{Selected, Selection};
use crate::cancel::Cancel;
use crate::executor::shown::Shown;
use crate::executor::{Report, Terminal};
use crate::job::Job;
use crate::job::uncommitted::Uncommitted;
use crate::logging::Context;
use crate::outcome::Outcome;
use crate::trace::Trace;
use crate::trace::secrets::JobSecrets;
use crate::worker::Run;
use crate::worker::pool::Pool;

/// A run that is under way.
pub(super) struct Runner<'a> {
    pub local: &'a Local,
    pub found: &'a Found,
    pub pool: &'a Arc<Pool>,
    pub screen: &'a Arc<Screen>,
    pub cancel: &'a Cancel,
    pub progress: Progress,
}

/// A job and its place among all.
#[derive(Clone, Copy)]
struct Place<'a> {
    selected: &'a Selected,
    index: usize,
}

impl Runner<'_> {
    /// Runs all that is to start and says what became of each job, in the order of the selection.
    pub fn run(&self, selection: &Selection) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for stage in &selection.stages {
            let failed = rows.iter().any(Row::failed);
            let places = stage.iter().enumerate().map(|(index, selected)| Place {
                selected,
                index: rows.len() + index,
            });
            let (due, idle): (Vec<Place>, Vec<Place>) =
                places.partition(|place| place.selected.starts(failed));
            let mut ended: Vec<(usize, Row)> = self.side_by_side(due);
            ended.extend(idle.into_iter().map(|place| {
                let manual = place.selected.when == crate::job::files::When::Manual;
                let fate = if manual { Fate::Manual } else { Fate::NotRun };
                (place.index, row(place.selected, fate))
            }));
            ended.sort_by_key(|(index, _)| *index);
            rows.extend(ended.into_iter().map(|(_, row)| row));
        }
        rows
    }

    /// Runs jobs, as many at a time as `--concurrent` says. Once the run is stopped, no other job starts.
    fn side_by_side(&self, due: Vec<Place>) -> Vec<(usize, Row)> {
        let at_once = self.local.concurrent.map(NonZero::get);
        let at_once = at_once.or(self.pool.slots()).unwrap_or_else(cores);
        let threads = at_once.min(due.len());
        let queue = Mutex::new(VecDeque::from(due));
        let next = || {
            let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.pop_front()
        };
        let work = || {
            let mut ended = Vec::new();
            while let Some(place) = next() {
                let row = if self.cancel.reason().is_some() {
                    row(place.selected, Fate::NotRun)
                } else {
                    self.job(place)
                };
                ended.push((place.index, row));
            }
            ended
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let joined = threads.into_iter().map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            joined.flatten().collect()
        })
    }

    fn job(&self, place: Place) -> Row {
        let selected = place.selected;
        let engine = self.pool.wait(self.cancel, Duration::ZERO);
        let Some(engine) = engine.transpose() else {
            return row(selected, Fate::NotRun);
        };
        let began = Instant::now();
        let name = &selected.entry.name;
        let selection = &self.found.selection;
        let several = selection.only_one().is_none();
        let prefix = several.then(|| {
            let widest = widest(selection.jobs().map(|job| job.entry.name.as_str()));
            prefix(name, widest, place.index, self.screen.colour)
        });
        let job = self.local.job(self.found, selected);
        let log = Log::new(self.screen, prefix, self.local.quiet);
        let log = if job.artifacts.is_empty() {
            log
        } else {
            log.copied()
        };
        let first = place.index == 0;
        let terminal = |shell: &mut dyn FnMut()| self.lend_terminal(name, &log, shell);
        let secrets = JobSecrets::default();
        let masked = secrets.clone();
        let _entered = Context {
            mask: Some(Arc::new(move |text| masked.masked(text))),
            ..Context::default()
        }
        .enter();
        let run = Run {
            secrets: &secrets,
            log: &|| Box::new(log.clone()),
            in_background: &|trace: &Trace| {
                if first && !self.local.dirty {
                    warn_if_dirty(self.found, trace);
                }
            },
            output_limit: None,
            ended: &|_| {},
            began: &|activity| self.progress.doing(place.index, name, activity),
            cancel: self.cancel,
            canceling: &Cancel::new(),
            terminal: self.local.shell_on_failure.then_some(&terminal as Terminal),
        };
        let report = engine.and_then(|mut engine| engine.run(&job, &run));
        self.progress.ended(place.index);
        let (outcome, spans, last_lines) = match report {
            Ok(Report {
                outcome,
                spans,
                last_lines,
                ..
            }) => (outcome, spans, last_lines),
            Err(error) => {
                // Nothing is in its log yet. Where that cannot be written, the table still tells.
                let outcome = Outcome::SystemFailure(format!("{error:#}").into());
                drop(writeln!(log.clone(), "{outcome}"));
                (outcome, Vec::new(), Vec::new())
            }
        };
        if let Err(error) = show_log(&job, &log) {
            log::warn!(
                "cannot write the log of {} beside its artifacts: {error:#}",
                sanitize(name)
            );
        }
        let shown = if outcome.is_success() {
            log.finish()
        } else {
            log.show().and_then(|()| log.finish())
        };
        let outcome = match shown {
            Err(error) if outcome.is_success() => {
                Outcome::SystemFailure(format!("cannot write the log: {error}").into())
            }
            _ => outcome,
        };
        Row {
            time: Some((began, began.elapsed())),
            spans,
            last_lines,
            ..row(selected, Fate::Ended(outcome))
        }
    }
}

impl Runner<'_> {
    /// Lets a shell have the terminal while everybody else waits.
    fn lend_terminal(&self, job: &str, log: &Log, shell: &mut dyn FnMut()) {
        let mut out = log
            .show()
            .and_then(|()| log.finish())
            .map(|()| self.screen.lock());
        let said = out.as_mut().map_or(Ok(()), |out| {
            let job = sanitize(job);
            let text = format!(
                "\nThe script of `{job}` failed. This is a shell in its build container; `exit` ends the job.\n"
            );
            out.write(text.as_bytes()).and_then(|()| out.erase())
        });
        if let Err(error) = said {
            // The job's own lines meet the same and end it.
            log::debug!("cannot write to the terminal: {error}");
        }
        shell();
    }
}

/// Puts the log of a job beside its artifacts.
fn show_log(job: &Job, log: &Log) -> Result<()> {
    let (Some(kept), Some(mut copy)) = (&job.kept, log.take_copy()?) else {
        return Ok(());
    };
    Shown::open(kept)?.write_log(&mut copy, &kept.log())
}

/// How many untracked files a warning names.
const NAMED: usize = 3;

fn warn_if_dirty(found: &Found, trace: &Trace) {
    let (job, tests) = match found.selection.only_one() {
        Some(_) => ("job", "tests"),
        None => ("jobs", "test"),
    };
    let said = match Uncommitted::of(&found.checkout.directory) {
        Ok(uncommitted) => match words(&uncommitted) {
            Some(what) => trace.warning(&format!(
                "there are {what}; the {job} {tests} the commit without them"
            )),
            None => Ok(()),
        },
        Err(error) => trace.warning(&format!(
            "cannot tell whether there are uncommitted changes: {error:#}"
        )),
    };
    if let Err(error) = said {
        // The job's own lines meet the same and end it.
        log::debug!("cannot write the log: {error}");
    }
}

/// What is in a working tree that no commit has, in words.
fn words(found: &Uncommitted) -> Option<String> {
    let Uncommitted { changes, untracked } = found;
    let mut words = Vec::new();
    if *changes {
        words.push("uncommitted changes".to_owned());
    }
    if !untracked.is_empty() {
        let named: Vec<String> = untracked
            .iter()
            .take(NAMED)
            .map(|path| sanitize(path))
            .collect();
        let more = match untracked.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        words.push(format!("untracked files ({}{more})", named.join(", ")));
    }
    (!words.is_empty()).then(|| words.join(" and "))
}

/// A job that did not run.
fn row(selected: &Selected, fate: Fate) -> Row {
    Row {
        name: selected.entry.name.clone(),
        stage: selected.entry.stage().to_owned(),
        may_fail: selected.entry.keywords.allow_failure == Some(true),
        fate,
        time: None,
        spans: Vec::new(),
        last_lines: Vec::new(),
    }
}

/// How many jobs run at a time by default, where there is no pool.
fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::{Uncommitted, words};

    #[test]
    fn what_is_not_committed_is_named() {
        for (changes, count, want) in [
            (false, 0, None),
            (true, 0, Some("uncommitted changes")),
            (false, 1, Some("untracked files (a)")),
            (
                true,
                4,
                Some("uncommitted changes and untracked files (a, b/, c and 1 more)"),
            ),
        ] {
            let untracked = ["a", "b/", "c", "d"][..count].iter();
            let found = Uncommitted {
                changes,
                untracked: untracked.map(ToString::to_string).collect(),
            };
            assert_eq!(words(&found).as_deref(), want);
        }
    }
}
