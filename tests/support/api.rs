//! What a coordinator answers, as the API text has it, surprises included.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::coordinator::{GIT_PASSWORD, REGISTRATION_TOKEN};
use super::git_server;
use super::http::{Request, Response};

/// Whose habits it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Appends each patch behind a newline, answers `Range: 0-100`, and takes the final log for all of it.
    AlloyCi,
    /// Wants patches that fit together, and ignores the log of the final word.
    GitLab,
}

/// What a coordinator has heard of a job.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// The log by patches, as this kind of coordinator has it.
    pub trace: Vec<u8>,
    /// Each patch that was taken: its first byte, its content, and when.
    pub patches: Vec<(usize, Vec<u8>, Option<Instant>)>,
    /// `success` or `failed`, from the first final word.
    pub state: Option<String>,
    pub failure_reason: Option<String>,
    /// The log of the final word.
    pub log: String,
    /// How often a final word came.
    pub finals: u32,
}

impl std::fmt::Display for Heard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?} {:?}\n--- log\n{}",
            self.state, self.failure_reason, self.log
        )
    }
}

/// An answer that goes wrong.
pub enum Fault {
    /// The request has no effect.
    Before(Response),
    /// The request has its effect, only the answer is another one.
    After(Response),
    /// The request has its effect, and of the answer only so many bytes come through.
    Torn(usize),
    /// Of the log only so many bytes are left, which a patch behind them is told.
    Rewind(usize),
}

/// Decides which answers go wrong.
pub type Faults = Box<dyn FnMut(&Request) -> Option<Fault> + Send>;

#[derive(Default)]
pub struct State {
    pub queue: VecDeque<Value>,
    pub tokens: BTreeMap<u64, String>,
    pub heard: BTreeMap<u64, Heard>,
    pub job_status: BTreeMap<u64, String>,
    /// Jobs that are answered for with 404.
    pub gone: Vec<u64>,
    pub runners: Vec<String>,
    /// Method and path of each request, and when.
    pub requests: Vec<(String, Instant)>,
    pub registrations: Vec<Value>,
    pub faults: Option<Faults>,
    pub running: u32,
    pub most_running: u32,
    pub next_id: u64,
    pub last_updates: Vec<Option<String>>,
}

pub struct Shared {
    pub kind: Kind,
    pub root: PathBuf,
    pub state: Mutex<State>,
    pub changed: Condvar,
}

impl Shared {
    pub fn answer(&self, request: &Request) -> Response {
        if request.path.starts_with("/git/") {
            let login = STANDARD.encode(format!("x-access-token:{GIT_PASSWORD}"));
            return git_server::answer(&self.root, &format!("Basic {login}"), request);
        }
        let mut state = self.state.lock().expect("no panic");
        let seen = format!("{} {}", request.method, request.path);
        state.requests.push((seen, Instant::now()));
        self.changed.notify_all();
        let mut faults = state.faults.take();
        let fault = faults.as_mut().and_then(|faults| faults(request));
        state.faults = faults;
        match fault {
            Some(Fault::Before(response)) => return response,
            Some(Fault::Rewind(bytes)) => {
                for heard in state.heard.values_mut() {
                    heard.trace.truncate(bytes);
                }
            }
            _ => {}
        }
        let answer = self.good_answer(&mut state, request);
        self.changed.notify_all();
        match fault {
            Some(Fault::After(response)) => response,
            Some(Fault::Torn(bytes)) => Response {
                torn_at: Some(bytes),
                ..answer
            },
            _ => answer,
        }
    }

