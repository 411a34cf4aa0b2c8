//! Sources as GitLab says to fetch them, and what a job's own git and its scripts find there.

mod support;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use support::coordinator::{Coordinator, GIT_PASSWORD, Heard, Kind};
use support::{BUSYBOX, GCC, NONROOT, Running, docker, git, signal};

/// A job as GitLab sends it, with these variables too.
fn job(coordinator: &Coordinator, image: &str, script: &[&str], set: &[(&str, &str)]) -> Value {
    let mut job = coordinator.job(image, script);
    let variables = [
        ("GITLAB_CI", "true"),
        ("CI_PROJECT_PATH", "acme/site"),
        ("CI_SERVER_NAME", "GitLab"),
    ];
    let variables = variables.iter().chain(set);
    job["variables"] = variables
        .map(|(key, value)| json!({"key": key, "value": value, "public": true, "masked": false}))
        .collect();
    job["git_info"]["ref"] = json!("feature");
    job["git_info"]["depth"] = json!(20);
    job["git_info"]["refspecs"] = json!([
        "+refs/pipelines/9:refs/pipelines/9",
        "+refs/heads/feature:refs/remotes/origin/feature"
    ]);
    job
}

fn with_after_script(mut job: Value, script: &[&str]) -> Value {
    let step = json!({"name": "after_script", "script": script, "timeout": 3600, "when": "always", "allow_failure": true});
    job["steps"].as_array_mut().expect("a list").push(step);
    job
}

/// A coordinator whose project has the tag `v1` on its first commit, and another commit on the branch `feature`, of which
/// pipeline 9 is.
fn coordinator() -> Coordinator {
    let coordinator = Coordinator::new(Kind::GitLab);
    let work = coordinator.work();
    git(&work, &["tag", "v1"]);
    git(&work, &["push", "-q", "origin", "v1"]);
    git(&work, &["checkout", "-qb", "feature"]);
    commit(&work, "new");
    publish(&work);
    coordinator
}

fn commit(work: &Path, name: &str) {
    fs::write(work.join(name), name).expect("written");
    git(work, &["add", "-A"]);
    git(work, &["commit", "-qm", name]);
}

/// The branch, with pipeline 9 of it.
fn publish(work: &Path) {
    let refs = ["HEAD:refs/heads/feature", "+HEAD:refs/pipelines/9"];
    git(work, &[&["push", "-q", "origin"], &refs[..]].concat());
}

/// Serves the jobs one after the other, and returns what was heard of each.
fn serve(coordinator: &Coordinator, jobs: Vec<Value>) -> Vec<Heard> {
    let ids: Vec<u64> = jobs.into_iter().map(|job| coordinator.queue(job)).collect();
    let count = ids.len().to_string();
    coordinator.serve(["--max-builds", &count]).exits(0);
    ids.iter().map(|id| coordinator.heard(*id)).collect()
}

#[test]
fn a_merge_request_is_described_and_compared_with_its_target() {
    let coordinator = coordinator();
    let script = [
        "git describe --tags",
        "git rev-parse refs/pipelines/9 origin/feature HEAD | uniq | wc -l",
        "git fetch -q origin master",
        "git diff --name-only origin/master...",
        "git tag planted",
    ];
    let job = |strategy| {
        job(
            &coordinator,
            NONROOT,
            &script,
            &[("GIT_STRATEGY", strategy)],
        )
    };
    for (round, strategy) in ["clone", "fetch", "fetch"].into_iter().enumerate() {
        let heard = serve(&coordinator, vec![job(strategy)]).remove(0);
        heard.succeeds().says(format!("\nv1-{}-g", round + 1));
        heard.says("\n1\n").says("\nnew\n");
        commit(&coordinator.work(), &format!("more-{round}"));
        publish(&coordinator.work());
    }
}

