//! The only place that speaks HTTP to a coordinator.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use ureq::http::{HeaderMap, Method, Request, Response, StatusCode};
use ureq::{Agent, Body, SendBody};

use super::error::{Answer, ApiError};
use super::final_update::{FinalUpdateBody, fitting};
use super::wire::{FinalUpdate, Info, JobResponse, Patched, Registration};
use crate::http::{self, Tls};
use crate::job::payload;
use crate::outcome::InputError;
use crate::secret::Secret;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(15);
/// GitLab holds a job request open for up to 50 s.
const JOB_ANSWER: Duration = Duration::from_secs(75);
/// The slowest line that is waited for, in bytes a second.
const SLOWEST: usize = 50_000;
/// The longest job payload that is read, in bytes. No program could be given more variables than a quarter of it; and a
/// hostile one takes up to thirty times its length in memory.
const MAX_PAYLOAD: u64 = 8 * 1024 * 1024;
/// The longest other answer that is read, in bytes.
const MAX_ANSWER: u64 = 1024 * 1024;
/// Longer bodies than this are refused by AlloyCI.
const MAX_BODY: usize = 99_000_000;

/// Hears of every request: which endpoint, and the status or `error`.
pub type Observer = Arc<dyn Fn(&'static str, &str) + Send + Sync>;

/// One coordinator.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    api: String,
    info: Info,
    observer: Observer,
}

impl Client {
    /// A client of the coordinator at `url`.
    ///
    /// # Errors
    /// [`InputError`] for an address that is none, or files that cannot be read.
    pub fn new(url: &str, tls: &Tls, info: Info, observer: Observer) -> Result<Self, InputError> {
        let user_agent = format!(
            "{} {} ({}; {}/{})",
            info.name, info.version, info.revision, info.platform, info.architecture
        );
        Ok(Self {
            agent: http::agent(tls, &user_agent)?,
            api: api(url)?,
            info,
            observer,
        })
    }

    /// Asks for a job. `last_update` is what the last answer said.
    ///
    /// # Errors
    /// [`ApiError`], and there is no job.
    pub fn request_job(
        &self,
        token: &Secret,
        last_update: Option<&str>,
    ) -> Result<JobResponse, ApiError> {
        let mut body = self.json(token);
        if let Some(last_update) = last_update {
            body.insert("last_update".to_owned(), json!(last_update));
        }
        let endpoint = ("jobs/request", "jobs/request");
        let mut answer = self.send_json(&Method::POST, endpoint, body, JOB_ANSWER)?;
        let tried = self.tried(&Method::POST, "jobs/request");
        match answer.status().as_u16() {
            201 => {
                let (body, torn) = read(&mut answer, MAX_PAYLOAD);
                Ok(payload::read(&body, &self.api).map_or_else(
                    || {
                        let what = torn.unwrap_or_else(|| "a job without id and token".to_owned());
                        JobResponse::Lost(ApiError {
                            tried,
                            answer: Answer::None(what),
                        })
                    },
                    |payload| JobResponse::Job(Box::new(payload)),
                ))
            }
            200 | 204 => Ok(JobResponse::Nothing(header(
                answer.headers(),
                "X-GitLab-Last-Update",
            ))),
            409 => Ok(JobResponse::Nothing(last_update.map(str::to_owned))),
            _ => Err(failed(tried, &answer)),
        }
    }

