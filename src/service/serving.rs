//! One runner of a coordinator: it asks for jobs and sees each through, up to what the coordinator hears.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::Result;

use super::client::client;
use super::job_log::{JobLog, Writer};
use super::metrics::{JobMeter, Metrics};
use super::record::Record;
use super::upload::{Delivered, Upload};
use crate::cancel::Cancel;
use crate::config::RunnerConfig;
use crate::coordinator::{ApiError, Client, End, JobResponse, Observer};
use crate::executor::{Activity, Span};
use crate::http::is_in_the_clear;
use crate::job::files::Kind;
use crate::job::payload::{JobKey, JobPayload};
use crate::job::remote::Remote;
use crate::job::variables::switch;
use crate::job::{Job, Origin, Project};
use crate::logging::{Context, carried};
use crate::outcome::{Cause, Fault, InputError, Outcome, on_one_line};
use crate::plan::header;
use crate::secret::Secret;
use crate::trace::Trace;
use crate::trace::secrets::JobSecrets;
use crate::trace::tokens::Tokens;
use crate::worker::duration::time;
use crate::worker::host::{REVISION, VERSION};
use crate::worker::pool::{Event, Lease, Pool};
use crate::worker::recovery::Recovery;
use crate::worker::{Run, Worker};

/// How much of a log is kept unless the configuration says so, in kilobytes.
const OUTPUT_LIMIT: u64 = 4096;

/// Variables that let a log show more than the job's author may mean to.
const DEBUGGING: [&str; 2] = ["CI_DEBUG_TRACE", "CI_DEBUG_SERVICES"];

/// Lets those who decide look again.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// A runner of a coordinator.
pub struct Serving {
    /// Its settings.
    pub config: RunnerConfig,
    token: Secret,
    client: Client,
    /// The engines for its jobs.
    pub pool: Arc<Pool>,
    metrics: Arc<Metrics>,
    /// Git servers that were warned of.
    warned: Mutex<HashSet<String>>,
}

/// A job's project, name and stage, for a line of the runner's log.
fn title(job: &Job) -> String {
    let Project {
        namespace, name, ..
    } = &job.project;
    let title = format!(": {namespace}/{name}, {} (stage {})", job.name, job.stage);
    on_one_line(&title)
}

impl Serving {
    /// A runner with these settings. `wake` is called when an engine can take jobs that could not before.
    ///
    /// # Errors
    /// [`InputError`] for what is missing or wrong in them.
    pub fn new(
        config: RunnerConfig,
        metrics: Arc<Metrics>,
        recovery: Recovery,
        wake: Wake,
    ) -> Result<Self, InputError> {
        config.check_executor()?;
        let missing = |key: &str, what: &str| {
            InputError::new(format!(
                "{}the runner `{}` has no {key}; {what}",
                config.origin.prefix(key),
                config.name
            ))
        };
        if config.url.trim().is_empty() {
            let what = "write its coordinator's, url = \"https://…\"";
            return Err(missing("url", what));
        }
        if config.token.trim().is_empty() {
            let what = "`alloy-runner register` gets one and writes it down";
            return Err(missing("token", what));
        }
        let (counted, name) = (metrics.clone(), config.name.clone());
        let observer: Observer =
            Arc::new(move |endpoint, status| counted.request(&name, endpoint, status));
        let (counted, name) = (metrics.clone(), config.name.clone());
        let observe = move |engine: &str, event| {
            counted.engine(&name, engine, event);
            if event == Event::Answers {
                wake();
            }
        };
        let short_token = config.short_token();
        Ok(Self {
            client: client(&config, observer)?,
            token: Secret::new(config.token.trim()),
            pool: Pool::new(&config, recovery, &short_token, true, Box::new(observe))?,
            config,
            metrics,
            warned: Mutex::default(),
        })
    }

    /// Asks the coordinator for a job.
    ///
    /// # Errors
    /// [`ApiError`], and there is no job.
    pub fn ask(&self, last_update: Option<&str>) -> Result<JobResponse, ApiError> {
        self.client.request_job(&self.token, last_update)
    }

    /// What its lines in the runner's log begin with.
    #[must_use]
    pub fn context(&self) -> Context {
        Context {
            runner: self.config.name.clone(),
            ..Context::default()
        }
    }

