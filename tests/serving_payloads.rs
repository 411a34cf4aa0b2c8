//! What a coordinator may say of a job: what means nothing stops nothing, what cannot be done fails the job by its name.

mod support;

use serde_json::{Value, json};
use support::coordinator::{Coordinator, Heard, Kind};
use support::{BUSYBOX, DEBIAN, docker};

/// Serves the jobs one after the other, and returns what was heard of each.
fn serve(coordinator: &Coordinator, jobs: Vec<Value>) -> Vec<Heard> {
    let ids: Vec<u64> = jobs.into_iter().map(|job| coordinator.queue(job)).collect();
    let count = ids.len().to_string();
    coordinator.serve(["--max-builds", &count]).exits(0);
    ids.iter().map(|id| coordinator.heard(*id)).collect()
}

fn variables(pairs: &[(&str, &str)]) -> Value {
    let of = |(key, value): &(&str, &str)| json!({"key": key, "value": value, "public": true});
    pairs.iter().map(of).collect()
}

#[test]
fn jobs_without_artifacts_and_nulls_in_lists_stop_nothing() {
    let coordinator = Coordinator::new(Kind::GitLab);
    let mut job = coordinator.job(BUSYBOX, &[]);
    job["dependencies"] = json!([null, {"id": 91, "name": "a", "token": "token-of-a"},
        {"id": 92, "name": "b", "token": "token-of-b", "artifacts_file": null},
        {"id": 93, "name": "c", "token": "token-of-c", "artifacts_file": {"filename": null, "size": 0}},
        {"id": 94, "name": "d", "token": "token-of-d", "artifacts_file": {"filename": "", "size": 0}}]);
    job["variables"] = json!([null, {"key": "WORD", "value": "fine", "public": true}]);
    job["steps"] = json!([null, {"name": "script", "script": [null, "echo all is $WORD"]}]);
    job["image"]["entrypoint"] = json!([null]);
    job["services"] = json!([null]);
    job["credentials"] = json!([null]);
    job["hooks"] = json!([null]);
    job["secrets"] = Value::Null;
    job["git_info"]["refspecs"] = json!([null]);
    job["git_info"]["depth"] = json!(-1);
    job["artifacts"] = json!([null, {"paths": [null], "untracked": null}]);
    job["cache"] = json!([null, {"key": "none", "paths": [null]}]);
    job["image"]["ports"] = json!([null]);
    job["features"] = Value::Null;
    let heard = serve(&coordinator, vec![job]).remove(0);
    heard
        .succeeds()
        .says("\nall is fine\n")
        .says_nothing_of("WARNING");
    assert_eq!(
        coordinator.requests("GET /api/v4/jobs/91/artifacts").len(),
        0
    );
}

#[test]
fn what_cannot_be_done_for_a_job_fails_it_by_its_name() {
    let coordinator = Coordinator::new(Kind::GitLab);
    let cases = [
        (
            json!({"steps": null, "run": "[{\"name\":\"hello\",\"script\":\"echo hello\"}]"}),
            "it has steps in `run`, which this runner cannot run; give it a `script`",
        ),
        (json!({"steps": null}), "it has neither `steps` nor `run`"),
        (
            json!({"secrets": {"DB_PASSWORD": {"vault": {}}, "KEY": {"gcp": {}}}}),
            "it has secrets that this runner cannot fetch (`secrets`): DB_PASSWORD, KEY",
        ),
        (
            json!({"hooks": [{"name": "pre_build_script", "script": ["exit 1"]}]}),
            "it has the hook `pre_build_script`, which this runner cannot run",
        ),
        (
            json!({"services": [{"name": "alloy-runner-test/redis"}, {"name": ""}]}),
            "services[1] has no name",
        ),
        (
            json!({"services": [{"name": null}]}),
            "services[0] has no name",
        ),
        (json!({"services": [""]}), "services[0] has no name"),
        (
            json!({"variables": [{"key": "A-B", "value": "1", "public": true}]}),
            "`A-B` is no name for a variable: letters, digits and underscores, no digit first; write `A_B`",
        ),
    ];
    let jobs = cases.iter().map(|(change, _)| {
        let mut job = coordinator.job(BUSYBOX, &["echo nobody runs this"]);
        for (key, value) in change.as_object().expect("an object") {
            job[key] = value.clone();
        }
        job
    });
    let heard = serve(&coordinator, jobs.collect());
    for (heard, (_, sentence)) in heard.iter().zip(cases) {
        assert_eq!(
            heard.state.as_deref(),
            Some("failed"),
            "{sentence}: {}",
            heard.log
        );
        assert!(heard.log.contains(sentence), "{sentence}: {}", heard.log);
        assert!(!heard.log.contains("\nnobody"), "{sentence}: {}", heard.log);
    }
}

