//! What GitLab asks of a job beyond AlloyCI: reports, a release, caches with fallbacks, hooks, and more of images and
//! services.

mod support;

use std::io::Read;
use std::sync::{Arc, Mutex};

use flate2::read::MultiGzDecoder;
use serde_json::{Value, json};
use support::artifact_store::{Uploaded, uploaded};
use support::coordinator::{Coordinator, Fault, Heard, Kind};
use support::http::Response;
use support::{BUSYBOX, DEBIAN, REDIS};

fn add_variables(job: &mut Value, pairs: &[(&str, &str)]) {
    let variables = job["variables"].as_array_mut().expect("a list");
    let of = |(key, value): &(&str, &str)| json!({"key": key, "value": value, "public": true});
    variables.extend(pairs.iter().map(of));
}

fn add_step(job: &mut Value, name: &str, script: &[&str]) {
    let steps = job["steps"].as_array_mut().expect("a list");
    steps.push(json!({"name": name, "script": script, "timeout": 3600, "when": "on_success", "allow_failure": false}));
}

/// Serves the jobs one after the other, and returns what was heard of each.
fn serve(coordinator: &Coordinator, jobs: Vec<Value>) -> Vec<Heard> {
    let ids: Vec<u64> = jobs.into_iter().map(|job| coordinator.queue(job)).collect();
    let count = ids.len().to_string();
    coordinator.serve(["--max-builds", &count]).exits(0);
    ids.iter().map(|id| coordinator.heard(*id)).collect()
}

/// Has a coordinator take uploads, and refuse those whose query holds `refused`.
fn take_uploads(coordinator: &Coordinator, refused: &'static str) -> Arc<Mutex<Vec<Uploaded>>> {
    let uploads = Arc::<Mutex<Vec<Uploaded>>>::default();
    let seen = uploads.clone();
    coordinator.misbehave(move |request| {
        if request.method != "POST" || !request.path.ends_with("/artifacts") {
            return None;
        }
        let is_refused = !refused.is_empty() && request.query.contains(refused);
        let upload = uploaded(&request.query, &request.body);
        seen.lock().expect("no panic").push(upload);
        let status = if is_refused { 413 } else { 201 };
        Some(Fault::Before(Response::status(status)))
    });
    uploads
}

#[test]
fn reports_are_sent_in_their_formats_and_one_that_is_refused_keeps_no_other() {
    let coordinator = Coordinator::new(Kind::GitLab);
    let uploads = take_uploads(&coordinator, "dotenv");
    let script = "mkdir -p r/x; echo '<b/>' >r/b.xml; echo '<a/>' >r/x/a.xml; echo A=1 >build.env; echo '{}' >sast.json; \
                  echo map >r/x.map";
    let mut job = coordinator.gitlab_job(BUSYBOX, &[script]);
    job["artifacts"] = json!([
        {"name": ".env", "paths": ["build.env"], "artifact_type": "dotenv", "artifact_format": "gzip"},
        {"name": "junit.xml", "paths": ["r/**/*.xml"], "when": "always", "expire_in": "1 week", "artifact_type": "junit",
         "artifact_format": "gzip"},
        {"name": "sast.json", "paths": ["sast.json"], "artifact_type": "sast", "artifact_format": "raw"},
        {"paths": ["r"], "exclude": ["r/*.map"], "artifact_type": "archive", "artifact_format": "zip"},
        {"name": "late", "paths": ["r"], "when": "on_failure", "artifact_type": "archive", "artifact_format": "zip"}]);
    let heard = serve(&coordinator, vec![job]).remove(0);
    heard
        .fails()
        .says("the server refuses the artifacts: they are larger than it takes (413)")
        .says("1 excluded");
    let uploads = uploads.lock().expect("no panic").clone();
    let seen = uploads
        .iter()
        .map(|upload| (upload.query.as_str(), upload.name.as_str()));
    assert_eq!(
        seen.collect::<Vec<_>>(),
        [
            ("artifact_format=gzip&artifact_type=dotenv", ".env.gz"),
            (
                "artifact_format=gzip&artifact_type=junit&expire_in=1%20week",
                "junit.xml.gz"
            ),
            ("artifact_format=raw&artifact_type=sast", "sast.json"),
            ("artifact_format=zip&artifact_type=archive", "artifacts.zip"),
        ]
    );
    let mut text = String::new();
    MultiGzDecoder::new(&uploads[1].bytes[..])
        .read_to_string(&mut text)
        .expect("gzip");
    assert_eq!(text, "<b/>\n<a/>\n");
    assert_eq!(uploads[2].bytes, b"{}\n");
    let zip = &uploads[3].bytes;
    let holds = |name: &[u8]| zip.windows(name.len()).any(|part| part == name);
    assert!(holds(b"r/x/a.xml") && !holds(b"r/x.map"));
}