#[test]
fn a_repository_of_sha256_is_one_too() {
    let coordinator = coordinator();
    let bare = coordinator.beside("acme/wide.git");
    let work = coordinator.beside("wide");
    let address = bare.to_str().expect("UTF-8");
    let format = "--object-format=sha256";
    git(
        &coordinator.beside("acme"),
        &["init", "-q", "--bare", "-b", "master", format, address],
    );
    git(&bare, &["config", "uploadpack.allowAnySHA1InWant", "true"]);
    git(&coordinator.beside(""), &["clone", "-q", address, "wide"]);
    commit(&work, "new");
    publish(&work);
    let mut job = job(
        &coordinator,
        NONROOT,
        &["git rev-parse HEAD | tr -d '\\n' | wc -c"],
        &[],
    );
    let address = job["git_info"]["repo_url"]
        .as_str()
        .expect("one")
        .replace("site.git", "wide.git");
    job["git_info"]["repo_url"] = json!(address);
    job["git_info"]["repo_object_format"] = json!("sha256");
    job["git_info"]["sha"] = json!(git(&work, &["rev-parse", "HEAD"]));
    serve(&coordinator, vec![job])
        .remove(0)
        .succeeds()
        .says("\n64\n");
}

/// Says where the password is, and whether others can read it; `$secret` is a file with it.
const LOOKS_FOR_THE_PASSWORD: &[&str] = &[
    "git fetch origin",
    "git ls-remote origin >/dev/null",
    "file=$(find / -path /proc -prune -o -name git-credentials -print 2>/dev/null || :); secret=$(mktemp)",
    "sed -n 's/^password=//p' $file >$secret; echo \"$(wc -c <$secret) $(stat -c '%a %U' $file) $(id -un)\"",
    "grep -rqFf $secret .git || echo in no file of the repository",
    "env -u CI_REPOSITORY_URL | grep -qFf $secret || echo in no variable",
    "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -qFf $secret || echo in no argument",
    "if [ $(id -u) = 0 ]; then runuser -u nobody -- cat $file || echo for nobody else; fi",
    "if [ $(id -u) = 0 ]; then runuser -u nobody -- git status --short && echo no worse off; fi",
];

#[test]
fn the_jobs_own_git_has_credentials_that_only_its_user_can_read_and_that_go_with_it() {
    let coordinator = coordinator();
    for (image, user) in [(NONROOT, "builder"), (GCC, "root")] {
        for strategy in ["clone", "fetch", "fetch"] {
            let job = job(
                &coordinator,
                image,
                LOOKS_FOR_THE_PASSWORD,
                &[("GIT_STRATEGY", strategy)],
            );
            let heard = serve(
                &coordinator,
                vec![with_after_script(
                    job,
                    &["git fetch -q origin && echo again"],
                )],
            );
            let length = GIT_PASSWORD.len() + 1;
            heard[0]
                .succeeds()
                .says(format!("\n{length} 600 {user} {user}\n"))
                .says("\nin no file of the repository\n")
                .says("\nin no variable\n")
                .says("\nin no argument\n")
                .says("\nagain\n")
                .says_nothing_of(GIT_PASSWORD);
            if user == "root" {
                heard[0]
                    .says("\nfor nobody else\n")
                    .says("\nno worse off\n");
            }
        }
    }
    let name = format!("name=-project-{}-concurrent-0-", coordinator.project);
    for volume in docker(&["volume", "ls", "--quiet", "--filter", &name]).lines() {
        let mount = format!("{volume}:/kept:ro");
        let script = format!("grep -rl {GIT_PASSWORD} /kept || :");
        let found = docker(&[
            "run", "--rm", "--volume", &mount, BUSYBOX, "sh", "-c", &script,
        ]);
        assert_eq!(found, "", "{volume}");
    }
}

