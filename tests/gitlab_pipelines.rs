//! Pipelines as GitLab cuts them into payloads (`fixtures/gitlab`), each job over a real git server with a token.

mod support;

use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde_json::Value;
use support::artifact_store::{Uploaded, store};
use support::coordinator::{Coordinator, GIT_PASSWORD, Heard, Kind};
use support::{BUSYBOX, DEBIAN, GCC, NONROOT, Running, git, spawn};

/// The payloads of a pipeline.
fn jobs(coordinator: &Coordinator, pipeline: &str) -> Vec<Value> {
    let file = format!("fixtures/gitlab/{pipeline}.json");
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file));
    let url = coordinator.url();
    let (scheme, host) = url.split_once("://").expect("an address");
    let text = [
        ("{{busybox}}", BUSYBOX),
        ("{{debian}}", DEBIAN),
        ("{{gcc}}", GCC),
        ("{{nonroot}}", NONROOT),
        ("{{sha}}", &coordinator.sha()),
        (
            "{{repo_url}}",
            &format!("{scheme}://x-access-token:{GIT_PASSWORD}@{host}/git/acme/site.git"),
        ),
        ("\"{{project}}\"", &coordinator.project.to_string()),
    ]
    .iter()
    .fold(text.expect("readable"), |text, (slot, value)| {
        text.replace(slot, value)
    });
    serde_json::from_str(&text).expect("JSON")
}

/// Runs the jobs of a pipeline one after the other, and returns what was heard of each.
fn run(coordinator: &Coordinator, pipeline: &str) -> Vec<Heard> {
    let jobs = jobs(coordinator, pipeline);
    let ids: Vec<u64> = jobs.into_iter().map(|job| coordinator.queue(job)).collect();
    let count = ids.len().to_string();
    coordinator.serve(["--max-builds", &count]).exits(0);
    ids.iter().map(|id| coordinator.heard(*id)).collect()
}

/// A coordinator whose project has a branch `main` with a tag, and a commit behind it that a merge request is about.
fn coordinator() -> Coordinator {
    let coordinator = Coordinator::new(Kind::GitLab);
    let work = coordinator.work();
    git(&work, &["tag", "-m", "a release", "v1.0"]);
    git(
        &work,
        &["push", "-q", "origin", "HEAD:refs/heads/main", "v1.0"],
    );
    fs::write(work.join("topic"), "of a merge request\n").expect("written");
    git(&work, &["add", "-A"]);
    git(&work, &["commit", "-qm", "a topic"]);
    for name in ["refs/merge-requests/7/head", "refs/pipelines/31"] {
        git(&work, &["push", "-q", "origin", &format!("HEAD:{name}")]);
    }
    coordinator
}

#[test]
fn a_merge_request_sees_what_it_would_change() {
    let coordinator = coordinator();
    let heard = run(&coordinator, "merge_request").remove(0);
    heard
        .succeeds()
        .says("\nv1.0-1-g")
        .says(" topic | 1 +\n")
        .says(format!("\n{}\n", coordinator.sha()))
        .says("\nfetched by myself\n")
        .says_nothing_of(GIT_PASSWORD);
}

#[test]
fn reports_are_sent_each_in_its_format_and_the_archive_reaches_the_next_stage() {
    let coordinator = coordinator();
    let store = store(&coordinator);
    let heard = run(&coordinator, "reports");
    heard[0].succeeds().says("WARNING: ");
    heard[1]
        .succeeds()
        .says("\npage\n")
        .says("\ndeploying 1.7\n");
    let sent = store.lock().expect("no panic")[&1011].clone();
    let about = |file: &Uploaded| format!("{} {}", file.name, file.query);
    let sent_as: Vec<String> = sent.iter().map(about).collect();
    for (name, of_type) in [
        ("site.zip", "artifact_format=zip&artifact_type=archive"),
        ("junit.xml.gz", "artifact_format=gzip&artifact_type=junit"),
        (".env.gz", "artifact_format=gzip&artifact_type=dotenv"),
    ] {
        let want = format!("{name} {of_type}&expire_in=1%20week");
        assert!(sent_as.contains(&want), "{want} in {sent_as:#?}");
    }
    assert_eq!(sent.len(), 3, "{sent_as:#?}");
    let junit = sent.iter().find(|file| file.name == "junit.xml.gz");
    let mut text = String::new();
    let mut members = MultiGzDecoder::new(&*junit.expect("sent").bytes);
    members.read_to_string(&mut text).expect("gzip");
    assert_eq!(text, "<testsuite name=\"a\"/>\n<testsuite name=\"b\"/>\n");
}

#[test]
fn a_release_follows_a_script_that_succeeded_and_knows_what_that_said() {
    let heard = run(&coordinator(), "release");
    heard[0].succeeds().says_in_order(&[
        "\ntested\n",
        "\nreleasing 2.0\n",
        "\ncleaning up after 2.0, success\n",
    ]);
    heard[1].fails().says_nothing_of("\nreleasing anyway\n");
}

