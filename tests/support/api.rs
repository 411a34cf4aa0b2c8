//! What a coordinator answers, as the API text has it, surprises included.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::coordinator::{GIT_PASSWORD, REGISTRATION_TOKEN};
use super::git_server;
use super::gitlab_log::without_times;
use super::http::{Request, Response};

/// Whose habits it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Appends each patch behind a newline, answers `Range: 0-100`, and takes the final log for all of it.
    AlloyCi,
    /// Wants what GitLab does: a job is pending until the runner says that it begins, patches fit together, and the final
    /// word has the log's checksum and size, but no log.
    GitLab,
}

/// How many seconds a runner is to wait.
const INTERVAL: &str = "X-GitLab-Trace-Update-Interval";

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
    /// The log of the final word; of GitLab the trace, without the times of its lines.
    pub log: String,
    /// How often a final word came.
    pub finals: u32,
    /// How often a final word was refused, or put off, as it does not fit the log.
    pub unfit: u32,
    /// How often the runner said that the job begins.
    pub begins: u32,
    /// Of the first final word.
    pub exit_code: Option<i64>,
    /// The last patch said that the log may hold what a debugging shell shows.
    pub debug_trace: bool,
}

impl std::fmt::Display for Heard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?} {:?} {:?}\n--- log\n{}",
            self.state, self.failure_reason, self.exit_code, self.log
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
    /// What a job needs that a runner may not announce.
    pub needs: BTreeMap<u64, Vec<String>>,
    /// Jobs whose payload shows that it is GitLab's.
    pub strict: BTreeSet<u64>,
    /// The `info` of the last job request.
    pub info: Value,
    /// The `system_id` of all requests that need one.
    pub system_ids: BTreeSet<String>,
    /// What each request was known by.
    pub request_ids: BTreeSet<String>,
    /// How many seconds a runner is to wait between two patches.
    pub interval: Option<u64>,
    /// How many final words are put off.
    pub puts_off: u32,
    /// When tokens expire that are given or verified from now on.
    pub expires: Option<String>,
    /// Registration tokens are switched off.
    pub registers_nobody: bool,
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
        let id = request.header("x-request-id").to_owned();
        let answer = if id.len() < 26 || !state.request_ids.insert(id) {
            Response::status(400)
        } else {
            self.good_answer(&mut state, request)
        };
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
            ("POST", ["runners"]) if state.registers_nobody => Response::status(410),
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
            ("DELETE", ["runners", "managers"]) => {
                let body = request.json();
                let known = is_known(state, &body) && has_system(state, &body);
                Response::status(if known { 204 } else { 403 })
            }
            ("POST", ["runners", "verify"]) => {
                let body = request.json();
                if !is_known(state, &body) {
                    return Response::status(403);
                }
                match self.kind {
                    Kind::AlloyCi => Response::status(200),
                    Kind::GitLab if has_system(state, &body) => {
                        Response::json(200, &with_expiry(state, &body["token"]))
                    }
                    Kind::GitLab => Response::status(400),
                }
            }
            ("POST", ["runners", "reset_authentication_token"]) => {
                let token = request.json()["token"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                let Some(known) = state.runners.iter_mut().find(|known| **known == token) else {
                    return Response::status(403);
                };
                *known = format!("{token}-again");
                let new = json!(known);
                Response::json(201, &with_expiry(state, &new))
            }
            ("POST", ["jobs", "request"]) => self.hand_out(state, &request.json()),
            ("PATCH", ["jobs", id, "trace"]) => {
                self.patch(state, id.parse().expect("an id"), request)
            }
            ("PUT", ["jobs", id]) => {
                self.update(state, id.parse().expect("an id"), &request.json())
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
        state.info = body["info"].clone();
        if !has_system(state, body) && self.kind == Kind::GitLab {
            return Response::status(400);
        }
        let Some(job) = next_job(state) else {
            return match self.kind {
                Kind::AlloyCi => Response::status(204),
                Kind::GitLab => Response::status(204).with("X-GitLab-Last-Update", "update-17"),
            };
        };
        let id = job["id"].as_u64().expect("an id");
        state.heard.insert(id, Heard::default());
        if self.kind == Kind::GitLab && is_gitlabs(&job) {
            state.strict.insert(id);
        }
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
        let strict = state.strict.contains(&id);
        let Some(heard) = state.heard.get_mut(&id) else {
            return Response::status(404);
        };
        if strict && heard.begins == 0 {
            return Response::status(403).with("Job-Status", status);
        }
        if strict {
            heard.debug_trace = match request.query.as_str() {
                "debug_trace=true" => true,
                "debug_trace=false" => false,
                _ => return Response::status(400),
            };
        }
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
        let answer = Response::status(202)
            .with("Job-Status", status)
            .with("Range", format!("0-{there}"));
        match state.interval {
            Some(seconds) => answer.with(INTERVAL, seconds),
            None => answer,
        }
    }

    /// What a runner says of a job's state.
    fn update(&self, state: &mut State, id: u64, body: &Value) -> Response {
        if state.gone.contains(&id) {
            return Response::status(404);
        }
        if state.tokens.get(&id).map(String::as_str) != body["token"].as_str() {
            return Response::status(403);
        }
        let Some(heard) = state.heard.get_mut(&id) else {
            return Response::status(404);
        };
        if body["state"] == "running" {
            // AlloyCI would begin to count the job's time anew.
            assert!(
                state.strict.contains(&id),
                "only GitLab hears that a job begins"
            );
            heard.begins += 1;
            return Response::status(200);
        }
        let log = if state.strict.contains(&id) {
            if let Some(refused) = unfit(heard, body) {
                heard.unfit += 1;
                return refused;
            }
            if state.puts_off > 0 {
                state.puts_off -= 1;
                heard.unfit += 1;
                return Response::status(202).with(INTERVAL, 1);
            }
            ""
        } else {
            body["trace"].as_str().expect("a log")
        };
        assert!(!log.contains('\0'), "PostgreSQL refuses NUL");
        heard.finals += 1;
        // Once it is final, later states are ignored.
        if heard.state.is_none() {
            heard.state = body["state"].as_str().map(str::to_owned);
            heard.failure_reason = body["failure_reason"].as_str().map(str::to_owned);
            heard.exit_code = body["exit_code"].as_i64();
            heard.log = match self.kind {
                Kind::AlloyCi => log.to_owned(),
                Kind::GitLab => without_times(&String::from_utf8_lossy(&heard.trace)),
            };
            state.running -= 1;
        }
        Response::status(200)
    }
}

