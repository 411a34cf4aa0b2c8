//! What a coordinator hears of a job: that it begins, its log, and how it ended.

use std::time::Duration;

use serde_json::{Map, Value, json};
use ureq::SendBody;
use ureq::http::{Method, StatusCode};

use super::client::{ANSWER, Call, Client, time_for};
use super::error::{Answer, ApiError};
use super::final_update::{FinalUpdateBody, fitting};
use super::wire::{End, Patched, Wish};
use crate::job::files::Kind;
use crate::job::payload::JobKey;

/// Longer bodies than this are refused by AlloyCI.
const MAX_BODY: usize = 99_000_000;
/// How GitLab says after how many seconds it wants to hear more.
const INTERVAL: &str = "X-GitLab-Trace-Update-Interval";

impl Client {
    /// Says that a job begins. Until GitLab hears that, it has the job as pending, and gives it to another runner in the
    /// end. `AlloyCI` would begin to count the job's time anew.
    ///
    /// # Errors
    /// [`ApiError`]: the job must not begin, unless trying again helps.
    pub fn begin(&self, job: &JobKey) -> Result<(), ApiError> {
        let path = format!("jobs/{}", job.id);
        let mut body = self.json(&job.token);
        body.insert("state".to_owned(), json!("running"));
        let reply = self.send_json(&Method::PUT, ("jobs/update", &path), body, ANSWER)?;
        if reply.status().is_success() {
            return Ok(());
        }
        Err(reply.failed())
    }

    /// Sends a part of a job's log, which begins with byte `first` of it. An empty one only asks whether the
    /// job is to go on. `debug`: the log may show what a debugging shell does.
    ///
    /// # Errors
    /// [`ApiError`], with [`Answer::Rewind`] where the coordinator has another part of the log than we think.
    pub fn patch(
        &self,
        job: &JobKey,
        first: usize,
        part: &[u8],
        debug: bool,
    ) -> Result<Patched, ApiError> {
        let mut path = format!("jobs/{}/trace", job.id);
        if job.kind == Kind::GitLab {
            path.push_str(if debug {
                "?debug_trace=true"
            } else {
                "?debug_trace=false"
            });
        }
        let last = first + part.len().saturating_sub(1);
        let call = Call {
            method: &Method::PATCH,
            endpoint: ("jobs/trace", &path),
            headers: &[
                ("Content-Type", "text/plain"),
                ("Job-Token", job.token.expose()),
                ("Content-Range", &format!("{first}-{last}")),
            ],
            limit: time_for(part.len()),
        };
        let reply = self.send(&call, part)?;
        if !reply.status().is_success() {
            return Err(reply.failed());
        }
        let seconds = reply
            .header(INTERVAL)
            .and_then(|seconds| seconds.parse().ok());
        Ok(Patched {
            wish: Wish::of(reply.header("Job-Status")),
            interval: seconds.map(Duration::from_secs),
        })
    }

    /// Reports how a job ended. `AlloyCI` gets the whole log with it; where that is too much, the end of it. GitLab has the
    /// log by patches, and gets its checksum and size.
    ///
    /// # Errors
    /// [`ApiError`], with [`Answer::NotYet`] where GitLab wants to be asked again, and [`Answer::OtherLog`] where what it
    /// has of the log is wrong.
    pub fn finish(&self, job: &JobKey, end: &End, log: &str) -> Result<(), ApiError> {
        let mut head = self.json(&job.token);
        let state = match end.failure {
            None => "success",
            Some(_) => "failed",
        };
        head.insert("state".to_owned(), json!(state));
        if let Some(reason) = &end.failure {
            head.insert("failure_reason".to_owned(), json!(reason));
        }
        if let Some(exit_code) = end.exit_code {
            head.insert("exit_code".to_owned(), json!(exit_code));
        }
        match job.kind {
            Kind::AlloyCi => self.finish_with_log(job.id, &head, log),
            Kind::GitLab => self.finish_with_checksum(job.id, head, log),
        }
    }

    fn finish_with_checksum(
        &self,
        id: u64,
        mut body: Map<String, Value>,
        log: &str,
    ) -> Result<(), ApiError> {
        let checksum = format!("crc32:{:08x}", crc32fast::hash(log.as_bytes()));
        let output = json!({"checksum": checksum, "bytesize": log.len()});
        body.insert("output".to_owned(), output);
        let path = format!("jobs/{id}");
        let reply = self.send_json(&Method::PUT, ("jobs/update", &path), body, ANSWER)?;
        match reply.status() {
            StatusCode::ACCEPTED => {
                let seconds = reply
                    .header(INTERVAL)
                    .and_then(|seconds| seconds.parse().ok());
                Err(reply.error(Answer::NotYet(seconds.map(Duration::from_secs))))
            }
            StatusCode::PRECONDITION_FAILED => Err(reply.error(Answer::OtherLog)),
            status if status.is_success() => Ok(()),
            _ => Err(reply.failed()),
        }
    }

    fn finish_with_log(
        &self,
        id: u64,
        head: &Map<String, Value>,
        log: &str,
    ) -> Result<(), ApiError> {
        let path = format!("jobs/{id}");
        let mut most = MAX_BODY;
        loop {
            let log = fitting(head, log, most);
            let mut body = FinalUpdateBody::new(head, &log);
            let length = body.len();
            let call = Call {
                method: &Method::PUT,
                endpoint: ("jobs/update", &path),
                headers: &[
                    ("Content-Type", "application/json"),
                    ("Content-Length", &length.to_string()),
                ],
                limit: time_for(length),
            };
            let reply = self.send(&call, SendBody::from_reader(&mut body))?;
            match reply.status() {
                status if status.is_success() => return Ok(()),
                StatusCode::PAYLOAD_TOO_LARGE if !log.is_empty() => most = length.min(most) / 2,
                _ => return Err(reply.failed()),
            }
        }
    }
}