    fn good_answer(&self, state: &mut State, request: &Request) -> Response {
        let path: Vec<&str> = request
            .path
            .trim_start_matches("/api/v4/")
            .split('/')
            .collect();
        match (request.method.as_str(), &path[..]) {
            ("POST", ["runners"]) => register(state, &request.json()),
            ("DELETE", ["runners"]) => {
                let token = request.json()["token"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                let known = state.runners.contains(&token);
                state.runners.retain(|other| *other != token);
                Response::status(if known { 204 } else { 403 })
            }
            ("POST", ["runners", "verify"]) => {
                let known = is_known(state, &request.json());
                Response::status(if known { 200 } else { 403 })
            }
            ("POST", ["jobs", "request"]) => self.hand_out(state, &request.json()),
            ("PATCH", ["jobs", id, "trace"]) => {
                self.patch(state, id.parse().expect("an id"), request)
            }
            ("PUT", ["jobs", id]) => {
                self.finish(state, id.parse().expect("an id"), &request.json())
            }
            _ => Response::status(404),
        }
    }

    fn hand_out(&self, state: &mut State, body: &Value) -> Response {
        if !is_known(state, body) {
            return Response::status(if self.kind == Kind::AlloyCi { 401 } else { 403 });
        }
        assert_eq!(body["info"]["executor"], "docker");
        state
            .last_updates
            .push(body["last_update"].as_str().map(str::to_owned));
        let Some(job) = state.queue.pop_front() else {
            return match self.kind {
                Kind::AlloyCi => Response::status(204),
                Kind::GitLab => Response::status(204).with("X-GitLab-Last-Update", "update-17"),
            };
        };
        state
            .heard
            .insert(job["id"].as_u64().expect("an id"), Heard::default());
        state.running += 1;
        state.most_running = state.most_running.max(state.running);
        Response::json(201, &job)
    }

    fn patch(&self, state: &mut State, id: u64, request: &Request) -> Response {
        if state.gone.contains(&id) {
            return Response::status(404);
        }
        if state.tokens.get(&id).map(String::as_str) != Some(request.header("job-token")) {
            return Response::status(403);
        }
        let status = state
            .job_status
            .get(&id)
            .cloned()
            .unwrap_or_else(|| "running".to_owned());
        let Some(heard) = state.heard.get_mut(&id) else {
            return Response::status(404);
        };
        let range = request.header("content-range");
        let (first, last) = range.split_once('-').expect("a range");
        let first: usize = first.parse().expect("a number");
        let last: usize = last.parse().expect("a number");
        assert_eq!(
            last,
            first + request.body.len().saturating_sub(1),
            "{range}"
        );
        assert!(
            request.body.len() <= 1024 * 1024,
            "a patch of {}",
            request.body.len()
        );
        if self.kind == Kind::GitLab {
            if first != heard.trace.len() {
                return Response::status(416).with("Range", format!("0-{}", heard.trace.len()));
            }
        } else {
            heard.trace.push(b'\n');
        }
        heard.trace.extend_from_slice(&request.body);
        heard
            .patches
            .push((first, request.body.clone(), Some(Instant::now())));
        let there = if self.kind == Kind::AlloyCi {
            100
        } else {
            heard.trace.len()
        };
        Response::status(202)
            .with("Job-Status", status)
            .with("Range", format!("0-{there}"))
    }

    fn finish(&self, state: &mut State, id: u64, body: &Value) -> Response {
        if state.gone.contains(&id) {
            return Response::status(404);
        }
        if state.tokens.get(&id).map(String::as_str) != body["token"].as_str() {
            return Response::status(403);
        }
        let Some(heard) = state.heard.get_mut(&id) else {
            return Response::status(404);
        };
        let log = body["trace"].as_str().expect("a log");
        assert!(!log.contains('\0'), "PostgreSQL refuses NUL");
        heard.finals += 1;
        // Once it is final, later states are ignored.
        if heard.state.is_none() {
            heard.state = body["state"].as_str().map(str::to_owned);
            heard.failure_reason = body["failure_reason"].as_str().map(str::to_owned);
            heard.log = match self.kind {
                Kind::AlloyCi => log.to_owned(),
                Kind::GitLab => String::from_utf8_lossy(&heard.trace).into_owned(),
            };
            state.running -= 1;
        }
        Response::status(200)
    }
}

fn is_known(state: &State, body: &Value) -> bool {
    let token = body["token"].as_str().unwrap_or_default();
    state.runners.iter().any(|known| known == token)
}

fn register(state: &mut State, body: &Value) -> Response {
    let empty = |value: &Value| value.as_str().is_none_or(str::is_empty);
    if body["token"] != REGISTRATION_TOKEN
        || empty(&body["description"])
        || empty(&body["info"]["name"])
    {
        return Response::status(403);
    }
    state.registrations.push(body.clone());
    let token = format!("registered-{}-token", state.registrations.len());
    state.runners.push(token.clone());
    Response::json(
        201,
        &json!({"id": state.registrations.len(), "token": token}),
    )
}