#[test]
fn gitlab_hears_the_status_by_which_it_allows_a_failure() {
    let heard = run(&coordinator(), "allow_failure_exit_codes").remove(0);
    heard.fails_by("script_failure");
    assert_eq!(heard.exit_code, Some(42), "{heard}");
}

#[test]
fn a_cache_comes_from_the_first_key_that_has_one_and_is_written_after_the_ends_it_names() {
    let heard = run(&coordinator(), "cache_fallback");
    heard[0].succeeds();
    heard[1].fails().says("\nof main\n");
    heard[2].succeeds().says("\nof main\nof topic\n");
}

#[test]
fn hooks_run_before_and_after_the_sources_come() {
    let heard = run(&coordinator(), "hooks").remove(0);
    heard.succeeds().says_in_order(&[
        "\nbefore the sources: 0 files\n",
        "\nafter the sources\n",
        "\nafter the sources\n",
    ]);
}

#[test]
fn a_service_has_variables_of_its_own_and_several_names() {
    let heard = run(&coordinator(), "service_variables").remove(0);
    heard
        .succeeds()
        .says("\nthe service has its own word\n")
        .says_times(2, "the service has its own word\n")
        .says("\nthe job has none\n");
}

#[test]
fn an_image_has_the_policy_and_the_user_that_it_asks_for_where_the_runner_allows_them() {
    let coordinator = coordinator();
    let heard = {
        coordinator.configure_docker(
            "",
            &[""],
            "allowed_pull_policies = [\"never\", \"if-not-present\"]\n",
        );
        let jobs = jobs(&coordinator, "pull_policy");
        let ids: Vec<u64> = jobs.into_iter().map(|job| coordinator.queue(job)).collect();
        coordinator
            .run(["run-single", "--runner", "docker-0", "--max-builds", "2"])
            .exits(0);
        ids.iter()
            .map(|id| coordinator.heard(*id))
            .collect::<Vec<_>>()
    };
    heard[0].succeeds().says("\n1000\n");
    heard[1].fails().says("always").says_nothing_of("\nnever\n");
}

#[test]
fn a_job_that_is_canceled_cleans_up_first() {
    let coordinator = coordinator();
    let job = jobs(&coordinator, "cancel").remove(0);
    let id = coordinator.queue(job);
    let runner: Running = spawn(&mut coordinator.single([] as [&str; 0]));
    coordinator.wait_for_text(id, "begun\n");
    coordinator.cancel_gracefully(id);
    let heard = coordinator.wait_for_end(&[id]).remove(0);
    heard.fails().says("\ncleaning up: canceled\n");
    runner.wait_with_output().expect("ended");
}

#[test]
fn submodules_at_ssh_addresses_come_with_the_jobs_token() {
    let coordinator = coordinator();
    let bare = coordinator.beside("acme/lib.git");
    fs::create_dir_all(&bare).expect("created");
    git(&bare, &["init", "-q", "--bare", "-b", "main"]);
    git(&bare, &["config", "uploadpack.allowAnySHA1InWant", "true"]);
    let lib = coordinator.beside("lib");
    let root = coordinator.beside("");
    git(
        &root,
        &["clone", "-q", bare.to_str().expect("UTF-8"), "lib"],
    );
    for word in ["one", "two"] {
        fs::write(lib.join("README"), format!("lib {word}\n")).expect("written");
        git(&lib, &["add", "-A"]);
        git(&lib, &["commit", "-qm", word]);
    }
    git(&lib, &["push", "-q", "origin", "HEAD:refs/heads/main"]);
    let work = coordinator.work();
    let sha = git(&lib, &["rev-parse", "HEAD"]);
    let url = coordinator.url();
    let (_, host) = url.split_once("://").expect("an address");
    let (name, _) = host.split_once(':').expect("a port");
    let modules =
        format!("[submodule \"lib\"]\n\tpath = lib\n\turl = git@{name}:git/acme/lib.git\n");
    fs::write(work.join(".gitmodules"), modules).expect("written");
    git(&work, &["add", "-A"]);
    git(
        &work,
        &[
            "update-index",
            "--add",
            "--cacheinfo",
            &format!("160000,{sha},lib"),
        ],
    );
    git(&work, &["commit", "-qm", "with lib"]);
    for name in ["refs/heads/main", "refs/pipelines/31"] {
        git(&work, &["push", "-q", "origin", &format!("HEAD:{name}")]);
    }
    let heard = run(&coordinator, "submodules").remove(0);
    heard
        .succeeds()
        .says("\nlib two\n")
        .says("\n1\n")
        .says_nothing_of(GIT_PASSWORD);
}
