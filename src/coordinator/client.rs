//! The only place that speaks HTTP to a coordinator, and how a job is requested.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use ureq::http::{Method, Request, Response, StatusCode};
use ureq::{Agent, AsSendBody, Body};
use uuid::Uuid;

use super::error::{Answer, ApiError};
use super::wire::{Info, JobResponse};
use crate::http::{self, Tls};
use crate::job::payload;
use crate::outcome::InputError;
use crate::secret::Secret;

/// How long an answer may take.
pub(super) const ANSWER: Duration = Duration::from_secs(15);
/// GitLab holds a job request open for up to 50 s.
const JOB_ANSWER: Duration = Duration::from_secs(75);
/// The slowest line that is waited for, in bytes a second.
const SLOWEST: usize = 50_000;
/// The longest job payload that is read, in bytes. No program could be given more variables than a quarter of it; and a
/// hostile one takes up to thirty times its length in memory.
const MAX_PAYLOAD: u64 = 8 * 1024 * 1024;

/// Hears of every request: which endpoint, and the status or `error`.
pub type Observer = Arc<dyn Fn(&'static str, &str) + Send + Sync>;

/// One coordinator.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    api: String,
    pub(super) info: Info,
    /// Which host this is.
    system_id: String,
    observer: Observer,
}

impl Client {
    /// A client of the coordinator at `url`. `system_id` tells this host from others that serve by the same token.
    ///
    /// # Errors
    /// [`InputError`] for an address that is none, or files that cannot be read.
    pub fn new(
        url: &str,
        tls: &Tls,
        (info, system_id): (Info, String),
        observer: Observer,
    ) -> Result<Self, InputError> {
        let user_agent = format!(
            "{} {} ({}; {}/{})",
            info.name, info.version, info.revision, info.platform, info.architecture
        );
        Ok(Self {
            agent: http::agent(tls, &user_agent)?,
            api: api(url)?,
            info,
            system_id,
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
        let mut body = self.json_of_host(token);
        if let Some(last_update) = last_update {
            body.insert("last_update".to_owned(), json!(last_update));
        }
        let endpoint = ("jobs/request", "jobs/request");
        let mut reply = self.send_json(&Method::POST, endpoint, body, JOB_ANSWER)?;
        match reply.status().as_u16() {
            201 => {
                let (body, torn) = reply.read(MAX_PAYLOAD);
                let payload = payload::read(&body, &self.api);
                Ok(payload.map_or_else(
                    || {
                        let what = torn.unwrap_or_else(|| "a job without id and token".to_owned());
                        JobResponse::Lost(reply.error(Answer::None(what)))
                    },
                    |payload| JobResponse::Job(Box::new(payload)),
                ))
            }
            200 | 204 => Ok(JobResponse::Nothing(reply.header("X-GitLab-Last-Update"))),
            409 => Ok(JobResponse::Nothing(last_update.map(str::to_owned))),
            _ => Err(reply.failed()),
        }
    }

    /// What every body begins with.
    pub(super) fn json(&self, token: &Secret) -> Map<String, Value> {
        Map::from_iter([
            ("token".to_owned(), json!(token.expose())),
            ("info".to_owned(), json!(self.info)),
        ])
    }

    /// The same where it matters which of a runner's hosts this is.
    pub(super) fn json_of_host(&self, token: &Secret) -> Map<String, Value> {
        let mut body = self.json(token);
        body.insert("system_id".to_owned(), json!(self.system_id));
        body
    }

    pub(super) fn send_json(
        &self,
        method: &Method,
        endpoint: (&'static str, &str),
        body: Map<String, Value>,
        limit: Duration,
    ) -> Result<Reply, ApiError> {
        let json = "application/json";
        let call = Call {
            method,
            endpoint,
            headers: &[("Content-Type", json), ("Accept", json)],
            limit,
        };
        self.send(&call, Value::Object(body).to_string())
    }

    /// Sends a request, and tells the observer what came of it.
    pub(super) fn send(&self, call: &Call, body: impl AsSendBody) -> Result<Reply, ApiError> {
        let (name, path) = call.endpoint;
        let url = format!("{}/{path}", self.api);
        let id = Uuid::new_v4().to_string();
        let sent = || {
            let mut request = Request::builder().method(call.method).uri(&url);
            for (name, value) in call.headers.iter().chain(&[("X-Request-Id", id.as_str())]) {
                request = request.header(*name, *value);
            }
            let request = self.agent.configure_request(request.body(body)?);
            let request = request.timeout_global(Some(call.limit)).build();
            self.agent.run(request)
        };
        let result = sent();
        // A query is no part of what is asked.
        let url = url.split('?').next().unwrap_or(&url);
        let tried = format!("{} {url}", call.method);
        match result {
            Ok(answer) => {
                (self.observer)(name, answer.status().as_str());
                Ok(Reply { tried, id, answer })
            }
            Err(error) => {
                (self.observer)(name, "error");
                let answer = match error {
                    ureq::Error::Http(error) => Answer::Unsendable(error.to_string()),
                    error => Answer::None(error.to_string()),
                };
                Err(ApiError {
                    tried,
                    answer,
                    request: id,
                })
            }
        }
    }
}

/// A request.
pub(super) struct Call<'a> {
    pub method: &'a Method,
    /// Its name for the observer, and its path.
    pub endpoint: (&'static str, &'a str),
    pub headers: &'a [(&'a str, &'a str)],
    /// How long it may take until all of the answer is there.
    pub limit: Duration,
}

/// An answer, and what it answers.
pub(super) struct Reply {
    tried: String,
    id: String,
    answer: Response<Body>,
}

impl Reply {
    pub fn status(&self) -> StatusCode {
        self.answer.status()
    }

    pub fn header(&self, name: &str) -> Option<String> {
        let value = self.answer.headers().get(name)?;
        Some(value.to_str().ok()?.trim().to_owned())
    }

    /// As much of the body as comes, and what kept the rest from coming.
    pub fn read(&mut self, most: u64) -> (Vec<u8>, Option<String>) {
        let mut body = Vec::new();
        let body_of = self.answer.body_mut();
        let mut reader = body_of.with_config().limit(most).reader();
        let error = reader.read_to_end(&mut body).err();
        (body, error.map(|error| error.to_string()))
    }

    /// The error where this is what an answer means.
    pub fn error(self, answer: Answer) -> ApiError {
        ApiError {
            tried: self.tried,
            answer,
            request: self.id,
        }
    }

    /// What an answer means that is no success.
    pub fn failed(self) -> ApiError {
        let seconds = || self.header("Retry-After")?.parse().ok();
        let answer = match self.status().as_u16() {
            status @ (401 | 403) => Answer::Refused(status),
            404 => Answer::Gone,
            413 => Answer::TooLarge,
            416 => {
                let range = self.header("Range");
                let there = range.as_deref().and_then(|range| range.split_once('-'));
                let there = there.and_then(|(_, last)| last.trim().parse().ok());
                there.map_or(Answer::Status(416, None), Answer::Rewind)
            }
            status @ (429 | 503) => Answer::Busy(status, seconds().map(Duration::from_secs)),
            status => Answer::Status(status, self.header("Location")),
        };
        self.error(answer)
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
pub(super) fn time_for(bytes: usize) -> Duration {
    ANSWER + Duration::from_secs((bytes / SLOWEST) as u64)
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