    /// Sends a part of a job's log, which begins with byte `first` of it. An empty one only asks whether the
    /// job is to go on.
    ///
    /// # Errors
    /// [`ApiError`], with [`Answer::Rewind`] where the coordinator has another part of the log than we think.
    pub fn patch(
        &self,
        id: u64,
        token: &Secret,
        first: usize,
        part: &[u8],
    ) -> Result<Patched, ApiError> {
        let path = format!("jobs/{id}/trace");
        let last = first + part.len().saturating_sub(1);
        let request = Request::builder()
            .method(Method::PATCH)
            .uri(format!("{}/{path}", self.api))
            .header("Content-Type", "text/plain")
            .header("Job-Token", token.expose())
            .header("Content-Range", format!("{first}-{last}"))
            .body(part);
        let limit = time_for(part.len());
        let answer = self.observed(&Method::PATCH, ("jobs/trace", &path), |agent| {
            let request = agent
                .configure_request(request?)
                .timeout_global(Some(limit))
                .build();
            agent.run(request)
        })?;
        match answer.status().as_u16() {
            200..=299 => Ok(Patched {
                stop: header(answer.headers(), "Job-Status").filter(|status| {
                    ["cancelled", "canceled", "failed"].contains(&status.as_str())
                }),
            }),
            _ => Err(failed(self.tried(&Method::PATCH, &path), &answer)),
        }
    }

    /// Reports how a job ended, with its whole log; where that is too much, with the end of it.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn finish(&self, id: u64, token: &Secret, update: FinalUpdate) -> Result<(), ApiError> {
        let path = format!("jobs/{id}");
        let mut head = self.json(token);
        let state = match update.failure {
            None => "success",
            Some(_) => "failed",
        };
        head.insert("state".to_owned(), json!(state));
        if let Some(reason) = update.failure {
            head.insert("failure_reason".to_owned(), json!(reason.word()));
        }
        let mut most = MAX_BODY;
        loop {
            let log = fitting(&head, update.log, most);
            let mut body = FinalUpdateBody::new(&head, &log);
            let length = body.len();
            let request = Request::builder()
                .method(Method::PUT)
                .uri(format!("{}/{path}", self.api))
                .header("Content-Type", "application/json")
                .header("Content-Length", length)
                .body(SendBody::from_reader(&mut body));
            let answer = self.observed(&Method::PUT, ("jobs/update", &path), |agent| {
                let request = agent
                    .configure_request(request?)
                    .timeout_global(Some(time_for(length)))
                    .build();
                agent.run(request)
            })?;
            match answer.status() {
                status if status.is_success() => return Ok(()),
                StatusCode::PAYLOAD_TOO_LARGE if !log.is_empty() => most = length.min(most) / 2,
                _ => return Err(failed(self.tried(&Method::PUT, &path), &answer)),
            }
        }
    }

    /// Makes a runner known and returns its token.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn register(&self, registration: &Registration) -> Result<Secret, ApiError> {
        let Value::Object(body) = json!({
            "token": registration.token,
            "description": registration.description,
            "tag_list": registration.tags,
            "run_untagged": registration.run_untagged,
            "locked": registration.locked,
            "info": self.info,
        }) else {
            unreachable!("an object was written")
        };
        let mut answer = self.send_json(&Method::POST, ("runners", "runners"), body, ANSWER)?;
        let tried = self.tried(&Method::POST, "runners");
        if !answer.status().is_success() {
            return Err(failed(tried, &answer));
        }
        let (body, _) = read(&mut answer, MAX_ANSWER);
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        answer["token"]
            .as_str()
            .map(Secret::new)
            .ok_or_else(|| ApiError {
                tried,
                answer: Answer::None("the answer has no token".to_owned()),
            })
    }

    /// Makes a runner unknown.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn unregister(&self, token: &Secret) -> Result<(), ApiError> {
        self.runner(&Method::DELETE, "runners", token)
    }

    /// Asks whether a runner is known.
    ///
    /// # Errors
    /// [`ApiError`], which is a refusal where it is not.
    pub fn verify(&self, token: &Secret) -> Result<(), ApiError> {
        self.runner(&Method::POST, "runners/verify", token)
    }

    fn runner(&self, method: &Method, path: &'static str, token: &Secret) -> Result<(), ApiError> {
        let answer = self.send_json(method, (path, path), self.json(token), ANSWER)?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(failed(self.tried(method, path), &answer))
    }

    /// What every body begins with.
    fn json(&self, token: &Secret) -> Map<String, Value> {
        Map::from_iter([
            ("token".to_owned(), json!(token.expose())),
            ("info".to_owned(), json!(self.info)),
        ])
    }

    fn send_json(
        &self,
        method: &Method,
        endpoint: (&'static str, &str),
        body: Map<String, Value>,
        limit: Duration,
    ) -> Result<Response<Body>, ApiError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/{}", self.api, endpoint.1))
            .header("Content-Type", "application/json")
            .header("Accept", "application/json")
            .body(Value::Object(body).to_string());
        self.observed(method, endpoint, |agent| {
            let request = agent
                .configure_request(request?)
                .timeout_global(Some(limit))
                .build();
            agent.run(request)
        })
    }

    /// Sends, and tells the observer what came of it. `endpoint` is its name for the observer and its path.
    fn observed(
        &self,
        method: &Method,
        (name, path): (&'static str, &str),
        send: impl FnOnce(&Agent) -> Result<Response<Body>, ureq::Error>,
    ) -> Result<Response<Body>, ApiError> {
        match send(&self.agent) {
            Ok(answer) => {
                (self.observer)(name, answer.status().as_str());
                Ok(answer)
            }
            Err(error) => {
                (self.observer)(name, "error");
                Err(ApiError {
                    tried: self.tried(method, path),
                    answer: match error {
                        ureq::Error::Http(error) => Answer::Unsendable(error.to_string()),
                        error => Answer::None(error.to_string()),
                    },
                })
            }
        }
    }

    fn tried(&self, method: &Method, path: &str) -> String {
        format!("{method} {}/{path}", self.api)
    }
}

