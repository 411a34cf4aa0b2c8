//! What became of a script in the build container: what two of these agree on, the docker client, the script itself and
//! the engine.

use super::stages::{NOT_RUN, Sent};
use super::{Run, Stop, system_failure};
use crate::docker::error::{Kind, start_problem};
use crate::docker::{DockerCommand, DockerError};
use crate::outcome::{Outcome, on_one_line};
use crate::plan::key_hint;
use crate::plan::names::LABEL;

/// The status of what SIGKILL ended.
const KILLED: i32 = 137;
/// How long after the end an engine may hear why, as docker has times in the future: half a second at least, since its
/// client cuts times to whole seconds, and of an end in a second that has begun it would hear nothing.
const NOTICE: &str = "-1500ms";
/// How far back the engine is asked: it remembers the last 256 events.
const LONG_AGO: &str = "24h";

/// What is asked about a build container that ended.
fn state_format() -> String {
    let process = format!("{{{{index .Config.Labels \"{LABEL}.process\"}}}}");
    format!(
        "{{{{.State.Status}}}} {{{{.State.ExitCode}}}} {{{{.State.OOMKilled}}}} {{{{.State.StartedAt}}}} {process} \
         {{{{.State.Error}}}}"
    )
}

impl Run<'_> {
    /// What became of a script. `first` says that the container was made for it.
    ///
    /// # Errors
    /// [`Kind::NotFound`] where it did not begin for something that was removed, [`Kind::Gone`] where it did not since
    /// the engine was unwell, [`Kind::Conflict`] where the container's name is somebody else's.
    pub(super) fn verified(&self, sent: &Sent, first: bool) -> Result<Outcome, Stop> {
        let client = sent.status.0;
        // It was the script's last word, and the client has not lost its container since.
        if sent.succeeded && client == Some(0) {
            return Ok(Outcome::Success);
        }
        let not_run = first && client == Some(NOT_RUN);
        let said = || sent.error(&self.plan.build.run);
        let missing = format!("No such container: {}", self.plan.build.name.plain());
        if !first && client == Some(1) && said().message.ends_with(&missing) {
            return Err(Stop::Docker(said()));
        }
        let inspect = DockerCommand::inspect(&self.plan.build.name, &state_format());
        let state = match self.ask(&inspect) {
            Ok(state) => state,
            Err(error) if error.kind == Kind::NotFound => {
                return self.remembered(client, said(), not_run);
            }
            Err(error) if error.kind == Kind::Canceled => return Err(Stop::Docker(error)),
            Err(error) => {
                return Err(system_failure(format!(
                    "the docker client {}, and its container cannot be asked: {}",
                    ended(client),
                    error.reason()
                )));
            }
        };
        let mut words = state.splitn(6, ' ');
        let (status, code) = (
            words.next().unwrap_or_default(),
            words.next().and_then(|code| code.parse::<i32>().ok()),
        );
        let out_of_memory = words.next() == Some("true");
        let started = words.next().unwrap_or_default();
        let process = words.next().unwrap_or_default();
        let error = words.next().unwrap_or_default().trim();
        let problem = || start_problem(error).unwrap_or_else(|| on_one_line(error));
        match (status, code) {
            _ if not_run && process != self.plan.process => Err(Stop::Docker(DockerError {
                kind: Kind::Conflict,
                ..said()
            })),
            ("created", _) if not_run && matches!(said().kind, Kind::NotFound | Kind::Gone) => {
                Err(Stop::Docker(said()))
            }
            ("exited", Some(code)) if !error.is_empty() => Err(system_failure(format!(
                "the build container could not be started ({code}): {}",
                problem()
            ))),
            ("exited", Some(code)) if client == Some(code) => Ok(match code {
                0 => Outcome::Success,
                exit_code => Outcome::ScriptFailure {
                    exit_code,
                    // The flag is set also where a child was killed and the script went on to a status of its own.
                    out_of_memory: exit_code == KILLED
                        && (out_of_memory || self.lacked_memory(started)),
                },
            }),
            ("exited", Some(code)) => Err(disagreement(client, code)),
            ("running" | "paused" | "restarting", _) => Err(system_failure(
                "the attachment to the build container was lost while its script ran",
            )),
            _ => Err(system_failure(format!(
                "the build container could not be started: {}",
                if error.is_empty() {
                    on_one_line(&state)
                } else {
                    problem()
                }
            ))),
        }
    }

    /// The same where the container was removed as soon as it had ended: the engine remembers its end for a while.
    fn remembered(
        &self,
        client: Option<i32>,
        said: DockerError,
        not_run: bool,
    ) -> Result<Outcome, Stop> {
        // What was never made has no end, and what had the name before is another one.
        if not_run && said.is_refusal() {
            let hint = key_hint(&said);
            return Err(system_failure(format!(
                "docker refuses to make the build container: {}{hint}",
                on_one_line(said.reason())
            )));
        }
        let never_made = not_run && said.reason().contains("No such image");
        let command = DockerCommand::history(&self.plan.build.name, LONG_AGO, NOTICE);
        let history = if never_made {
            String::new()
        } else {
            self.ask(&command).unwrap_or_else(|error| {
                log::warn!("cannot ask how the build container ended: {error}");
                String::new()
            })
        };
        match last_end(&history) {
            (_, Some(code)) if client == Some(code) => Ok(match code {
                0 => Outcome::Success,
                exit_code => Outcome::ScriptFailure {
                    exit_code,
                    out_of_memory: false,
                },
            }),
            (_, Some(code)) => Err(disagreement(client, code)),
            (false, None) if not_run && said.kind == Kind::NotFound => Err(Stop::Docker(said)),
            (_, None) => Err(system_failure(format!(
                "somebody removed the build container, and the docker client {}",
                ended(client)
            ))),
        }
    }

    /// Whether the kernel ended something in the build container, which started at this time. The engine hears
    /// of it by another way than of the container's end, now and then a little later, and then does not note
    /// it on the container.
    fn lacked_memory(&self, started: &str) -> bool {
        let events = DockerCommand::events(&self.plan.build.name, "oom", started, NOTICE);
        self.ask(&events).is_ok_and(|events| !events.is_empty())
    }
}