#[test]
fn raw_artifacts_of_several_files_fail_the_job_and_of_none_do_not() {
    let coordinator = Coordinator::new(Kind::GitLab);
    let uploads = take_uploads(&coordinator, "");
    let raw = |paths: &str| {
        let mut job = coordinator.gitlab_job(BUSYBOX, &["touch a.json b.json"]);
        job["artifacts"] =
            json!([{"paths": [paths], "artifact_type": "sast", "artifact_format": "raw"}]);
        job
    };
    let heard = serve(&coordinator, vec![raw("*.json"), raw("none")]);
    heard[0]
        .fails()
        .says("raw artifacts are one file, and these are 2");
    heard[1].succeeds().says("there are no artifacts");
    assert_eq!(uploads.lock().expect("no panic").len(), 0);
}

#[test]
fn a_release_follows_a_script_that_succeeds_and_its_end_is_the_jobs() {
    let coordinator = Coordinator::new(Kind::GitLab);
    let release = [
        "echo version=$VERSION lost=${LOST:-yes}",
        "exit ${STATUS:-0}",
    ];
    let job = |script: &[&str]| {
        let mut job = coordinator.gitlab_job(BUSYBOX, script);
        add_step(&mut job, "release", &release);
        add_step(
            &mut job,
            "after_script",
            &["echo after $CI_JOB_STATUS of $VERSION"],
        );
        job
    };
    let tells = "echo VERSION=1.2 >>$GITLAB_ENV; LOST=no";
    let heard = serve(
        &coordinator,
        vec![
            job(&[tells]),
            job(&[tells, "exit 3"]),
            job(&[tells, "echo STATUS=7 >>$GITLAB_ENV"]),
        ],
    );
    heard[0]
        .succeeds()
        .says("version=1.2 lost=yes")
        .says("after success of 1.2");
    heard[1]
        .fails()
        .says_nothing_of("version=1.2")
        .says("after failed of 1.2")
        .says("exit code 3");
    heard[2]
        .fails()
        .says("version=1.2 lost=yes")
        .says("after failed of 1.2")
        .says("exit code 7");
}

#[test]
fn a_cache_that_is_not_there_has_fallbacks_and_is_written_at_the_ends_that_it_names() {
    let coordinator = Coordinator::new(Kind::GitLab);
    let job = |key: &str, when: &str, script: &[&str]| {
        let mut job = coordinator.gitlab_job(BUSYBOX, script);
        job["cache"] = json!([{"key": key, "fallback_keys": ["none", "main"], "paths": ["deps"], "when": when}]);
        job
    };
    let reads = "cat deps/number 2>/dev/null || echo nothing";
    let makes = "mkdir -p deps; echo from-$KEY >deps/number";
    let with = |mut job: Value, key: &str| {
        add_variables(&mut job, &[("KEY", key)]);
        job
    };
    let mut last = job("newest", "on_success", &[reads]);
    last["cache"][0]["fallback_keys"] = json!([]);
    add_variables(&mut last, &[("CACHE_FALLBACK_KEY", "broken")]);
    let heard = serve(
        &coordinator,
        vec![
            with(job("main", "on_success", &[makes]), "main"),
            job("branch", "on_failure", &[reads]),
            with(job("broken", "always", &[makes, "exit 1"]), "broken"),
            last,
        ],
    );
    heard[0].succeeds().says("Creating cache main...");
    heard[1]
        .succeeds()
        .says_in_order(&[
            "Restoring cache branch...",
            "there is none yet",
            "Restoring cache none...",
            "Restoring cache main...",
            "from-main",
        ])
        .says_times(2, "there is none yet")
        .says_nothing_of("Creating cache");
    heard[2].fails().says("Creating cache broken...");
    heard[3].succeeds().says("from-broken");
}

