//! What the runner announces to GitLab, it has: of each feature a job that needs it is handed out, runs, and GitLab sees
//! what it has to see.

mod support;

use serde_json::{Value, json};
use support::artifact_store::{Uploaded, store};
use support::coordinator::{Coordinator, Fault, Heard, Kind};
use support::http::Response;
use support::{BUSYBOX, DEBIAN, NONROOT, git, spawn};

/// A feature, the job that needs it, and what is to be seen of that.
struct Row {
    feature: &'static str,
    /// The job's commands.
    script: &'static [&'static str],
    /// What else is in the payload.
    more: Value,
    /// Stands in the log.
    says: &'static str,
    /// What else GitLab is to see.
    seen: fn(&Heard, &[Uploaded]) -> bool,
}

fn nothing_else(_: &Heard, _: &[Uploaded]) -> bool {
    true
}

fn row(feature: &'static str, script: &'static [&'static str], more: Value) -> Row {
    Row {
        feature,
        script,
        more,
        says: "Job succeeded",
        seen: nothing_else,
    }
}

impl Row {
    fn says(self, says: &'static str) -> Self {
        Self { says, ..self }
    }

    fn seen(self, seen: fn(&Heard, &[Uploaded]) -> bool) -> Self {
        Self { seen, ..self }
    }
}

fn variable(key: &str, value: &str, more: &[(&str, bool)]) -> Value {
    let mut variable = json!({"key": key, "value": value, "public": false, "masked": false});
    for (name, on) in more {
        variable[*name] = json!(on);
    }
    variable
}

/// A service that serves what the shell makes of a word, on port 80.
fn server(word: &str, more: &Value) -> Value {
    let serves =
        format!("mkdir /tmp/w; echo {word} >/tmp/w/index.html; exec httpd -f -p 8000 -h /tmp/w");
    let mut service = json!({"name": BUSYBOX, "alias": "s", "command": ["sh", "-c", serves]});
    for (key, value) in more.as_object().expect("an object") {
        service[key] = value.clone();
    }
    json!([service])
}

fn rows() -> Vec<Row> {
    let of_images = [
        row("image", &["cat /etc/debian_version"], json!({"image": {"name": DEBIAN}})).says("\n12"),
        row("image_executor_opts", &["id -u"],
            json!({"image": {"name": BUSYBOX, "executor_opts": {"docker": {"user": 4321}}}})).says("\n4321\n"),
        row("services", &["wget -qO- http://s:8000/"], json!({"services": server("it serves", &json!({}))}))
            .says("\nit serves\n"),
        row("service_multiple_aliases", &["wget -qO- http://a:8000/ http://b:8000/"],
            json!({"services": server("one of two", &json!({"alias": "a,b"}))}))
            .says("\none of two\none of two\n"),
        row("service_variables", &["wget -qO- http://s:8000/; echo ${WORD-none}"],
            json!({"services": server("$WORD", &json!({"variables": [variable("WORD", "its own", &[])]}))}))
            .says("\nits own\nnone\n"),
        row("service_executor_opts", &["wget -qO- http://s:8000/"],
            json!({"services": server("$(id -u)", &json!({"executor_opts": {"docker": {"user": "1234"}}}))}))
            .says("\n1234\n"),
    ];
    let of_variables = [
        row("variables", &["echo in $ENV"], json!({})).says("\nin staging\n"),
        row(
            "raw_variables",
            &["echo \"$RAW\""],
            json!({"variables": [variable("RAW", "as $ENV is", &[("raw", true)])]}),
        )
        .says("\nas $ENV is\n"),
        row(
            "masking",
            &["echo $KEY"],
            json!({"variables": [variable("KEY", "hidden-word", &[("masked", true)])]}),
        )
        .says("\n[MASKED]\n"),
        row(
            "job_inputs",
            &["echo ${{ job.inputs.size }} inputs"],
            json!({"inputs": [{"key": "size", "value": {"type": "string", "content": "large"}}]}),
        )
        .says("\nlarge inputs\n"),
        row(
            "refspecs",
            &["git rev-parse -q --verify refs/pipelines/31 && echo it is there"],
            json!({"image": {"name": NONROOT}}),
        )
        .says("\nit is there\n"),
    ];
    let report = json!({"name": "junit.xml", "paths": ["a.xml"], "artifact_type": "junit", "artifact_format": "gzip"});
    let archive = json!({"name": "all", "paths": ["*.xml"], "artifact_type": "archive", "artifact_format": "zip"});
    let raw = json!({"paths": ["a.xml"], "artifact_type": "sast", "artifact_format": "raw"});
    let excluding = json!({"paths": ["*.xml"], "exclude": ["b.xml"], "artifact_type": "archive"});
    let makes = &["echo a >a.xml; echo b >b.xml"];
    let of_files = [
        row("artifacts", makes, json!({"artifacts": [archive]})).seen(|_, sent| sent.len() == 1),
        row("upload_multiple_artifacts", makes, json!({"artifacts": [archive, report]}))
            .seen(|_, sent| sent.len() == 2 && sent[1].query.contains("artifact_type=junit")),
        row("upload_raw_artifacts", makes, json!({"artifacts": [raw]}))
            .seen(|_, sent| sent.len() == 1 && sent[0].bytes == b"a\n"),
        row("artifacts_exclude", makes, json!({"artifacts": [excluding]}))
            .says("  1 excluded\n")
            .seen(|_, sent| !sent[0].bytes.windows(5).any(|name| name == b"b.xml")),
        row("cache", makes, json!({"cache": [{"key": "first", "paths": ["*.xml"]}]}))
            .says("\nCreating cache first...\n"),
        row("fallback_cache_keys", &["cat a.xml"],
            json!({"cache": [{"key": "second", "fallback_keys": ["first"], "paths": ["*.xml"], "policy": "pull"}]}))
            .says("\na\n"),
    ];
    let release = json!([{"name": "script", "script": ["echo built"]}, {"name": "release", "script": ["echo released"]}]);
    let of_the_wire = [
        row("multi_build_steps", &[], json!({"steps": release})).says("\nreleased\n"),
        row("return_exit_code", &["exit 7"], json!({}))
            .says("exit code 7")
            .seen(|heard, _| heard.exit_code == Some(7)),
        row("two_phase_job_commit", &["true"], json!({})).seen(|heard, _| heard.begins == 1),
        // The coordinator refuses the end of a job whose checksum or size are not those of the log that it has.
        row("trace_checksum", &["echo x"], json!({}))
            .seen(|heard, _| (heard.unfit, heard.finals) == (0, 1)),
        row("trace_size", &["echo x"], json!({}))
            .seen(|heard, _| (heard.unfit, heard.finals) == (0, 1)),
    ];
    of_images
        .into_iter()
        .chain(of_variables)
        .chain(of_files)
        .chain(of_the_wire)
        .collect()
}

/// Features that show while a job runs, each with a test of its own below.
const WHILE_IT_RUNS: [&str; 3] = ["cancelable", "cancel_gracefully", "trace_reset"];

fn job(coordinator: &Coordinator, row: &Row) -> Value {
    let mut job = coordinator.gitlab_job(BUSYBOX, row.script);
    for (key, value) in row.more.as_object().expect("an object") {
        match (key.as_str(), &mut job[key]) {
            ("variables", Value::Array(all)) => {
                all.extend(value.as_array().expect("a list").clone());
            }
            (_, place) => *place = value.clone(),
        }
    }
    job
}

fn coordinator() -> Coordinator {
    let coordinator = Coordinator::new(Kind::GitLab);
    git(
        &coordinator.work(),
        &["push", "-q", "origin", "HEAD:refs/pipelines/31"],
    );
    coordinator
}

#[test]
fn what_is_announced_works_and_gitlab_sees_it() {
    let coordinator = coordinator();
    let store = store(&coordinator);
    let rows = rows();
    let queue = |row: &Row| coordinator.queue_needing(job(&coordinator, row), &[row.feature]);
    let ids: Vec<u64> = rows.iter().map(queue).collect();
    let count = ids.len().to_string();
    coordinator.serve(["--max-builds", &count]).exits(0);
    let sent = store.lock().expect("no panic");
    for (row, id) in rows.iter().zip(&ids) {
        let heard = coordinator.heard(*id);
        let fails = row.feature == "return_exit_code";
        assert_eq!(
            heard.state.as_deref(),
            Some(if fails { "failed" } else { "success" }),
            "{}: {heard}",
            row.feature
        );
        assert!(
            heard.log.contains(row.says),
            "{} says {:?}: {heard}",
            row.feature,
            row.says
        );
        let sent = sent.get(id).cloned().unwrap_or_default();
        assert!((row.seen)(&heard, &sent), "{}: {heard:?}", row.feature);
    }
    let info = coordinator.info();
    let announced = info["features"].as_object().expect("features");
    let mut announced: Vec<&str> = announced
        .iter()
        .filter(|(_, on)| **on == true)
        .map(|(name, _)| name.as_str())
        .collect();
    let mut tested: Vec<&str> = rows
        .iter()
        .map(|row| row.feature)
        .chain(WHILE_IT_RUNS)
        .collect();
    announced.sort_unstable();
    tested.sort_unstable();
    assert_eq!(tested, announced);
}

#[test]
fn a_job_that_is_canceled_stops_at_once_or_cleans_up_first() {
    for feature in ["cancelable", "cancel_gracefully"] {
        let coordinator = coordinator();
        let mut job = coordinator.gitlab_job(BUSYBOX, &["echo begun; sleep 600"]);
        let after = json!({"name": "after_script", "script": ["echo cleaned up"]});
        job["steps"].as_array_mut().expect("a list").push(after);
        let id = coordinator.queue_needing(job, &[feature]);
        let runner = spawn(&mut coordinator.single([] as [&str; 0]));
        coordinator.wait_for_text(id, "\nbegun\n");
        match feature {
            "cancelable" => coordinator.cancel(id),
            _ => coordinator.cancel_gracefully(id),
        }
        let heard = coordinator.wait_for_end(&[id]).remove(0);
        runner.wait_with_output().expect("ended");
        assert_eq!(heard.state.as_deref(), Some("failed"), "{feature}: {heard}");
        let cleans_up = heard.log.contains("\ncleaned up\n");
        assert_eq!(
            cleans_up,
            feature == "cancel_gracefully",
            "{feature}: {heard}"
        );
    }
}

#[test]
fn a_log_that_gitlab_wants_again_is_sent_from_its_beginning() {
    let coordinator = coordinator();
    let mut first = true;
    coordinator.misbehave(move |request| {
        let ends = request.method == "PUT" && request.json()["state"] == "success";
        (ends && std::mem::take(&mut first)).then(|| Fault::Before(Response::status(412)))
    });
    let job = coordinator.gitlab_job(BUSYBOX, &["echo once"]);
    let id = coordinator.queue_needing(job, &["trace_reset"]);
    coordinator.serve([] as [&str; 0]).exits(0);
    let heard = coordinator.heard(id);
    heard.succeeds();
    // GitLab had all of it; it says where to go on, and the end of the job comes again.
    assert_eq!(
        (heard.finals, heard.log.matches("\nonce\n").count()),
        (1, 1),
        "{heard}"
    );
}
