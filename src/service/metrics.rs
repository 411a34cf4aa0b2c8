//! What monitoring can know of this process: counters, durations, and the page that shows them.

use std::sync::Arc;
use std::time::Instant;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::executor::{Activity, Span};
use crate::outcome::Outcome;
use crate::worker::host::{REVISION, VERSION};
use crate::worker::pool::Event;

type Labels = Vec<(&'static str, String)>;

/// Upper bounds of durations, in seconds: from a short step to a job of a day.
const SECONDS: [f64; 16] = [
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0,
    86400.0,
];

fn histogram() -> Histogram {
    Histogram::new(SECONDS)
}

/// The numbers. Everything is labelled with the runner's name.
pub struct Metrics {
    registry: Registry,
    jobs: Family<Labels, Gauge>,
    ended: Family<Labels, Counter>,
    failed: Family<Labels, Counter>,
    requests: Family<Labels, Counter>,
    engine_jobs: Family<Labels, Gauge>,
    resting_engines: Family<Labels, Gauge>,
    job_seconds: Family<Labels, Histogram>,
    stage_seconds: Family<Labels, Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("alloy_runner");
        let version = [("version", VERSION), ("revision", REVISION)];
        registry.register("version", "This program", Info::new(version.to_vec()));
        let seconds = || Family::new_with_constructor(histogram as fn() -> Histogram);
        let metrics = Self {
            registry: Registry::default(),
            jobs: Family::default(),
            ended: Family::default(),
            failed: Family::default(),
            requests: Family::default(),
            engine_jobs: Family::default(),
            resting_engines: Family::default(),
            job_seconds: seconds(),
            stage_seconds: seconds(),
        };
        let Self {
            jobs,
            ended,
            failed,
            requests,
            engine_jobs,
            resting_engines,
            job_seconds,
            stage_seconds,
            ..
        } = &metrics;
        registry.register("jobs", "Jobs there are, by state and stage", jobs.clone());
        registry.register("ended_jobs", "Jobs that ended, by state", ended.clone());
        registry.register("failed_jobs", "Jobs that failed, by reason", failed.clone());
        let help = "Requests to the coordinator, by endpoint and status";
        registry.register("api_requests", help, requests.clone());
        let help = "Jobs that run, by engine";
        registry.register("engine_jobs", help, engine_jobs.clone());
        let help = "1: the engine does not answer and gets no jobs";
        registry.register("engine_resting", help, resting_engines.clone());
        let help = "How long jobs took";
        registry.register("job_duration_seconds", help, job_seconds.clone());
        let help = "How long the stages of jobs took";
        registry.register("job_stage_duration_seconds", help, stage_seconds.clone());
        Self {
            registry,
            ..metrics
        }
    }
}

impl Metrics {
    /// Counts a request to a coordinator.
    pub fn request(&self, runner: &str, endpoint: &str, status: &str) {
        let labels = vec![
            ("runner", runner.to_owned()),
            ("endpoint", endpoint.to_owned()),
            ("status", status.to_owned()),
        ];
        self.requests.get_or_create(&labels).inc();
    }

    /// Counts what becomes of an engine of a runner's pool.
    pub fn engine(&self, runner: &str, engine: &str, event: Event) {
        let labels = vec![("runner", runner.to_owned()), ("engine", engine.to_owned())];
        let jobs = self.engine_jobs.get_or_create_owned(&labels);
        let resting = self.resting_engines.get_or_create_owned(&labels);
        match event {
            Event::JobBegan => drop(jobs.inc()),
            Event::JobEnded => drop(jobs.dec()),
            Event::Rests => drop(resting.set(1)),
            Event::Answers | Event::Retired => drop(resting.set(0)),
        }
    }

    /// A job that begins.
    #[must_use]
    pub fn job(self: &Arc<Self>, runner: &str) -> JobMeter {
        let meter = JobMeter {
            metrics: self.clone(),
            runner: runner.to_owned(),
            began: Instant::now(),
            stage: std::sync::Mutex::new("received"),
        };
        meter.gauge("received").inc();
        meter
    }

    /// All of it, in the text format of Prometheus.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to memory cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// What is known of a job while it runs.
pub struct JobMeter {
    metrics: Arc<Metrics>,
    runner: String,
    began: Instant,
    stage: std::sync::Mutex<&'static str>,
}

impl JobMeter {
    fn labels(&self, more: &[(&'static str, &str)]) -> Labels {
        let more = more
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        std::iter::once(("runner", self.runner.clone()))
            .chain(more)
            .collect()
    }

    fn gauge(&self, stage: &'static str) -> Gauge {
        let labels = self.labels(&[("state", "running"), ("stage", stage)]);
        self.metrics.jobs.get_or_create_owned(&labels)
    }

    /// The job is at this step now.
    pub fn at(&self, activity: Activity) {
        if activity.is_within_a_step() {
            return;
        }
        let stage = activity.key();
        let mut now = self
            .stage
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        self.gauge(stage).inc();
        self.gauge(*now).dec();
        *now = stage;
    }

    /// The job has ended.
    pub fn ended(&self, outcome: &Outcome, spans: &[Span]) {
        let state = outcome.job_status();
        let Metrics {
            ended,
            failed,
            job_seconds,
            stage_seconds,
            ..
        } = &*self.metrics;
        ended.get_or_create(&self.labels(&[("state", state)])).inc();
        if let Some(reason) = outcome.counted_reason() {
            failed
                .get_or_create(&self.labels(&[("reason", reason)]))
                .inc();
        }
        let seconds = self.began.elapsed().as_secs_f64();
        job_seconds
            .get_or_create(&self.labels(&[]))
            .observe(seconds);
        for span in spans {
            let labels = self.labels(&[("stage", span.activity.key())]);
            stage_seconds
                .get_or_create(&labels)
                .observe(span.took.as_secs_f64());
        }
    }
}

impl Drop for JobMeter {
    fn drop(&mut self) {
        let now = *self
            .stage
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        self.gauge(now).dec();
    }
}
