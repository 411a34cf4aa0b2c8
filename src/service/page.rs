//! The page that shows the metrics, and that the runner works.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::metrics::Metrics;

/// How long a client may take to send its request, and to take the answer.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// How many may ask at once.
const MOST_AT_ONCE: usize = 64;
/// The longest request that is read, in bytes.
const MAX_REQUEST: u64 = 8192;

/// A server of `/metrics` and `/healthz`, until it is dropped.
pub struct Page {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Page {
    /// Serves at `HOST:PORT`; no host is all of them.
    ///
    /// # Errors
    /// If the address cannot be listened at.
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
                let clients = Arc::new(Clients::default());
                for connection in listener.incoming() {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let answered = connection.and_then(|to| answer_aside(to, &metrics, &clients));
                    if let Err(error) = answered {
                        log::debug!("metrics: {error}");
                    }
                }
            })
            .with_context(failed)?;
        log::info!("metrics at http://{}/metrics", page.address);
        if page.address.ip().is_unspecified() {
            log::warn!(
                "metrics_server: `{address}` is on all networks of this host, and nothing asks for a password there; with \
                 127.0.0.1:{} only this host reads the metrics",
                page.address.port()
            );
        }
        Ok(page)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // The listener waits for one more, which tells it to look.
        if let Err(error) = TcpStream::connect_timeout(&self.address, TIME_LIMIT) {
            log::debug!("metrics: {error}");
        }
    }
}

/// The connections that are being answered, the oldest first.
#[derive(Default)]
struct Clients(Mutex<VecDeque<Arc<TcpStream>>>);

impl Clients {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<TcpStream>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one. If it is one too many, the oldest has to go: a request that is sent at once is answered long before,
    /// and those that send nothing keep no other one out.
    fn enter(self: &Arc<Self>, connection: TcpStream) -> Client {
        let connection = Arc::new(connection);
        let mut all = self.lock();
        let oldest = (all.len() >= MOST_AT_ONCE)
            .then(|| all.pop_front())
            .flatten();
        all.push_back(connection.clone());
        drop(all);
        if let Some(oldest) = oldest
            && let Err(error) = oldest.shutdown(Shutdown::Both)
        {
            log::debug!("metrics: {error}");
        }
        Client {
            connection,
            among: self.clone(),
        }
    }
}

/// One of [`Clients`], until it is dropped.
struct Client {
    connection: Arc<TcpStream>,
    among: Arc<Clients>,
}

impl Drop for Client {
    fn drop(&mut self) {
        let other = |one: &Arc<TcpStream>| !Arc::ptr_eq(one, &self.connection);
        self.among.lock().retain(other);
    }
}

/// Answers from a thread of its own, so that a slow client keeps no other one waiting.
fn answer_aside(
    connection: TcpStream,
    metrics: &Arc<Metrics>,
    clients: &Arc<Clients>,
) -> io::Result<()> {
    let client = clients.enter(connection);
    let metrics = metrics.clone();
    let work = move || {
        if let Err(error) = answer(&client.connection, &metrics) {
            log::debug!("metrics: {error}");
        }
    };
    thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(work)
        .map(drop)
}

/// Reads until the time is over, counted from the begin: a limit of each read alone could be stretched byte by byte.
struct InTime<'a> {
    connection: &'a TcpStream,
    end: Instant,
}

impl io::Read for InTime<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.connection.set_read_timeout(Some(left))?;
        io::Read::read(&mut self.connection, buffer)
    }
}

fn answer(connection: &TcpStream, metrics: &Metrics) -> io::Result<()> {
    connection.set_write_timeout(Some(TIME_LIMIT))?;
    let in_time = InTime {
        connection,
        end: Instant::now() + TIME_LIMIT,
    };
    let mut request = BufReader::new(io::Read::take(in_time, MAX_REQUEST));
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
    use super::{MOST_AT_ONCE, Metrics, Page, TIME_LIMIT};
    use crate::executor::Activity;
    use crate::outcome::Outcome;
    use crate::plan::StageKind;
    use crate::worker::pool::Event;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::Arc;
    use std::time::Instant;

    #[test]
    fn what_happens_is_counted_and_shown() {
        let metrics = Arc::new(Metrics::default());
        metrics.request("a", "jobs/request", "204");
        let job = metrics.job("a");
        job.at(Activity::Stage(StageKind::Script));
        job.at(Activity::Pull);
        let running = r#"alloy_runner_jobs{runner="a",state="running",stage="build"} "#;
        assert!(
            metrics.text().contains(&format!("{running}1")),
            "{}",
            metrics.text()
        );
        job.ended(&Outcome::SystemFailure("".into()), &[]);
        for event in [
            Event::JobBegan,
            Event::JobBegan,
            Event::JobEnded,
            Event::Rests,
        ] {
            metrics.engine("a", "context:big", event);
        }
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
            r#"alloy_runner_engine_jobs{runner="a",engine="context:big"} 1"#,
            r#"alloy_runner_engine_resting{runner="a",engine="context:big"} 1"#,
            r#"alloy_runner_job_duration_seconds_count{runner="a"} 1"#,
            "alloy_runner_version_info{version=\"",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        // However many say nothing, they keep no other one out, nor waiting.
        let began = Instant::now();
        let silent: Vec<_> = (0..2 * MOST_AT_ONCE)
            .map(|_| TcpStream::connect(page.address).expect("there"))
            .collect();
        assert!(get("/healthz").ends_with("\r\n\r\nok\n"));
        assert!(began.elapsed() < TIME_LIMIT, "{:?}", began.elapsed());
        drop(silent);
        assert!(get("/").starts_with("HTTP/1.1 404"));
    }
}