    /// Runs a job that was handed out, on the engine that was taken for it. However it ends, the coordinator hears of
    /// it. `stop` stops it; `hurry` is triggered when this process ends and cannot wait for a coordinator in trouble.
    pub fn run(&self, out: JobPayload, engine: &mut Lease, stop: &Cancel, hurry: &Cancel) {
        let JobPayload { key, mut job } = out;
        let mut secrets = job
            .as_ref()
            .map_or_else(|_| Vec::new(), |job| job.every_secret());
        secrets.extend([self.token.clone(), key.token.clone()]);
        let secrets = JobSecrets::new(secrets, tokens(&key));
        let masked = secrets.clone();
        let context = Context {
            job: Some(key.id),
            mask: Some(Arc::new(move |text| masked.masked(text))),
            ..self.context()
        };
        let _entered = context.enter();
        let began = Instant::now();
        let what = job
            .as_ref()
            .map_or_else(|_| String::new(), |job| title(job));
        let debug = job.as_ref().is_ok_and(|job| self.may_debug(job));
        let log = Arc::new(JobLog::default());
        let cancel = stop.child(None);
        let canceling = Cancel::new();
        let record = self.begin_record(&key, debug, &log, engine);
        let end = |outcome: &Outcome| {
            if let Some((record, _)) = &record {
                record.end(outcome);
            }
            log.close(outcome);
        };
        let upload = Upload {
            client: &self.client,
            job: &key,
            log: &log,
            debug,
            canceling: &canceling,
            cancel: &cancel,
            hurry,
        };
        if let Err(error) = upload.begin() {
            if !error.is_temporary() {
                log::warn!(
                    "the job is not run, as the coordinator does not want it{what}: {error}"
                );
                return;
            }
            let error = format!("the coordinator was not told that the job begins: {error}");
            job = Err(InputError::new(error));
        }
        log::info!("job started{what}");
        let meter = self.metrics.job(&self.config.name);
        let (outcome, spans, delivered) = thread::scope(|scope| {
            let uploading = scope.spawn(carried(|| upload.run()));
            let (outcome, spans) = match job {
                Ok(job) => {
                    let stops: (&Cancel, &Cancel) = (&cancel, &canceling);
                    self.run_job(*job, (engine, stops), &log, &meter, &secrets, &end)
                }
                Err(error) => {
                    let outcome = Outcome::SystemFailure(error.to_string().into());
                    (self.give_up(outcome, &log, &secrets), Vec::new())
                }
            };
            end(&outcome);
            let delivered = uploading.join().unwrap_or_else(|panic| {
                log::error!("{}", Outcome::of_panic(&*panic).reason());
                // What it had sent before is not known.
                upload.at_once(&End::of(&outcome, &key))
            });
            (outcome, spans, delivered)
        });
        meter.ended(&outcome, &spans);
        let ended = format!("job ended after {}{what}", time(began.elapsed()));
        match delivered {
            Delivered::Yes => log::info!("{ended}: {outcome}"),
            Delivered::Gone => {
                log::warn!("{ended}, and the coordinator knows nothing of it: {outcome}");
            }
            Delivered::No(error) => {
                log::error!("{ended}, and the coordinator could not be told: {outcome}; {error}");
                // The next start tries again.
                if let Some((record, worker)) = record {
                    record.keep();
                    worker.leave_to_others();
                }
            }
        }
    }

    /// Writes down what recovery needs should this runner be killed. A job does not fail for want of that. It is among
    /// the files of a worker, which leaves it to the next process where that is needed.
    fn begin_record(
        &self,
        job: &JobKey,
        debug: bool,
        log: &JobLog,
        engine: &Lease,
    ) -> Option<(Record, Arc<Worker>)> {
        // Where there is no worker, there will be no job, and the attempt to run it says why.
        let worker = catch_unwind(AssertUnwindSafe(|| engine.worker()));
        let worker = worker.ok()?.ok()?;
        match Record::begin(&worker.records(), &self.config, job, debug) {
            Ok((record, file)) => {
                log.copy_to(file);
                Some((record, worker))
            }
            Err(error) => {
                log::warn!(
                    "{error:#}; should this runner be killed, the job would not be reported"
                );
                None
            }
        }
    }