/// `<url>/api/v4`: slashes at the end of `url` do not count, nor does the `/ci` of old configurations.
fn api(url: &str) -> Result<String, InputError> {
    match http::base_url(url) {
        Some(base) => {
            let base = base.strip_suffix("/ci").unwrap_or(base);
            Ok(format!("{}/api/v4", base.trim_end_matches('/')))
        }
        None => Err(InputError::new(format!(
            "the url `{}` must look like https://alloy-ci.example.org",
            url.escape_debug()
        ))),
    }
}

/// How long sending this much may take.
fn time_for(bytes: usize) -> Duration {
    ANSWER + Duration::from_secs((bytes / SLOWEST) as u64)
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.trim().to_owned())
}

/// What an answer means that is no success.
fn failed(tried: String, answer: &Response<Body>) -> ApiError {
    let seconds = || header(answer.headers(), "Retry-After")?.parse().ok();
    let answer = match answer.status().as_u16() {
        status @ (401 | 403) => Answer::Refused(status),
        404 => Answer::Gone,
        413 => Answer::TooLarge,
        416 => {
            let range = header(answer.headers(), "Range");
            let there = range.as_deref().and_then(|range| range.split_once('-'));
            let there = there.and_then(|(_, last)| last.trim().parse().ok());
            there.map_or(Answer::Status(416, None), Answer::Rewind)
        }
        status @ (429 | 503) => Answer::Busy(status, seconds().map(Duration::from_secs)),
        status => Answer::Status(status, header(answer.headers(), "Location")),
    };
    ApiError { tried, answer }
}

/// As much of an answer's body as comes, and what kept the rest from coming.
fn read(answer: &mut Response<Body>, most: u64) -> (Vec<u8>, Option<String>) {
    let mut body = Vec::new();
    let mut reader = answer.body_mut().with_config().limit(most).reader();
    let error = reader.read_to_end(&mut body).err();
    (body, error.map(|error| error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::api;

    #[test]
    fn addresses_of_old_configurations_work() {
        for (url, want) in [
            ("https://host", "https://host/api/v4"),
            ("http://host:8080//", "http://host:8080/api/v4"),
            ("https://host/ci", "https://host/api/v4"),
            ("https://host/base/ci/", "https://host/base/api/v4"),
        ] {
            assert_eq!(api(url).expect(url), want);
        }
        for url in ["", "host", "ftp://host", "https://", "https://u:p@host"] {
            assert!(api(url).is_err(), "{url}");
        }
    }
}