#[test]
fn what_a_job_gets_wrong_costs_a_warning_and_the_default() {
    let coordinator = Coordinator::new(Kind::GitLab);
    let script = ["ls README"];
    let mut wrong = coordinator.job(DEBIAN, &script);
    wrong["variables"] = variables(&[
        ("GIT_STRATEGY", "klone"),
        ("GIT_DEPTH", "all"),
        ("GIT_CHECKOUT", "1"),
        ("GIT_SUBMODULE_STRATEGY", "deep"),
        ("GET_SOURCES_ATTEMPTS", "several"),
        ("ARTIFACT_DOWNLOAD_ATTEMPTS", "-1"),
        ("RESTORE_CACHE_ATTEMPTS", "x"),
        ("RUNNER_AFTER_SCRIPT_TIMEOUT", "soon"),
        ("POLICY", "none"),
    ]);
    wrong["cache"] = json!([{"key": "k", "paths": ["x"], "policy": "$POLICY"}]);
    wrong["image"]["entrypoint"] = json!([]);
    let mut good = coordinator.job(DEBIAN, &script);
    good["variables"] = variables(&[
        ("GIT_STRATEGY", "clone"),
        ("GIT_DEPTH", "-3"),
        ("GIT_CHECKOUT", "True"),
        ("POLICY", "pull"),
        ("RUNNER_AFTER_SCRIPT_TIMEOUT", "1h30m"),
    ]);
    good["cache"] = json!([{"key": "k", "paths": ["x"], "policy": "$POLICY"}]);
    let heard = serve(&coordinator, vec![wrong, good]);
    let flags = |log: &str| {
        let warnings = log.lines().filter(|line| line.contains("WARNING: the "));
        warnings
            .map(|line| line.split("; ").next().unwrap_or(line).to_owned())
            .collect::<Vec<_>>()
    };
    for heard in &heard {
        heard.succeeds();
    }
    let [wrong, good] = [&heard[0].log, &heard[1].log];
    for sentence in [
        "the variable GIT_STRATEGY is `klone`; it can be clone, fetch, none, empty: `clone` is taken",
        "the variable GIT_DEPTH is `all`; it must be a number, 0 or more: 0 is taken",
        "the variable GIT_SUBMODULE_STRATEGY is `deep`; it can be none, normal, recursive: `none` is taken",
        "the variable GET_SOURCES_ATTEMPTS is `several`; it must be a number, 0 or more: 1 is taken",
        "the variable ARTIFACT_DOWNLOAD_ATTEMPTS is `-1`; it must be a number, 0 or more: 1 is taken",
        "the variable RESTORE_CACHE_ATTEMPTS is `x`; it must be a number, 0 or more: 1 is taken",
        "the variable RUNNER_AFTER_SCRIPT_TIMEOUT is `soon`; it must be a time like 90, 90s, 10m or 1h30m: 5m is taken",
        "the policy of the cache `k` is `$POLICY`, which is `none`; it can be pull-push, pull, push: `pull-push` is taken",
    ] {
        assert!(wrong.contains(sentence), "{sentence}: {wrong}");
    }
    assert_eq!(flags(wrong).len(), 8, "{wrong}");
    assert!(good.contains("the variable GIT_DEPTH is `-3`"), "{good}");
    assert_eq!(flags(good).len(), 1, "{good}");
}

#[test]
fn an_after_script_ends_with_the_jobs_time() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let mut job = coordinator.job(BUSYBOX, &["true"]);
    job["runner_info"]["timeout"] = json!(5);
    job["steps"].as_array_mut().expect("a list").push(json!(
        {"name": "after_script", "script": ["echo cleaning", "sleep 600"], "timeout": 3600, "when": "always", "allow_failure": true}
    ));
    let mut late = coordinator.job(BUSYBOX, &["sleep 600"]);
    late["runner_info"]["timeout"] = json!(4);
    late["steps"].as_array_mut().expect("a list").push(json!(
        {"name": "after_script", "script": ["echo nobody runs this"], "timeout": 3600, "when": "always", "allow_failure": true}
    ));
    let heard = serve(&coordinator, vec![job, late]);
    let end = "\nWARNING: after_script failed: execution took longer than 5 s\n";
    let log = heard[0]
        .log
        .replace("\u{1b}[33m", "")
        .replace("\u{1b}[33;1m", "")
        .replace("\u{1b}[0;m", "");
    heard[0].succeeds();
    assert!(log.contains("\ncleaning\n") && log.contains(end), "{log}");
    heard[1].fails();
    let log = &heard[1].log;
    assert!(
        log.contains("after_script is left out: the job's time is over"),
        "{log}"
    );
    assert!(log.contains("execution took longer than 4 s"), "{log}");
    assert!(!log.contains("\nnobody"), "{log}");
}

#[test]
fn the_contents_of_file_variables_do_not_stay_in_kept_sources() {
    let coordinator = Coordinator::new(Kind::GitLab);
    let job = |script: &[&str]| {
        let mut job = coordinator.job(BUSYBOX, script);
        job["allow_git_fetch"] = json!(true);
        job["variables"] = json!([{"key": "KUBECONFIG", "value": "contents-of-the-file", "public": false, "file": true}]);
        job["steps"].as_array_mut().expect("a list").push(json!(
            {"name": "after_script", "script": ["wc -c <$KUBECONFIG"], "timeout": 3600, "when": "always"}));
        job
    };
    let shows = ["cat $KUBECONFIG | tr a-z A-Z", "touch kept"];
    for heard in serve(
        &coordinator,
        vec![job(&shows), job(&["exit 3"]), job(&shows)],
    ) {
        heard.says("\n20\n");
        let reads = heard.log.contains("\nCONTENTS-OF-THE-FILE");
        assert_eq!(
            reads,
            heard.state.as_deref() == Some("success"),
            "{}",
            heard.log
        );
    }
    let name = format!("-project-{}-concurrent-0-", coordinator.project);
    let volumes = docker(&[
        "volume",
        "ls",
        "--quiet",
        "--filter",
        &format!("name={name}"),
    ]);
    let (mut kept, mut all) = (0, String::new());
    for volume in volumes.lines() {
        let mount = format!("{volume}:/kept:ro");
        let script = "grep -r -l contents-of-the-file /kept || :; find /kept -name kept";
        let mut run = vec!["run", "--rm", "--volume", &mount, BUSYBOX, "sh", "-c"];
        run.push(script);
        let found = docker(&run);
        all += &found;
        kept += found.matches("/kept/git/acme/site/kept\n").count();
        assert_eq!(
            found
                .lines()
                .filter(|line| !line.ends_with("/kept"))
                .count(),
            0,
            "{found}"
        );
    }
    assert_eq!(kept, 1, "{all}");
}
