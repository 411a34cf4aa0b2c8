//! What became of a script in the build container: what two of these agree on, the docker client, the script itself and
//! the engine.
//!
//! [`Client::alone`] and [`verdict`] decide it from what is known; the engine is asked between them.

use super::context::Context;
use super::send::Sent;
use super::stop::{Stop, system_failure};
use crate::docker::error::{Kind, start_problem};
use crate::docker::{DockerCommand, DockerError};
use crate::outcome::{Fault, Outcome, on_one_line};
use crate::plan::key_hint;
use crate::plan::names::LABEL;

/// The status of what SIGKILL ended.
const KILLED: i32 = 137;
/// What `docker run` ends with that could start nothing; `docker start` says 1, as a script may.
pub(super) const NOT_RUN: i32 = 125;
/// How long after the end an engine may hear why, as docker has times in the future: half a second at least, since its
/// client cuts times to whole seconds, and of an end in a second that has begun it would hear nothing.
const NOTICE: &str = "-1500ms";
/// How far back the engine is asked: it remembers the last 256 events.
const LONG_AGO: &str = "24h";

/// What became of a script.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The job's script has ended, or the system failed.
    Outcome(Outcome),
    /// The script did not begin, by what the client says: [`Kind::NotFound`] for something that was removed,
    /// [`Kind::Gone`] since the engine was unwell, [`Kind::Conflict`] where another runner has the container's name.
    NotBegun(Kind),
}

/// What is known by the docker client.
struct Client<'a> {
    /// What it ended with.
    status: Option<i32>,
    /// The script said that it succeeded.
    succeeded: bool,
    /// The container was made for the script.
    is_first: bool,
    /// What it said, if it was the last that spoke.
    said: DockerError,
    /// The name of the build container.
    container: &'a str,
    /// The label of the process that the container should have.
    process: &'a str,
}

/// What is known by the engine.
enum Container {
    /// The container is there.
    There(State),
    /// It is not there any more.
    Removed(LastEnd),
}

/// The state of a container.
#[derive(Clone, Default)]
struct State {
    /// `created`, `running`, `exited`, …
    status: String,
    /// Its exit status; 0 too before it has ended.
    code: Option<i32>,
    /// The kernel ended something in it for lack of memory.
    lacked_memory: bool,
    /// When it was started.
    started: String,
    /// The label of the process that made it.
    process: String,
    /// Why it could not be started.
    error: String,
    /// All of that, as the engine said it.
    text: String,
}

/// What the engine remembers of a container that was removed as soon as it had ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct LastEnd {
    began: bool,
    code: Option<i32>,
}

/// What became of a script. `is_first` says that the container was made for it.
///
/// # Errors
/// [`Stop::Docker`] where the script did not begin, with a kind as [`Verdict::NotBegun`] has it; else
/// [`Stop::Outcome`], a system failure.
pub(super) fn of_script(context: &Context, sent: &Sent, is_first: bool) -> Result<Outcome, Stop> {
    let build = &context.plan.build;
    let container = build.name.plain();
    let client = Client {
        status: sent.status.0,
        succeeded: sent.succeeded,
        is_first,
        said: sent.error(&build.run),
        container: &container,
        process: &context.plan.process,
    };
    let found = match client.alone() {
        Some(found) => found,
        None => verdict(&client, &ask(context, &client)?),
    };
    match found {
        Verdict::Outcome(outcome @ Outcome::SystemFailure(_)) => Err(Stop::Outcome(outcome)),
        Verdict::Outcome(outcome) => Ok(outcome),
        Verdict::NotBegun(kind) => Err(Stop::Docker(DockerError {
            kind,
            ..client.said
        })),
    }
}

impl Client<'_> {
    /// Whether the client says that it could make or start nothing.
    fn made_nothing(&self) -> bool {
        self.is_first && self.status == Some(NOT_RUN)
    }

    /// Whether there was never an image to make the container of.
    fn had_no_image(&self) -> bool {
        self.made_nothing() && self.said.reason().contains("No such image")
    }

    /// What became of the script where no engine has to be asked.
    fn alone(&self) -> Option<Verdict> {
        // It was the script's last word, and the client has not lost its container since.
        if self.succeeded && self.status == Some(0) {
            return Some(Verdict::Outcome(Outcome::Success));
        }
        let missing = format!("No such container: {}", self.container);
        let is_missing = !self.is_first && self.status == Some(1);
        (is_missing && self.said.message.ends_with(&missing))
            .then_some(Verdict::NotBegun(self.said.kind))
    }

    /// How the client ended.
    fn end(&self) -> String {
        self.status.map_or_else(
            || "died".to_owned(),
            |status| format!("ended with status {status}"),
        )
    }

    /// The verdict where the container ended with this status.
    fn agrees_on(&self, code: i32, lacked_memory: bool) -> Verdict {
        if self.status != Some(code) {
            return failed(format!(
                "the connection to the build container was lost, and with it the end of the log: the docker client {}, \
                 and the container with status {code}",
                self.end()
            ));
        }
        Verdict::Outcome(match code {
            0 => Outcome::Success,
            exit_code => Outcome::ScriptFailure {
                exit_code,
                // A child may have been killed and the script gone on to a status of its own.
                out_of_memory: exit_code == KILLED && lacked_memory,
            },
        })
    }
}