/// Whether a request says from which host it comes.
fn has_system(state: &mut State, body: &Value) -> bool {
    let id = body["system_id"].as_str().unwrap_or_default();
    let good = id.len() == 14
        && match id.split_at(2) {
            ("s_", rest) => rest.bytes().all(|byte| byte.is_ascii_hexdigit()),
            ("r_", rest) => rest.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            _ => false,
        };
    if good {
        state.system_ids.insert(id.to_owned());
    }
    good
}

/// The next job whose needs the runner announces. Others fail.
fn next_job(state: &mut State) -> Option<Value> {
    loop {
        let job = state.queue.pop_front()?;
        let id = job["id"].as_u64().expect("an id");
        let announced = &state.info["features"];
        let needs = state.needs.get(&id).into_iter().flatten();
        if needs
            .clone()
            .all(|feature| announced[feature.as_str()] == true)
        {
            return Some(job);
        }
        let heard = state.heard.entry(id).or_default();
        heard.state = Some("failed".to_owned());
        heard.failure_reason = Some("runner_unsupported".to_owned());
    }
}

/// Whether a payload shows whose it is.
pub fn is_gitlabs(job: &Value) -> bool {
    let variables = job["variables"].as_array().into_iter().flatten();
    variables
        .clone()
        .any(|variable| variable["key"] == "GITLAB_CI")
}

/// What is wrong with GitLab's final word on a job.
fn unfit(heard: &mut Heard, body: &Value) -> Option<Response> {
    if body.get("trace").is_some() || heard.begins == 0 {
        return Some(Response::status(400));
    }
    let sum = format!("crc32:{:08x}", crc32fast::hash(&heard.trace));
    let output = json!({"checksum": sum, "bytesize": heard.trace.len()});
    if body["output"] == output {
        return None;
    }
    heard.trace.clear();
    Some(Response::status(412))
}

/// The answer with a runner's token.
fn with_expiry(state: &State, token: &Value) -> Value {
    json!({"id": 1, "token": token, "token_expires_at": state.expires})
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
    Response::json(201, &with_expiry(state, &json!(token)))
}