    fn run_job(
        &self,
        mut job: Job,
        (engine, (cancel, canceling)): (&mut Lease, (&Cancel, &Cancel)),
        log: &Arc<JobLog>,
        meter: &JobMeter,
        secrets: &JobSecrets,
        end: &(dyn Fn(&Outcome) + Sync),
    ) -> (Outcome, Vec<Span>) {
        let mut run = || {
            if let (Some(base), Origin::Remote { remote, .. }) =
                (&self.config.clone_url, &mut job.sources.origin)
            {
                *remote = remote.moved_to(base)?;
            }
            if let Origin::Remote { remote, .. } = &job.sources.origin {
                self.warn_of_plain_clone(remote);
            }
            engine.run(
                &job,
                &Run {
                    secrets,
                    log: &|| Box::new(Writer(log.clone())),
                    output_limit: Some(
                        self.config
                            .output_limit
                            .filter(|limit| *limit > 0)
                            .unwrap_or(OUTPUT_LIMIT),
                    ),
                    in_background: &|_| {},
                    ended: end,
                    began: &|activity| {
                        panic_where_told(&job.name, activity);
                        meter.at(activity);
                    },
                    terminal: None,
                    cancel,
                    canceling,
                },
            )
        };
        match catch_unwind(AssertUnwindSafe(&mut run)) {
            Ok(Ok(report)) => (report.outcome, report.spans),
            Err(panic) => {
                let outcome = Outcome::of_panic(&*panic);
                (self.give_up(outcome, log, secrets), Vec::new())
            }
            Ok(Err(error)) => {
                let outcome = match error.downcast_ref::<InputError>() {
                    Some(error) => {
                        let wrong = Fault::new(Cause::Configuration, error.to_string());
                        Outcome::BuildError(wrong)
                    }
                    None => Outcome::SystemFailure(format!("{error:#}").into()),
                };
                (self.give_up(outcome, log, secrets), Vec::new())
            }
        }
    }

    /// Whether the job's log may show what a debugging shell or a service does: GitLab shows it to fewer people then. The
    /// values need not be those that count in the end, as it may be said too often.
    fn may_debug(&self, job: &Job) -> bool {
        let sent = job.variables.iter();
        let sent = sent.map(|variable| (variable.name.as_str(), variable.value.expose()));
        let own = self.config.environment.iter();
        let mut all = sent.chain(own.filter_map(|entry| entry.split_once('=')));
        all.any(|(name, value)| DEBUGGING.contains(&name) && switch(value) == Some(true))
    }

    /// Says, once for each git server, that passwords for it are sent without TLS.
    fn warn_of_plain_clone(&self, remote: &Remote) {
        if remote.login.is_none() || !is_in_the_clear(&remote.site) {
            return;
        }
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.insert(remote.site.clone()) {
            log::warn!(
                "sources are fetched from {} without TLS: who sits between reads the password, and can change them; \
                 give the repository an https address (clone_url)",
                on_one_line(&remote.site)
            );
        }
    }

    /// Writes why a job could not begin where people look for it.
    fn give_up(&self, outcome: Outcome, log: &Arc<JobLog>, secrets: &JobSecrets) -> Outcome {
        let trace = Trace::new(Box::new(Writer(log.clone())), secrets.masker(), true);
        let head = header::running_with(VERSION, REVISION);
        let on = header::of_runner(&self.config.name, &self.config.short_token());
        let written = [head, on]
            .iter()
            .try_for_each(|line| trace.line(line))
            .and_then(|()| trace.end(&trace.coloured("31;1", &outcome.to_string())));
        if let Err(error) = written {
            log::error!("cannot write the job's log: {error}");
        }
        outcome
    }
}

/// The tokens that the page of a job's coordinator masks.
fn tokens(key: &JobKey) -> Tokens {
    match key.kind {
        Kind::AlloyCi => Tokens::default(),
        Kind::GitLab => Tokens::of_gitlab(&key.features.token_mask_prefixes),
    }
}

/// In a debug build, for tests: a bug in the job that the variable names, `JOB:STAGE`, when that stage begins.
fn panic_where_told(job: &str, activity: Activity) {
    let stage = activity.key();
    if cfg!(debug_assertions)
        && std::env::var("ALLOY_RUNNER_TEST_PANIC").is_ok_and(|at| at == format!("{job}:{stage}"))
    {
        panic!("a bug in {job} at {stage}, for a test");
    }
}