fn failed(reason: impl Into<Fault>) -> Verdict {
    Verdict::Outcome(Outcome::SystemFailure(reason.into()))
}

/// What became of a script, by client and engine.
fn verdict(client: &Client, container: &Container) -> Verdict {
    match container {
        Container::There(state) => by_state(client, state),
        Container::Removed(end) => by_last_end(client, *end),
    }
}

fn by_state(client: &Client, state: &State) -> Verdict {
    let problem = || start_problem(&state.error).unwrap_or_else(|| on_one_line(&state.error));
    let said = client.said.kind;
    match (state.status.as_str(), state.code) {
        _ if client.made_nothing() && state.process != client.process => {
            Verdict::NotBegun(Kind::Conflict)
        }
        ("created", _) if client.made_nothing() && matches!(said, Kind::NotFound | Kind::Gone) => {
            Verdict::NotBegun(said)
        }
        ("exited", Some(code)) if !state.error.is_empty() => failed(format!(
            "the build container could not be started ({code}): {}",
            problem()
        )),
        ("exited", Some(code)) => client.agrees_on(code, state.lacked_memory),
        ("running" | "paused" | "restarting", _) => {
            failed("the attachment to the build container was lost while its script ran")
        }
        _ if state.error.is_empty() => failed(format!(
            "the build container could not be started: {}",
            on_one_line(&state.text)
        )),
        _ => failed(format!(
            "the build container could not be started: {}",
            problem()
        )),
    }
}

fn by_last_end(client: &Client, end: LastEnd) -> Verdict {
    let said = &client.said;
    match (end.began, end.code) {
        // What was never made has no end, and what had the name before is another one.
        _ if client.made_nothing() && said.is_refusal() => failed(format!(
            "docker refuses to make the build container: {}{}",
            on_one_line(said.reason()),
            key_hint(said)
        )),
        (_, Some(code)) => client.agrees_on(code, false),
        (false, None) if client.made_nothing() && said.kind == Kind::NotFound => {
            Verdict::NotBegun(said.kind)
        }
        (_, None) => failed(format!(
            "somebody removed the build container, and the docker client {}",
            client.end()
        )),
    }
}

/// Asks the engine for what decides.
fn ask(context: &Context, client: &Client) -> Result<Container, Stop> {
    let Context { plan, engine, .. } = context;
    let name = &plan.build.name;
    match engine.ask(&DockerCommand::inspect(name, &State::format())) {
        Ok(text) => {
            let mut state = State::read(&text);
            let was_killed = state.code == Some(KILLED) && client.status == state.code;
            // The engine hears of it by another way than of the container's end, now and then a little later, and
            // then does not note it on the container.
            if was_killed && !state.lacked_memory && state.status == "exited" {
                let events = DockerCommand::events(name, "oom", &state.started, NOTICE);
                state.lacked_memory = engine.ask(&events).is_ok_and(|events| !events.is_empty());
            }
            Ok(Container::There(state))
        }
        Err(error) if error.kind == Kind::NotFound => {
            if client.had_no_image() || client.made_nothing() && client.said.is_refusal() {
                return Ok(Container::Removed(LastEnd::default()));
            }
            let history = engine.ask(&DockerCommand::history(name, LONG_AGO, NOTICE));
            let history = history.unwrap_or_else(|error| {
                log::warn!("cannot ask how the build container ended: {error}");
                String::new()
            });
            Ok(Container::Removed(LastEnd::read(&history)))
        }
        Err(error) if error.kind == Kind::Canceled => Err(error.into()),
        Err(error) => Err(system_failure(format!(
            "the docker client {}, and its container cannot be asked: {}",
            client.end(),
            error.reason()
        ))),
    }
}

impl State {
    /// What is asked about a build container that ended.
    fn format() -> String {
        let process = format!("{{{{index .Config.Labels \"{LABEL}.process\"}}}}");
        format!(
            "{{{{.State.Status}}}} {{{{.State.ExitCode}}}} {{{{.State.OOMKilled}}}} {{{{.State.StartedAt}}}} {process} \
             {{{{.State.Error}}}}"
        )
    }

    fn read(text: &str) -> Self {
        let mut words = text.splitn(6, ' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        Self {
            status: word(),
            code: word().parse().ok(),
            lacked_memory: word() == "true",
            started: word(),
            process: word(),
            error: word().trim().to_owned(),
            text: text.to_owned(),
        }
    }
}

impl LastEnd {
    /// Reads what [`DockerCommand::history`] prints: of the last container of a name, whether it began, and the status
    /// of its last end.
    fn read(history: &str) -> Self {
        let fields = |line: &'_ str| -> Option<(String, String, Option<i32>)> {
            let mut fields = line.split('\t').map(str::to_owned);
            let (id, action) = (fields.next()?, fields.next()?);
            Some((id, action, fields.next().and_then(|code| code.parse().ok())))
        };
        let events: Vec<_> = history.lines().filter_map(fields).collect();
        let Some((last, ..)) = events.last() else {
            return Self::default();
        };
        let own = || events.iter().filter(|(id, ..)| id == last);
        let mut ends = own().filter(|(_, action, _)| action == "die");
        Self {
            began: own().any(|(_, action, _)| action == "start" || action == "die"),
            code: ends.next_back().and_then(|(.., code)| *code),
        }
    }
}

#[cfg(test)]
mod tests;
