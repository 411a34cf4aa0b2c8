use std::time::Duration;

use super::read;
use crate::job::files::{CachePolicy, When};
use crate::job::{Job, Origin};

const ALLOYCI: &str = include_str!("../../../fixtures/payloads/alloyci.json");
const GITLAB: &str = include_str!("../../../fixtures/payloads/gitlab.json");

fn job(text: &str) -> Job {
    let out = read(text.as_bytes(), "https://c/api/v4").expect("id and token");
    *out.job.unwrap_or_else(|error| panic!("{error}"))
}

fn value<'a>(job: &'a Job, name: &str) -> Option<(&'a str, bool)> {
    let variable = job
        .variables
        .iter()
        .find(|variable| variable.name == name)?;
    Some((variable.value.expose(), variable.public))
}

#[test]
fn alloyci_and_its_surprises() {
    let job = job(ALLOYCI);
    assert_eq!((job.id, job.project.id), (17, 3));
    assert_eq!(job.project.namespace, "acme");
    assert_eq!(
        (job.sources.ref_name.as_str(), job.sources.tag),
        ("master", false)
    );
    assert_eq!(job.image, None, "none is named");
    assert_eq!(job.services[0].name, "postgres:9.3");
    assert_eq!((job.caches.len(), job.artifacts.len()), (0, 0));
    assert_eq!(value(&job, "CI_COMMIT_PUSHER"), Some(("", true)));
    assert_eq!(value(&job, "RETRIES"), Some(("3", true)));
    assert_eq!(value(&job, "DEEP"), Some(("false", true)));
    assert_eq!(value(&job, "DB_PASSWORD"), Some(("secret", false)));
    assert_eq!(value(&job, "GIT_SSL_NO_VERIFY"), None);
    assert_eq!(job.script, ["bundle install", "rake"]);
    assert_eq!(job.after_script, ["rm x"]);
    assert_eq!(job.timeout, Some(Duration::from_hours(1)));
    assert!(job.fetch);
    assert_eq!(job.dependencies[0].id, 16);
    let Origin::Remote { remote, .. } = &job.sources.origin else {
        panic!("{:?}", job.sources.origin);
    };
    assert_eq!(remote.address, "https://host/acme/site.git");
    let secrets: Vec<&str> = job
        .secrets
        .iter()
        .map(crate::secret::Secret::expose)
        .collect();
    assert_eq!(secrets, ["job-token", "other-token"]);
}

#[test]
fn gitlab_and_its_superset() {
    let job = job(GITLAB);
    assert_eq!(
        (job.sources.ref_name.as_str(), job.sources.tag),
        ("v1.0", true)
    );
    assert_eq!(job.sources.depth, 20);
    assert_eq!(job.project.namespace, "acme/group");
    assert_eq!(value(&job, "GIT_SSL_NO_VERIFY"), Some(("true", true)));
    assert_eq!(value(&job, "CI_JOB_TOKEN"), Some(("glcbt-64_abc", false)));
    assert!(job.variables.iter().any(|variable| variable.file));
    assert_eq!(job.services[0].alias, ["db", "pg"]);
    assert_eq!(job.artifacts[0].when, When::Always);
    assert_eq!(job.caches[0].policy, CachePolicy::Pull);
    assert!(job.caches[0].untracked);
    assert_eq!(job.credentials.len(), 1);
    let Origin::Remote { refspecs, .. } = &job.sources.origin else {
        panic!("{:?}", job.sources.origin);
    };
    assert_eq!(refspecs.len(), 2, "{refspecs:?}");
}

#[test]
fn refs_are_full_short_or_of_a_fork() {
    for (sent, kind, name, tag) in [
        ("refs/heads/a/b", "branch", "a/b", false),
        ("refs/tags/v1", "branch", "v1", true),
        ("octocat:patch-1", "branch", "octocat:patch-1", false),
        (
            "refs/merge-requests/1/head",
            "branch",
            "refs/merge-requests/1/head",
            false,
        ),
        ("v1", "tag", "v1", true),
    ] {
        let text = ALLOYCI.replace("refs/heads/master", sent).replace(
            "\"ref_type\": \"branch\"",
            &format!("\"ref_type\": \"{kind}\""),
        );
        let job = job(&text);
        assert_eq!(
            (job.sources.ref_name.as_str(), job.sources.tag),
            (name, tag),
            "{sent}"
        );
    }
}