#[test]
fn submodules_of_the_host_come_with_the_jobs_token_whatever_their_addresses() {
    let coordinator = coordinator();
    let work = coordinator.work();
    let bare = coordinator.beside("acme/library.git");
    let address = bare.to_str().expect("UTF-8");
    git(
        &coordinator.beside("acme"),
        &["clone", "-q", "--bare", "site.git", address],
    );
    git(&bare, &["config", "uploadpack.allowAnySHA1InWant", "true"]);
    let host = coordinator.url();
    let host = host
        .split("://")
        .nth(1)
        .and_then(|rest| rest.split(':').next());
    let host = host.expect("a host");
    let sha = git(&work, &["rev-parse", "v1"]);
    let modules = |address: &str| {
        let text = format!("[submodule \"library\"]\n\tpath = library\n\turl = {address}\n");
        fs::write(work.join(".gitmodules"), text).expect("written");
        let entry = format!("160000,{sha},library");
        git(&work, &["update-index", "--add", "--cacheinfo", &entry]);
        git(&work, &["add", ".gitmodules"]);
        git(&work, &["commit", "-qm", "a submodule"]);
        publish(&work);
    };
    let script = [
        "cat library/README",
        "git -C library fetch -q origin && echo fetched",
    ];
    modules(&format!("git@{host}:acme/library.git"));
    let by_https = [
        ("GIT_SUBMODULE_STRATEGY", "recursive"),
        ("GIT_SUBMODULE_FORCE_HTTPS", "true"),
        ("GIT_SUBMODULE_DEPTH", "1"),
    ];
    for strategy in ["clone", "fetch", "fetch"] {
        let mut set = by_https.to_vec();
        set.push(("GIT_STRATEGY", strategy));
        let heard = serve(
            &coordinator,
            vec![job(&coordinator, NONROOT, &script, &set)],
        );
        heard[0].succeeds().says("\na site\n").says("\nfetched\n");
    }
    modules("../library.git");
    let script = [&["git submodule update --init"], &script[..]].concat();
    let heard = serve(&coordinator, vec![job(&coordinator, NONROOT, &script, &[])]);
    heard[0].succeeds().says("\na site\n").says("\nfetched\n");
}

#[test]
fn options_of_git_do_what_they_say_and_those_that_run_programs_cost_a_warning() {
    let coordinator = coordinator();
    let script = ["ls; mkdir -p cache; touch cache/a left"];
    let job = |set: &[(&str, &str)]| {
        let mut set = set.to_vec();
        set.push(("GIT_STRATEGY", "fetch"));
        job(&coordinator, BUSYBOX, &script, &set)
    };
    let heard = serve(
        &coordinator,
        vec![
            job(&[("GIT_FETCH_EXTRA_FLAGS", "--tags --jobs 2")]),
            job(&[("GIT_CLEAN_FLAGS", "-ffdx -e cache/")]),
            job(&[("GIT_CLEAN_FLAGS", "none")]),
            job(&[
                ("GIT_CLEAN_FLAGS", "-ffdx --exec=sh"),
                (
                    "GIT_FETCH_EXTRA_FLAGS",
                    "--upload-pack=touch${IFS}/builds/ran",
                ),
            ]),
        ],
    );
    for (heard, there) in heard.iter().zip([
        "\nREADME\nnew\n",
        "\nREADME\ncache\nnew\n",
        "\nREADME\ncache\nleft\nnew\n",
        "\nREADME\nnew\n",
    ]) {
        heard.succeeds().says(there);
    }
    heard[3]
        .says("the variable GIT_CLEAN_FLAGS is `-ffdx --exec=sh`; it can hold options alone that a job may give")
        .says("it can hold options alone that a job may give (help variables): `--prune --quiet` is taken");
    let mut empty = job(&[]);
    empty["steps"][0]["script"] = json!(["ls -A | wc -l"]);
    let strategy = json!({"key": "GIT_STRATEGY", "value": "empty", "public": true});
    empty["variables"]
        .as_array_mut()
        .expect("a list")
        .push(strategy);
    let empty = serve(&coordinator, vec![empty]).remove(0);
    empty.succeeds().says("\n0\n");
    empty.says("\nSkipping Git repository setup and creating an empty build directory\n");
}

#[test]
fn sources_are_where_the_job_wants_them_if_the_runner_lets_it() {
    let coordinator = coordinator();
    let path = [("GIT_CLONE_PATH", "$CI_BUILDS_DIR/$CI_CONCURRENT_ID/go/site")];
    let job = || {
        let script = ["pwd; cat README; echo $CI_PROJECT_DIR; touch $RUNNER_TEMP_PROJECT_DIR/x"];
        job(&coordinator, NONROOT, &script, &path)
    };
    let heard = serve(&coordinator, vec![job()]).remove(0);
    heard
        .succeeds()
        .says("\n/builds/0/go/site\na site\n/builds/0/go/site\n");
    coordinator.configure("", &["[runners.custom_build_dir]\nenabled = false"]);
    let id = coordinator.queue(job());
    let runner = Running::start(&mut coordinator.command(["run"]));
    let heard = coordinator.wait_for_end(&[id]).remove(0);
    signal(&runner, "QUIT");
    runner.wait_with_output().expect("ended");
    heard
        .succeeds()
        .says("GIT_CLONE_PATH has no effect")
        .says("\n/builds/git/acme/site\na site\n");
}

