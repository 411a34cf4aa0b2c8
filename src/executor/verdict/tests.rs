use super::{Client, Container, LastEnd, State, Verdict, verdict};
use crate::docker::DockerError;
use crate::docker::error::Kind;
use crate::outcome::Outcome;

/// A client that ended with this status, of a container that was made for the script.
fn client(status: Option<i32>, stderr: &str) -> Client<'static> {
    Client {
        status,
        succeeded: false,
        is_first: true,
        said: DockerError::from_stderr("docker run".into(), status, stderr.as_bytes()),
        container: "x-build",
        process: "ours",
    }
}

fn state(status: &str, code: i32) -> State {
    State {
        status: status.to_owned(),
        code: Some(code),
        process: "ours".to_owned(),
        ..State::default()
    }
}

fn there(status: &str, code: i32) -> Container {
    Container::There(state(status, code))
}

fn removed(began: bool, code: Option<i32>) -> Container {
    Container::Removed(LastEnd { began, code })
}

fn exited(exit_code: i32) -> Verdict {
    Verdict::Outcome(Outcome::ScriptFailure {
        exit_code,
        out_of_memory: false,
    })
}

/// Whether it is a system failure whose reason begins so.
fn is_failure(verdict: &Verdict, reason: &str) -> bool {
    matches!(verdict, Verdict::Outcome(Outcome::SystemFailure(why)) if why.text.starts_with(reason))
}

#[test]
fn a_script_that_says_so_has_succeeded_where_its_client_has_not_lost_it() {
    let alone = |status, succeeded| {
        let client = Client {
            succeeded,
            ..client(status, "")
        };
        client.alone()
    };
    assert_eq!(
        alone(Some(0), true),
        Some(Verdict::Outcome(Outcome::Success))
    );
    for (status, succeeded) in [(Some(0), false), (Some(1), true), (None, true)] {
        assert_eq!(alone(status, succeeded), None, "{status:?} {succeeded}");
    }
}

#[test]
fn a_container_that_was_there_and_is_not_found_began_nothing() {
    let missing = "Error: No such container: x-build";
    let of = |is_first, status| {
        let client = Client {
            is_first,
            ..client(Some(status), missing)
        };
        client.alone()
    };
    assert_eq!(of(false, 1), Some(Verdict::NotBegun(Kind::NotFound)));
    assert_eq!(of(true, 1), None);
    assert_eq!(of(false, 2), None);
}

#[test]
fn client_and_engine_have_to_agree() {
    let lost = "the connection to the build container was lost, and with it the end of the log: the docker client ";
    for (status, container, expected) in [
        (
            Some(0),
            there("exited", 0),
            Ok(Verdict::Outcome(Outcome::Success)),
        ),
        (Some(7), there("exited", 7), Ok(exited(7))),
        (
            Some(1),
            there("exited", 7),
            Err(format!("{lost}ended with status 1")),
        ),
        (None, there("exited", 0), Err(format!("{lost}died"))),
        (
            Some(1),
            there("running", 0),
            Err("the attachment to the build container was lost".to_owned()),
        ),
        (
            Some(0),
            removed(true, Some(0)),
            Ok(Verdict::Outcome(Outcome::Success)),
        ),
        (Some(7), removed(true, Some(7)), Ok(exited(7))),
        (
            Some(0),
            removed(true, Some(7)),
            Err(format!("{lost}ended with status 0")),
        ),
        (
            Some(0),
            removed(true, None),
            Err(
                "somebody removed the build container, and the docker client ended with status 0"
                    .to_owned(),
            ),
        ),
        (Some(125), there("exited", 125), Ok(exited(125))),
    ] {
        let found = verdict(&client(status, ""), &container);
        match expected {
            Ok(expected) => assert_eq!(found, expected, "{status:?}"),
            Err(reason) => assert!(is_failure(&found, &reason), "{status:?}: {found:?}"),
        }
    }
}

#[test]
fn memory_was_lacking_where_the_script_itself_was_killed() {
    for (code, lacked_memory, out_of_memory) in
        [(137, true, true), (137, false, false), (1, true, false)]
    {
        let state = State {
            lacked_memory,
            ..state("exited", code)
        };
        let expected = Verdict::Outcome(Outcome::ScriptFailure {
            exit_code: code,
            out_of_memory,
        });
        let found = verdict(&client(Some(code), ""), &Container::There(state));
        assert_eq!(found, expected, "{code}");
    }
}

#[test]
fn what_did_not_begin_can_be_tried_again_or_says_why() {
    let no_image = "docker: Error response from daemon: No such image: sha256:1";
    let unwell = "docker: Error response from daemon: transport is closing";
    let other =
        "docker: Error response from daemon: driver failed programming external connectivity";
    let refusal = "unknown flag: --x\n\nUsage:  docker run [OPTIONS]\n\nRun 'docker run --help' for more information";
    let theirs = State {
        process: "theirs".to_owned(),
        ..state("running", 0)
    };
    let no_program = State {
        error: "OCI runtime create failed: unable to start container process: exec: \"nope\": executable file not \
                found in $PATH"
            .to_owned(),
        ..state("exited", 127)
    };
    for (status, stderr, container, expected) in [
        (125, no_image, there("created", 0), Ok(Kind::NotFound)),
        (125, no_image, removed(false, None), Ok(Kind::NotFound)),
        (125, unwell, there("created", 0), Ok(Kind::Gone)),
        (125, other, Container::There(theirs), Ok(Kind::Conflict)),
        (
            125,
            other,
            there("created", 0),
            Err("the build container could not be started: "),
        ),
        (
            125,
            refusal,
            removed(true, Some(125)),
            Err("docker refuses to make the build container: unknown flag: --x"),
        ),
        (
            127,
            "",
            Container::There(no_program),
            Err("the build container could not be started (127): the image has no program `nope`"),
        ),
    ] {
        let found = verdict(&client(Some(status), stderr), &container);
        match expected {
            Ok(kind) => assert_eq!(found, Verdict::NotBegun(kind), "{stderr}"),
            Err(reason) => assert!(is_failure(&found, reason), "{stderr}: {found:?}"),
        }
    }
}

#[test]
fn the_state_is_read_as_it_is_asked_for() {
    let state = State::read("exited 137 true 2026-01-01T00:00:00Z process-1 OCI runtime: a b ");
    assert_eq!(
        (state.status.as_str(), state.code, state.lacked_memory),
        ("exited", Some(137), true)
    );
    assert_eq!(state.started, "2026-01-01T00:00:00Z");
    assert_eq!(
        (state.process.as_str(), state.error.as_str()),
        ("process-1", "OCI runtime: a b")
    );
}

#[test]
fn only_the_last_container_of_a_name_counts() {
    let before = "1\tcreate\t<no value>\n1\tstart\t<no value>\n1\tdie\t0\n1\tdestroy\t<no value>\n";
    let end = |text: &str| {
        let end = LastEnd::read(text);
        (end.began, end.code)
    };
    let after = |text: &str| end(&format!("{before}{text}"));
    assert_eq!(end(""), (false, None));
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