#[test]
fn a_project_or_job_may_still_switch_off_tls_checks() {
    let again = r#"{"key": "GIT_SSL_NO_VERIFY", "value": "1", "public": true}"#;
    let text = ALLOYCI.replace(
        r#"{"key": "RETRIES""#,
        &format!(r#"{again}, {{"key": "RETRIES""#),
    );
    assert_eq!(value(&job(&text), "GIT_SSL_NO_VERIFY"), Some(("1", true)));
    let secret = ALLOYCI.replace(
        r#""value": "true", "public": true},
                {"key": "CI_COMMIT"#,
        r#""value": "true", "public": false},
                {"key": "CI_COMMIT"#,
    );
    assert_eq!(
        value(&job(&secret), "GIT_SSL_NO_VERIFY"),
        Some(("true", false))
    );
}

#[test]
fn only_jobs_with_artifacts_are_asked_for_them_and_all_tokens_are_secrets() {
    for (file, asked) in [
        ("", 0),
        (", \"artifacts_file\": null", 0),
        (", \"artifacts_file\": {}", 0),
        (", \"artifacts_file\": {\"filename\": \"\"}", 0),
        (", \"artifacts_file\": {\"filename\": \"a.zip\"}", 1),
    ] {
        let whole = r#", "artifacts_file": {"filename": "artifacts.zip", "size": 2500}"#;
        let job = job(&ALLOYCI.replace(whole, file));
        assert_eq!(job.dependencies.len(), asked, "{file}");
        let secrets = job.secrets.iter();
        assert!(
            secrets
                .map(crate::secret::Secret::expose)
                .any(|secret| secret == "other-token")
        );
    }
}

#[test]
fn a_torn_payload_is_still_a_job_to_report() {
    for cut in 0..ALLOYCI.len() {
        let out = read(&ALLOYCI.as_bytes()[..cut], "https://c/api/v4");
        assert_eq!(out.is_some(), cut > 33, "cut at {cut}");
        if let Some(out) = out
            && cut < ALLOYCI.trim_end().len()
        {
            assert_eq!((out.key.id, out.key.token.expose()), (17, "job-token"));
            assert!(out.job.is_err(), "cut at {cut}");
        }
    }
}

#[test]
fn what_is_wrong_is_named_and_no_value_is_shown() {
    let [longest, longer] = [1024, 1025].map(|length| "r".repeat(length));
    let long = |name: &str| ALLOYCI.replace("refs/heads/master", &format!("refs/heads/{name}"));
    assert_eq!(job(&long(&longest)).sources.ref_name, longest);
    for (from, to, want) in [
        ("\"steps\": [", "\"steps\": [3, ", "steps[0]: invalid type"),
        (
            "\"value\": 3",
            "\"value\": []",
            "the variable RETRIES is neither",
        ),
        ("\"git_info\"", "\"git\"", "missing field `git_info`"),
        (
            "https://x-access-token:SECRET@host",
            "ext::SECRET",
            "address",
        ),
        ("a2fe6e72e", "--upload-pack", "is no commit id"),
        (
            "heads/master",
            &format!("heads/{longer}"),
            "the ref has 1025 bytes",
        ),
        (
            "\"public\": false",
            "\"public\": \"SECRET\"",
            "variables[5].public: invalid type",
        ),
    ] {
        let out = read(ALLOYCI.replace(from, to).as_bytes(), "").expect("id and token");
        let error = out.job.expect_err(from).to_string();
        assert!(error.contains(want) && !error.contains("SECRET"), "{error}");
    }
}

#[test]
fn an_image_without_a_name_is_none_and_an_empty_entrypoint_is_the_images_own() {
    let mut sent: serde_json::Value = serde_json::from_str(GITLAB).expect("JSON");
    for (image, name) in [
        (r#"{"name": ""}"#, None),
        (r#"{"name": null}"#, None),
        (r#""""#, None),
        ("null", None),
        (r#"{"name": "ruby", "entrypoint": []}"#, Some("ruby")),
        (r#"{"name": "ruby", "entrypoint": [null]}"#, Some("ruby")),
        (r#"{"name": "ruby", "entrypoint": null}"#, Some("ruby")),
    ] {
        sent["image"] = serde_json::from_str(image).expect("JSON");
        let read = job(&sent.to_string()).image;
        assert_eq!(
            read.as_ref().map(|spec| spec.name.as_str()),
            name,
            "{image}"
        );
        assert_eq!(read.and_then(|spec| spec.entrypoint), None, "{image}");
    }
}

#[test]
fn a_ref_is_protected_where_the_coordinator_says_so_and_no_fork_is() {
    let with = |said: &str, variables: &[(&str, &str)]| {
        let variables = variables
            .iter()
            .map(|(key, value)| serde_json::json!({"key": key, "value": value}));
        let mut payload: serde_json::Value = serde_json::from_str(ALLOYCI).expect("JSON");
        payload["variables"] = variables.collect();
        payload["git_info"]["protected"] = serde_json::from_str(said).expect("JSON");
        job(&payload.to_string()).protected
    };
    let yes = ("CI_COMMIT_REF_PROTECTED", "true");
    let no = ("CI_COMMIT_REF_PROTECTED", "false");
    assert!(!job(ALLOYCI).protected && job(GITLAB).protected);
    assert!(with("true", &[no]) && !with("false", &[yes]));
    assert!(with("null", &[yes, no]) && !with("null", &[no, yes]));
    let source = ("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "4");
    assert!(!with("true", &[source]));
    assert!(!with(
        "true",
        &[source, ("CI_MERGE_REQUEST_PROJECT_ID", "3")]
    ));
    assert!(with(
        "true",
        &[source, ("CI_MERGE_REQUEST_PROJECT_ID", "4")]
    ));
}

#[test]
fn what_gitlab_asks_for_has_its_place() {
    let mut sent: serde_json::Value = serde_json::from_str(GITLAB).expect("JSON");
    sent["steps"] = serde_json::json!([
        {"name": "script", "script": ["make"], "timeout": 60}, null,
        {"name": "release", "script": ["release-cli create"], "timeout": 30},
        {"name": "after_script", "script": ["rm x"], "timeout": 10}]);
    sent["hooks"] = serde_json::json!([
        {"name": "pre_get_sources_script", "script": ["echo a"]}, {"name": null, "script": []},
        {"name": "post_get_sources_script", "script": "echo b"}]);
    sent["services"] = serde_json::json!([{"name": "redis", "alias": "a, b  c", "ports": [{"number": 1}],
        "pull_policy": null, "executor_opts": {"docker": null},
        "variables": [{"key": "A", "value": 5}, null, {"key": "B", "value": "b-secret", "masked": true}]}]);
    sent["cache"] = serde_json::json!([{"key": "k", "fallback_keys": null, "when": null},
        {"key": "k", "fallback_keys": ["a", null], "when": "always"}]);
    sent["artifacts"] = serde_json::json!([{"paths": ["x"], "exclude": ["y", null], "artifact_type": "junit",
        "artifact_format": "gzip"}]);
    let read = job(&sent.to_string());
    assert_eq!((read.script.len(), read.after_script.len()), (1, 1));
    assert_eq!(read.releases[0].script, ["release-cli create"]);
    assert_eq!(read.releases[0].timeout, Some(Duration::from_secs(30)));
    assert_eq!(read.script_timeout, Some(Duration::from_mins(1)));
    assert_eq!(read.hooks.pre_get_sources, ["echo a"]);
    assert_eq!(read.hooks.post_get_sources, ["echo b"]);
    let service = &read.services[0];
    assert_eq!(service.alias, ["a", "b", "c"]);
    let shown = service.variables.iter();
    let shown = shown.map(|of| (of.name.as_str(), of.value.expose(), of.public));
    assert_eq!(
        shown.collect::<Vec<_>>(),
        [("A", "5", true), ("B", "b-secret", false)]
    );
    assert!(read.secrets.iter().any(|of| of.expose() == "b-secret"));
    assert_eq!(read.caches[1].fallback_keys, ["a"]);
    assert_eq!(read.artifacts[0].exclude, ["y"]);
    for (key, value, said) in [
        (
            "steps",
            r#"[{"name": "deploy", "script": ["x"]}]"#,
            "it has the step `deploy`",
        ),
        (
            "hooks",
            r#"[{"name": "on_exit", "script": ["x"]}]"#,
            "it has the hook `on_exit`",
        ),
    ] {
        let mut sent = sent.clone();
        sent[key] = serde_json::from_str(value).expect("JSON");
        let error = super::read(sent.to_string().as_bytes(), "")
            .expect("a job")
            .job;
        let error = error.expect_err(key).to_string();
        assert!(error.contains(said), "{error}");
    }
    // AlloyCI may call the steps of its script what it likes.
    let steps = ALLOYCI.replace("\"name\": \"script\"", "\"name\": \"release\"");
    assert_eq!(job(&steps).releases, []);
}

#[test]
fn inputs_of_a_job_are_put_where_it_names_them() {
    let mut sent: serde_json::Value = serde_json::from_str(GITLAB).expect("JSON");
    sent["steps"][0]["script"] =
        serde_json::json!(["echo ${{ job.inputs.word }}-${{job.inputs.count}}", "$ {x}"]);
    sent["image"]["name"] = "ruby:${{ job.inputs.count }}".into();
    sent["cache"][0]["policy"] = "${{ job.inputs.policy }}".into();
    sent["artifacts"][0]["paths"] = serde_json::json!(["out/${{ job.inputs.on }}"]);
    // Without inputs it is a text like any other.
    let read = job(&sent.to_string());
    assert_eq!(
        read.script[0],
        "echo ${{ job.inputs.word }}-${{job.inputs.count}}"
    );
    let input = |key: &str, kind: &str, content: serde_json::Value| serde_json::json!({"key": key, "value": {"type": kind, "content": content, "sensitive": key == "password"}});
    sent["inputs"] = serde_json::json!([
        input("word", "string", "a b ${{ x }}".into()),
        input("count", "number", 3.into()),
        input("on", "boolean", true.into()),
        input("policy", "string", "pull".into()),
        input("list", "array", serde_json::json!([1])),
        input("long", "string", "x".repeat(1 << 20).into()),
        input("password", "string", "hunter2".into())
    ]);
    let read = job(&sent.to_string());
    assert_eq!(read.script, ["echo a b ${{ x }}-3", "$ {x}"]);
    assert_eq!(read.image.map(|spec| spec.name).as_deref(), Some("ruby:3"));
    assert_eq!(read.artifacts[0].paths, ["out/true"]);
    assert_eq!(
        read.caches[0].policy,
        CachePolicy::Expanded("pull".to_owned())
    );
    for (text, said) in [
        (
            "${{ job.inputs.other }}",
            "`${{ job.inputs.other }}` is no input of the job; it has job.inputs.count, ",
        ),
        ("${{ env.X }}", "`${{ env.X }}` is no input of the job"),
        ("${{ job.inputs.list }}", "is a list, an object or a secret"),
        (
            "${{ job.inputs.password }}",
            "is a list, an object or a secret",
        ),
        ("${{ job.inputs.word", "does not end with `}}`"),
        (&"${{ job.inputs.long }}".repeat(5), "is one too many"),
    ] {
        sent["steps"][0]["script"] = serde_json::json!([text]);
        let error = super::read(sent.to_string().as_bytes(), "")
            .expect("a job")
            .job;
        let error = error.expect_err(text).to_string();
        assert!(
            error.contains(said) && !error.contains("hunter2"),
            "{error}"
        );
    }
}

#[test]
fn of_gitlabs_variables_those_are_secrets_that_are_masked() {
    let mut sent: serde_json::Value = serde_json::from_str(GITLAB).expect("JSON");
    sent["variables"] = serde_json::json!([{"key": "GITLAB_CI", "value": "true", "public": true},
        {"key": "ENV", "value": "staging", "public": false, "masked": false},
        {"key": "KEY", "value": "masked-word", "public": false, "masked": true},
        {"key": "OLD", "value": "unsaid-word", "public": false}]);
    let secrets = job(&sent.to_string()).every_secret();
    let is_one = |word: &str| secrets.iter().any(|secret| secret.expose() == word);
    let words = ["staging", "masked-word", "unsaid-word"];
    assert_eq!(words.map(is_one), [false, true, true]);
}
