//! Jobs of a checkout's own job file, with no coordinator.

mod environment;
mod found;
mod kept;
mod list;
mod progress;
mod results;
mod run;
mod screen;
mod selection;
mod stdout;
mod table;
mod timeline;

use std::io::IsTerminal;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::cancel::Cancel;
use crate::job::Project;
use crate::job::changes::Changes;
use crate::job::files::When;
use crate::outcome::InputError;
use crate::plan::names::Names;
use crate::plan::{Host, Plan};
use crate::printer;
use crate::state::{self, State};
use crate::worker::host;
use crate::worker::pool::Pool;
use crate::worker::recovery::{Recovery, Report};
use crate::worker::signals::stop_on_signals;
pub use environment::{read_env, read_env_file};
pub use found::{Found, Local};
pub use list::List;
use progress::Progress;
pub use results::Verdict;
use results::{Row, verdict};
use run::Runner;
use screen::{Screen, sanitize};
pub use selection::Wanted;
use stdout::NO_STDOUT;
pub use stdout::{ReaderGone, show, wants_colour};
use timeline::{About, Timeline};

/// The short token of jobs without a coordinator.
pub const SHORT_TOKEN: &str = "local";

/// How a run ended.
pub struct Finished {
    /// What became of its jobs.
    pub verdict: Verdict,
    /// The exit status that a signal asks for, or a reader of stdout that has gone.
    pub signal: Option<u8>,
}

impl Local {
    /// The job as a shell script of docker commands.
    ///
    /// # Errors
    /// [`InputError`] if it is not one job, or the job or the settings say something that cannot be meant.
    pub fn script(&self, found: &Found) -> Result<String> {
        let engine = found.config.docker.first_engine()?;
        self.script_for(found, &host::describe(&found.config, &engine, false)?)
    }

    /// The same for this host.
    ///
    /// # Errors
    /// As [`Local::script`].
    pub fn script_for(&self, found: &Found, host: &Host) -> Result<String> {
        let mut jobs = found.selection.jobs();
        let (Some(selected), None) = (jobs.next(), jobs.next()) else {
            let message = "--dry-run writes a script of one job: name it";
            return Err(InputError::new(message).into());
        };
        let job = self.job(found, selected);
        let engine = found.config.docker.first_engine()?;
        let plan = Plan::new(&job, &found.config, &Names::of_script(SHORT_TOKEN), host)
            .map_err(|error| found.document.placed(error))?;
        let prefix = format!("runner-{SHORT_TOKEN}-project-{}-script", job.project.id);
        Ok(printer::script(&plan, &engine.words(), &job.name, &prefix))
    }

    /// Runs the jobs, their logs to stdout; where there are several, with a table at the end. Before them come the
    /// orphans of dead processes on the engine, whose jobs `report` tells of.
    ///
    /// # Errors
    /// [`InputError`] if a job or the settings say something that cannot be meant (then none is begun), or
    /// whatever keeps the jobs from being started.
    pub fn run(&self, mut found: Found, report: Report) -> Result<Finished> {
        let began = Instant::now();
        let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        if self.shell_on_failure && !terminal {
            let message = "--shell-on-failure needs a terminal, as stdin and stdout";
            return Err(InputError::new(message).into());
        }
        let cancel = Cancel::new();
        let stdout = Box::new(std::io::stdout());
        let screen = Screen::new(stdout, wants_colour(), cancel.clone())
            .on_terminal(std::io::stdout().is_terminal());
        let screen = Arc::new(screen);
        let recovery = Recovery {
            state: State::open(state::directory()?)?,
            print_commands: self.print_commands,
            report,
        };
        let (config, colour) = (&found.config, screen.colour);
        let pool = Pool::new(config, recovery, SHORT_TOKEN, colour, Box::new(|_, _| {}))?;
        pool.open()?;
        let worker = pool.any_worker()?;
        // The copy is there as long as this value is.
        let _changes: Option<Changes> = if self.dirty {
            found.checkout.take_changes(worker.files())?
        } else {
            None
        };
        let (found, selection) = (&found, &found.selection);
        let several = selection.only_one().is_none();
        // None begins where another one cannot be meant.
        for selected in selection.jobs() {
            worker
                .check(&self.job(found, selected))
                .map_err(|error| found.document.placed(error))?;
        }
        let timeline = self.timeline.as_deref().map(Timeline::create).transpose()?;
        let signals = stop_on_signals(cancel.clone()).context("cannot watch for signals")?;
        let of_themselves = selection.jobs().filter(|job| job.when != When::Manual);
        let runner = Runner {
            local: self,
            found,
            pool: &pool,
            screen: &screen,
            cancel: &cancel,
            progress: Progress::of(of_themselves.count()),
        };
        // Among docker commands it would only be in the way.
        let shows = stdout::moves_cursor() && !self.print_commands;
        let rows = thread::scope(|scope| {
            if shows {
                scope.spawn(|| runner.progress.show(&screen, several || self.quiet));
            }
            let rows = runner.run(selection);
            runner.progress.finish();
            rows
        });
        let took = began.elapsed();
        if several || self.quiet {
            let text = summary(found, &rows, took, screen.colour);
            screen.write(text.as_bytes()).context(NO_STDOUT)?;
        }
        if let Some(timeline) = timeline {
            write_timeline(timeline, found, &rows, (began, took))?;
        }
        let gone = screen.has_no_reader().then_some(ReaderGone::STATUS);
        Ok(Finished {
            verdict: verdict(&rows),
            signal: signals.status().or(gone),
        })
    }
}

/// The table of what became of the jobs, and which ones are not for what is checked out.
fn summary(found: &Found, rows: &[Row], took: Duration, colour: bool) -> String {
    let elsewhere = &found.selection.elsewhere;
    let mut text = results::summary(rows, took, colour);
    if !elsewhere.is_empty() {
        let jobs: Vec<String> = elsewhere.iter().map(|job| sanitize(job)).collect();
        text.push_str(&list::not_for(&found.checkout.sources, &jobs));
    }
    text
}

fn write_timeline(
    timeline: Timeline,
    found: &Found,
    rows: &[Row],
    (began, took): (Instant, Duration),
) -> Result<()> {
    let Project {
        namespace, name, ..
    } = &found.checkout.project;
    let sources = &found.checkout.sources;
    let commit = sources.sha.get(..8).unwrap_or_default();
    let about = About {
        project: &format!("{namespace}/{name}"),
        sources: &format!("{} at {commit}", selection::described(sources)),
        began,
        took,
    };
    timeline.write(rows, &about)
}
