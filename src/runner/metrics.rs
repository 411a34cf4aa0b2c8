//! What monitoring can know of this process: counters, durations, and the page that shows them.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::host::{REVISION, VERSION};
use crate::executor::Span;
use crate::outcome::Outcome;

type Labels = Vec<(&'static str, String)>;

/// What runs beside the steps of a job, and is no step itself.
const BESIDE: &[&str] = &["pull", "service", "wait_for_services", "helper"];
/// Upper bounds of durations, in seconds: from a short step to a job of a day.
const SECONDS: [f64; 16] = [
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0,
    86400.0,
];
/// The longest wait for whoever asks.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest request that is read, in bytes.
const MAX_REQUEST: u64 = 8192;

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
            job_seconds: seconds(),
            stage_seconds: seconds(),
        };
        let Self {
            jobs,
            ended,
            failed,
            requests,
            job_seconds,
            stage_seconds,
            ..
        } = &metrics;
        registry.register("jobs", "Jobs there are, by state and stage", jobs.clone());
        registry.register("ended_jobs", "Jobs that ended, by state", ended.clone());
        registry.register("failed_jobs", "Jobs that failed, by reason", failed.clone());
        let help = "Requests to the coordinator, by endpoint and status";
        registry.register("api_requests", help, requests.clone());
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
    pub fn at(&self, stage: &'static str) {
        if BESIDE.contains(&stage) {
            return;
        }
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
        let (state, reason) = match outcome {
            Outcome::Success => ("success", None),
            Outcome::Canceled => ("canceled", None),
            Outcome::ScriptFailure { .. } | Outcome::BuildError(_) => {
                ("failed", Some("script_failure"))
            }
            Outcome::TimedOut(_) => ("failed", Some("timeout")),
            Outcome::SystemFailure(_) => ("failed", Some("runner_system_failure")),
        };
        let Metrics {
            ended,
            failed,
            job_seconds,
            stage_seconds,
            ..
        } = &*self.metrics;
        ended.get_or_create(&self.labels(&[("state", state)])).inc();
        if let Some(reason) = reason {
            failed
                .get_or_create(&self.labels(&[("reason", reason)]))
                .inc();
        }
        let seconds = self.began.elapsed().as_secs_f64();
        job_seconds
            .get_or_create(&self.labels(&[]))
            .observe(seconds);
        for span in spans {
            let labels = self.labels(&[("stage", span.name)]);
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

/// A server of `/metrics` and `/healthz`, until it is dropped.
pub struct Page {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Page {
    /// Serves at `HOST:PORT`; no host is all of them.
    ///
    /// # Errors
    /// If nobody can listen there.
    pub fn serve(address: &str, metrics: Arc<Metrics>) -> Result<Self> {
        let failed = || format!("metrics_server: cannot listen at `{address}`");
        let full = if address.starts_with(':') {
            format!("0.0.0.0{address}")
        } else {
            address.to_owned()
        };
        let addresses: Vec<SocketAddr> = full.to_socket_addrs().with_context(failed)?.collect();
        let listener = TcpListener::bind(&addresses[..]).with_context(failed)?;
        let page = Self {
            address: listener.local_addr().with_context(failed)?,
            stop: Arc::default(),
        };
        let stop = page.stop.clone();
        thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || {
                for connection in listener.incoming() {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    if let Err(error) = connection.and_then(|to| answer(&to, &metrics)) {
                        log::debug!("metrics: {error}");
                    }
                }
            })
            .with_context(failed)?;
        log::info!("metrics at http://{}/metrics", page.address);
        Ok(page)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // The listener waits for one more, which tells it to look.
        if let Err(error) = TcpStream::connect_timeout(&self.address, PATIENCE) {
            log::debug!("metrics: {error}");
        }
    }
}

fn answer(connection: &TcpStream, metrics: &Metrics) -> io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let mut request = BufReader::new(io::Read::take(connection, MAX_REQUEST));
    let mut line = String::new();
    request.read_line(&mut line)?;
    // To its end: a connection that is closed with something unread is reset, and the answer lost.
    let mut header = String::new();
    while request.read_line(&mut header)? > 2 {
        header.clear();
    }
    let mut words = line.split_whitespace();
    let (method, target) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let path = target.split('?').next().unwrap_or_default();
    let (status, kind, body) = match (method, path) {
        ("GET" | "HEAD", "/metrics") => (
            "200 OK",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            metrics.text(),
        ),
        ("GET" | "HEAD", "/healthz") => ("200 OK", "text/plain", "ok\n".to_owned()),
        ("GET" | "HEAD", _) => ("404 Not Found", "text/plain", "see /metrics\n".to_owned()),
        _ => (
            "405 Method Not Allowed",
            "text/plain",
            "GET only\n".to_owned(),
        ),
    };
    let shown = if method == "HEAD" { "" } else { body.as_str() };
    let mut to = connection;
    write!(
        to,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{shown}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::{Metrics, Page};
    use crate::outcome::Outcome;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::Arc;

    #[test]
    fn what_happens_is_counted_and_shown() {
        let metrics = Arc::new(Metrics::default());
        metrics.request("a", "jobs/request", "204");
        let job = metrics.job("a");
        job.at("build");
        job.at("pull");
        let running = r#"alloy_runner_jobs{runner="a",state="running",stage="build"} "#;
        assert!(
            metrics.text().contains(&format!("{running}1")),
            "{}",
            metrics.text()
        );
        job.ended(&Outcome::SystemFailure(String::new()), &[]);
        drop(job);
        let page = Page::serve("127.0.0.1:0", metrics).expect("a port");
        let get = |path: &str| {
            let mut connection = TcpStream::connect(page.address).expect("there");
            write!(connection, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").expect("written");
            let mut answer = String::new();
            connection.read_to_string(&mut answer).expect("read");
            answer
        };
        let text = get("/metrics");
        for line in [
            &format!("{running}0"),
            r#"alloy_runner_failed_jobs_total{runner="a",reason="runner_system_failure"} 1"#,
            r#"alloy_runner_api_requests_total{runner="a",endpoint="jobs/request",status="204"} 1"#,
            r#"alloy_runner_job_duration_seconds_count{runner="a"} 1"#,
            "alloy_runner_version_info{version=\"",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(get("/healthz").ends_with("\r\n\r\nok\n"));
        assert!(get("/").starts_with("HTTP/1.1 404"));
    }
}