#[test]
fn hooks_run_around_the_sources_and_reach_nothing_of_the_helpers() {
    let coordinator = Coordinator::new(Kind::GitLab);
    let mut job = coordinator.gitlab_job(DEBIAN, &["cat made; ls -l made | cut -c 1-10"]);
    job["variables"]
        .as_array_mut()
        .expect("a list")
        .push(json!({"key": "KEY", "value": "key-of-the-job", "public": false, "masked": true}));
    job["cache"] = json!([{"key": "k", "paths": ["made"]}]);
    job["hooks"] = json!([
        {"name": "pre_get_sources_script", "script": [
            "echo before-$((1 + 1)); ls README 2>/dev/null || echo without-$((1 + 1))",
            "[ \"$KEY\" = key-of-the-job ]; git config --global user.name hook",
            "(while :; do touch /tmp/lives; sleep 0.1; done) >/dev/null 2>&1 &",
            "touch /usr/local/bin/alloy-runner 2>/dev/null || echo denied-$((40 + 2))",
            "touch /alloy/caches/x 2>/dev/null || echo denied-$((40 + 2))"]},
        {"name": "post_get_sources_script", "script": [
            "ls README; git log -1 --format=%s; git config user.name | tr a-z A-Z; echo made by hook >made",
            "rm -f /tmp/lives; sleep 1; ls /tmp/lives 2>/dev/null || echo ended-$((1 + 1))"]}]);
    let mut fails = coordinator.gitlab_job(BUSYBOX, &["echo never"]);
    fails["hooks"] = json!([{"name": "post_get_sources_script", "script": ["exit 5"]}]);
    let heard = serve(&coordinator, vec![job, fails]);
    heard[0]
        .succeeds()
        .says_in_order(&[
            "before-2",
            "without-2",
            "denied-42",
            "Cloning repository...",
            "\nREADME\n",
            "\na commit\n",
            "\nHOOK\n",
            "\nended-2\n",
            "\nmade by hook\n",
            "\n-rw-rw-rw-\n",
        ])
        .says_times(2, "denied-42");
    heard[1]
        .fails()
        .says("post_get_sources_script failed with status 5")
        .says_nothing_of("\nnever");
}

#[test]
fn a_job_chooses_whom_it_runs_as_and_when_images_are_pulled_as_far_as_it_may() {
    let coordinator = Coordinator::new(Kind::GitLab);
    let job = |options: Value, policies: Value| {
        let mut job = coordinator.gitlab_job(BUSYBOX, &["echo I am $(id -u):$(id -g)"]);
        job["image"]["executor_opts"] = json!({"docker": options});
        job["image"]["pull_policy"] = policies;
        job
    };
    let heard = serve(
        &coordinator,
        vec![
            job(json!({"user": 1234}), json!(["never"])),
            job(json!({"user": "1234:5678"}), Value::Null),
            job(Value::Null, json!(["always"])),
            job(json!({"user": "--privileged"}), Value::Null),
            job(json!({"platform": "not a platform"}), Value::Null),
        ],
    );
    heard[0].succeeds().says("I am 1234:0");
    heard[1].succeeds().says("I am 1234:5678");
    heard[2]
        .fails()
        .says("test.image.pull_policy: `always` is not allowed; docker.pull_policy has: never");
    heard[3].fails().says("`--privileged` is no user");
    heard[4].fails().says("`not a platform` is no platform");
}

#[test]
fn a_service_has_variables_of_its_own_and_names_the_port_it_is_asked_on() {
    let coordinator = Coordinator::new(Kind::GitLab);
    let mut job = coordinator.gitlab_job(
        BUSYBOX,
        &["wget -qO- http://one:7000/ http://two:7000/; echo here ${WORD:-nothing}"],
    );
    add_variables(&mut job, &[("OF_JOB", "shared")]);
    let serves = "mkdir /w; echo $WORD $OF_JOB >/w/index.html; exec httpd -f -p 7000 -h /w";
    let service = |alias: &str, word: &str| {
        json!({"name": BUSYBOX, "alias": alias, "entrypoint": [""], "command": ["sh", "-c", serves],
               "variables": [{"key": "WORD", "value": word}, {"key": "HEALTHCHECK_TCP_PORT", "value": "7000"}]})
    };
    job["services"] = json!([service("one", "first-$OF_JOB"), service("two", "second")]);
    let mut redis = coordinator.gitlab_job(BUSYBOX, &["true"]);
    redis["services"] = json!([{"name": REDIS, "alias": "a, b c", "ports": [{"number": 80}],
                                "variables": [{"key": "HEALTHCHECK_TCP_PORT", "value": "x"}]}]);
    let heard = serve(&coordinator, vec![job, redis]);
    heard[0]
        .succeeds()
        .says("first-shared shared")
        .says("second shared")
        .says("here nothing")
        .says_nothing_of("WARNING: service");
    heard[1]
        .fails()
        .says("HEALTHCHECK_TCP_PORT is `x`, which is no port");
}