#[test]
fn a_job_of_gitlabs_knows_what_its_own_runner_tells_it() {
    let coordinator = coordinator();
    let script = [
        "echo \"$CI_JOB_IMAGE $CI_JOB_TIMEOUT $CI_JOB_STATUS $CI_CONCURRENT_PROJECT_ID $CI_BUILDS_DIR\"",
        "echo \"[${CI_COMMIT_BRANCH-none}]\"",
        "cat ${FLAGS#--kubeconfig=} | tr a-z A-Z",
        "printf %s \"$DOCKER_AUTH_CONFIG\" | wc -c",
    ];
    let mut job = job(&coordinator, "$IMAGE", &script, &[("IMAGE", NONROOT)]);
    let auths = r#"{"auths": {"registry.example.org": {"username": "me", "password": "word-of-the-registry"}}}"#;
    job["variables"].as_array_mut().expect("a list").extend([
        json!({"key": "KUBECONFIG", "value": "contents", "public": false, "masked": false, "file": true}),
        json!({"key": "FLAGS", "value": "--kubeconfig=$KUBECONFIG", "public": true}),
        json!({"key": "DOCKER_AUTH_CONFIG", "value": auths, "public": false, "masked": false}),
    ]);
    let heard = serve(&coordinator, vec![job]).remove(0);
    heard
        .succeeds()
        .says(format!("\n{NONROOT} 3600 running 0 /builds\n"))
        .says("\n[none]\n")
        .says("\nCONTENTS")
        .says(format!("\n{}\n", auths.len()))
        .says_nothing_of("word-of-the-registry");
}

#[test]
fn an_after_script_hears_of_time_that_is_over_and_may_fail_the_job() {
    let coordinator = coordinator();
    let late = |set: &[(&str, &str)]| {
        let job = job(&coordinator, BUSYBOX, &["sleep 600"], set);
        with_after_script(job, &["echo \"[$CI_JOB_STATUS]\""])
    };
    let failing = |set: &[(&str, &str)]| {
        let job = job(&coordinator, BUSYBOX, &["true"], set);
        with_after_script(job, &["echo \"[$CI_JOB_STATUS]\"; exit 3"])
    };
    let heard = serve(
        &coordinator,
        vec![
            late(&[("RUNNER_SCRIPT_TIMEOUT", "2s")]),
            failing(&[]),
            failing(&[("AFTER_SCRIPT_IGNORE_ERRORS", "false")]),
        ],
    );
    heard[0]
        .fails()
        .says("\n[timedout]\n")
        .says("execution took longer than 2 s");
    heard[1]
        .succeeds()
        .says("\n[success]\n")
        .says("after_script failed: exit code 3");
    heard[2].fails().says("ERROR: Build failed: exit code 3");
}

#[test]
fn sources_are_for_the_user_of_the_build_alone_where_the_job_wants_that() {
    let coordinator = coordinator();
    let script = [
        "stat -c '%U %a' README . && mkdir made && ln -s /etc/passwd link",
        "find . ! -user builder | head -n 3; find . ! -type l -perm /022 | head -n 3; echo that is all",
    ];
    let with = [
        ("FF_DISABLE_UMASK_FOR_DOCKER_EXECUTOR", "true"),
        ("GIT_STRATEGY", "fetch"),
    ];
    let owned = || job(&coordinator, NONROOT, &script, &with);
    let usual = job(&coordinator, NONROOT, &["stat -c '%U %a' README"], &[]);
    let heard = serve(&coordinator, vec![owned(), owned(), usual]);
    for heard in &heard[..2] {
        heard
            .succeeds()
            .says("\nbuilder 644\nbuilder 755\n")
            .says("\nthat is all\n");
        let (_, all) = heard.log.rsplit_once("$ find").expect("shown");
        let all: Vec<&str> = all.lines().skip(1).take(1).collect();
        assert_eq!(all, ["that is all"], "{heard}");
    }
    heard[2].succeeds().says("\nroot 666\n");
}