/// Whether the last container of [`DockerCommand::history`] began, and the status of its last end.
fn last_end(history: &str) -> (bool, Option<i32>) {
    let fields = |line: &'_ str| -> Option<(String, String, Option<i32>)> {
        let mut fields = line.split('\t').map(str::to_owned);
        let (id, action) = (fields.next()?, fields.next()?);
        Some((id, action, fields.next().and_then(|code| code.parse().ok())))
    };
    let events: Vec<_> = history.lines().filter_map(fields).collect();
    let Some((last, ..)) = events.last() else {
        return (false, None);
    };
    let own = || events.iter().filter(|(id, ..)| id == last);
    let began = own().any(|(_, action, _)| action == "start" || action == "die");
    let mut ends = own().filter(|(_, action, _)| action == "die");
    (began, ends.next_back().and_then(|(.., code)| *code))
}

fn ended(client: Option<i32>) -> String {
    client.map_or_else(
        || "died".to_owned(),
        |status| format!("ended with status {status}"),
    )
}

fn disagreement(client: Option<i32>, code: i32) -> Stop {
    system_failure(format!(
        "the connection to the build container was lost, and with it the end of the log: the docker client {}, and the \
         container with status {code}",
        ended(client)
    ))
}

#[cfg(test)]
mod tests {
    use super::last_end;

    #[test]
    fn only_the_last_container_of_a_name_counts() {
        let before =
            "1\tcreate\t<no value>\n1\tstart\t<no value>\n1\tdie\t0\n1\tdestroy\t<no value>\n";
        let after = |text: &str| last_end(&format!("{before}{text}"));
        assert_eq!(last_end(""), (false, None));
        assert_eq!(after(""), (true, Some(0)));
        assert_eq!(
            after("2\tcreate\t<no value>\n2\tdestroy\t<no value>"),
            (false, None)
        );
        assert_eq!(after("2\tstart\t<no value>"), (true, None));
        assert_eq!(
            after("2\tstart\t<no value>\n2\tdie\t7\n2\tdestroy\t<no value>"),
            (true, Some(7))
        );
    }
}
