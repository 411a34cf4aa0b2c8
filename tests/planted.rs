//! What a job leaves in a builds directory that stays does not run in the helper of the next one, does not see who that
//! is, and does not change its sources.

mod support;

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::coordinator::{Coordinator, Kind, gateway};
use support::http::{Response, Server};
use support::{NONROOT, git};

/// A coordinator whose project has a submodule, and somebody else's server that notes what it is asked.
struct Stage {
    coordinator: Coordinator,
    foreign: Server,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Stage {
    fn new() -> Self {
        let coordinator = Coordinator::new(Kind::AlloyCi);
        let bare = coordinator.beside("acme/sub.git");
        fs::create_dir(&bare).expect("created");
        git(&bare, &["init", "-q", "--bare", "-b", "master"]);
        git(
            &coordinator.beside("."),
            &["clone", "-q", "acme/sub.git", "sub"],
        );
        let sub = coordinator.beside("sub");
        fs::write(sub.join("inner"), "inner\n").expect("written");
        git(&sub, &["add", "-A"]);
        git(&sub, &["commit", "-qm", "inner"]);
        git(&sub, &["push", "-q", "origin", "HEAD:refs/heads/master"]);
        let work = coordinator.work();
        let url = bare.display().to_string();
        git(&work, &["submodule", "--quiet", "add", &url, "sub"]);
        // Where the runner fetches the project from, it finds it too.
        git(
            &work,
            &[
                "config",
                "--file",
                ".gitmodules",
                "submodule.sub.url",
                "../sub.git",
            ],
        );
        fs::write(work.join("script"), "true script\n").expect("written");
        fs::write(work.join(".gitattributes"), "planted-* filter=planted\n").expect("written");
        fs::write(work.join("planted-text"), "text\n").expect("written");
        git(&work, &["add", "-A"]);
        git(&work, &["commit", "-qm", "more"]);
        git(&work, &["push", "-q", "origin", "HEAD:refs/heads/master"]);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = seen.clone();
        let foreign = Server::start(&gateway(), None, move |request| {
            let authorization = request.header("authorization");
            let note = format!("{} {} [{authorization}]", request.method, request.path);
            notes.lock().expect("no panic").push(note);
            Response::status(404)
        });
        Self {
            coordinator,
            foreign,
            seen,
        }
    }

    /// Runs a job that may find its sources again, and returns its log.
    fn job(&self, script: &[&str]) -> String {
        self.job_with(&[], script)
    }

    /// The same, with more variables.
    fn job_with(&self, more: &[(&str, &str)], script: &[&str]) -> String {
        let mut job = self.coordinator.job(NONROOT, script);
        job["allow_git_fetch"] = json!(true);
        let variables = job["variables"].as_array_mut().expect("a list");
        variables.extend([
            variable("GIT_SUBMODULE_STRATEGY", "recursive"),
            variable("FOREIGN", &format!("http://{}", self.foreign.address)),
            variable("SITE", &self.coordinator.url()),
        ]);
        variables.extend(more.iter().map(|(name, value)| variable(name, value)));
        let id = self.coordinator.queue(job);
        self.coordinator.serve([]);
        let heard = self.coordinator.heard(id);
        heard.succeeds();
        heard.log
    }

    /// Has one job plant something, and another one look what became of it.
    fn assert_harmless(&self, plant: &str) -> String {
        self.job(&[plant]);
        let log = self.job(&[
            "cat script README planted-text sub/inner",
            "echo \"<$(git rev-parse HEAD)> <$(git status --porcelain)>\"",
            "git config --local --name-only --list",
            "ls -A .git .git/hooks 2>&1 || true",
            "git for-each-ref --format '%(refname)'",
            "cat /builds/marker 2>/dev/null || echo nothing ran",
        ]);
        assert!(
            log.contains("\ntrue script\na site\ntext\ninner\n"),
            "{plant}: {log}"
        );
        let state = format!("\n<{}> <>\n", self.coordinator.sha());
        assert!(log.contains(&state), "{plant}: {log}");
        assert!(log.contains("\nnothing ran\n"), "{plant}: {log}");
        for word in ["planted", "replace", "evil"] {
            let shown = log.replace("planted-text", "");
            assert!(!shown.contains(word), "{plant}: {log}");
        }
        let seen = self.seen.lock().expect("no panic");
        assert!(seen.is_empty(), "{plant}: {seen:?}");
        log
    }
}

fn variable(name: &str, value: &str) -> Value {
    json!({"key": name, "value": value, "public": true})
}

/// Functions for planting: programs that note that they ran, and with which environment.
const TOOLS: &str = r#"
    mkdir -p /builds/evil/hooks
    program() { printf '#!/bin/sh\n{ echo "%s ran"; env; } >>/builds/marker\ncat\n' "$1" >"$1"; chmod 755 "$1"; }
    program /builds/evil/program
    hooks() { mkdir -p "$1"; for hook in post-checkout post-merge post-rewrite pre-auto-gc reference-transaction \
        post-index-change fsmonitor-watchman pre-commit update post-update pre-receive; do program "$1/$hook"; done; }
    configure() {
        export GIT_DIR=$1
        run=/builds/evil/program
        git config core.fsmonitor $run
        git config core.hooksPath /builds/evil/hooks
        git config core.sshCommand $run
        git config core.pager $run
        git config core.askPass $run
        git config core.gitProxy $run
        git config core.editor $run
        git config core.alternateRefsCommand $run
        git config credential.helper "!$run"
        git config alias.fetch "!$run"
        git config alias.checkout "!$run"
        git config filter.planted.smudge $run
        git config filter.planted.clean $run
        git config filter.planted.required true
        git config diff.external $run
        git config remote.origin.uploadpack $run
        git config uploadpack.packObjectsHook $run
        git config "url.$FOREIGN/.insteadOf" "$SITE/"
        git config http.proxy "$FOREIGN"
        git config include.path /builds/evil/config
        git config protocol.ext.allow always
        git config submodule.sub.url "ext::$run"
        git config submodule.sub.update "!$run"
        git config submodule.sub.active true
        git config fetch.recurseSubmodules true
        git config gc.auto 1
        git config core.worktree /
        git config extensions.worktreeConfig true
        printf '[core]\n\tfsmonitor = %s\n' $run >/builds/evil/config
        printf '[core]\n\tfsmonitor = %s\n' $run >$GIT_DIR/config.worktree
        unset GIT_DIR
    }
    hooks /builds/evil/hooks
"#;

#[test]
fn settings_hooks_and_submodules_of_an_earlier_job() {
    let stage = Stage::new();
    stage.assert_harmless(&format!(
        "{TOOLS}
        hooks .git/hooks
        mkdir -p .git/info
        echo '* filter=planted' >.git/info/attributes
        configure $PWD/.git/modules/sub
        hooks .git/modules/sub/hooks
        configure $PWD/.git"
    ));
    // A submodule's own directory, which no clone made.
    stage.assert_harmless(&format!(
        "{TOOLS}
        rm -rf sub/.git .git/modules
        git init -q sub
        git -C sub -c user.name=x -c user.email=x@x commit -q --allow-empty -m x
        hooks sub/.git/hooks
        git -C sub remote add origin \"$SITE/git/acme/sub.git\"
        configure $PWD/sub/.git
        git config submodule.sub.url \"$SITE/git/acme/sub.git\""
    ));
}

#[test]
fn repositories_that_are_others_or_broken() {
    let stage = Stage::new();
    for plant in [
        "mv .git /builds/evil/git; configure /builds/evil/git; ln -s /builds/evil/git .git",
        "mv .git /builds/evil/git; configure /builds/evil/git; echo gitdir: /builds/evil/git >.git",
        "git init -q --bare /builds/evil/other; mkdir -p .git/objects/info; echo /builds/evil/other/objects >.git/objects/info/alternates
         mkdir .git/index.lock .git/HEAD.lock; touch .git/config.lock .git/shallow.lock",
        "echo garbage >.git/index; echo garbage >.git/HEAD",
        "echo garbage >.git/packed-refs; echo garbage >.git/shallow; rm -rf .git/refs; echo >.git/refs",
        "mv .git/objects /builds/evil/objects; ln -s /builds/evil/objects .git/objects",
        "cd ..; mv site /builds/evil/site; ln -s /builds/evil/site site",
    ] {
        stage.assert_harmless(&format!("{TOOLS}\nrm -rf /builds/evil/git\n{plant}"));
    }
}

#[test]
fn sources_that_were_changed_and_are_said_to_be_as_they_were() {
    let stage = Stage::new();
    // Git takes its index's word for what is in a file.
    let log = stage.assert_harmless(
        "git update-index --assume-unchanged script
         git update-index --skip-worktree README
         echo evil >script; echo evil >README; touch untracked
         git update-index --refresh || true",
    );
    assert!(log.contains("\nFetching changes...\n"), "{log}");
    stage.assert_harmless(
        "blob=$(echo evil | git hash-object -w --stdin)
         git replace $(git rev-parse HEAD:script) $blob
         git update-ref refs/heads/evil HEAD
         git tag evil",
    );
    // Times of what did not change stay: programs that build what is newer depend on them.
    let before = stage.job(&["stat -c 'time %Y' script"]);
    let after = stage.job(&["stat -c 'time %Y' script"]);
    let time = |log: &str| {
        log.lines()
            .find(|line| line.starts_with("time "))
            .map(str::to_owned)
    };
    assert!(time(&before).is_some());
    assert_eq!(time(&before), time(&after));
}

/// Variables of a job name files that the helper's git would write as root, and have it say what it should not.
#[test]
fn a_jobs_variables_have_the_helpers_git_say_more_and_write_nothing() {
    let stage = Stage::new();
    let file = |name| (name, "/builds/written");
    let writing = [
        "GIT_TRACE",
        "GIT_TRACE2",
        "GIT_TRACE2_EVENT",
        "GIT_TRACE2_PERF",
        "GIT_TRACE_CURL",
        "GIT_TRACE_PACKET",
        "GIT_TRACE_PACKFILE",
        "GIT_TRACE_PERFORMANCE",
        "GIT_TRACE_SETUP",
        "GIT_LFS_PROGRESS",
    ]
    .map(file);
    let log = stage.job_with(&writing, &["ls -A /builds"]);
    assert!(!log.contains("written"), "{log}");
    // For the packet trace, a number that is no stream of ours too.
    let saying = [
        ("GIT_TRACE2_ENV_VARS", "GIT_CONFIG_GLOBAL"),
        ("GIT_TRACE2_CONFIG_PARAMS", "core.*"),
        ("GIT_TRACE_REDACT", "0"),
        ("GIT_TRACE2_PERF", "1"),
        ("GIT_TRACE_PACKET", "7"),
        ("GIT_TRACE", "true"),
    ];
    let log = stage.job_with(&saying, &["true"]);
    let before = log.split("\n$ ").next().expect("a part");
    assert!(before.contains("trace: built-in: git "), "{log}");
    assert!(
        !before.contains("def_param") && !before.contains("packet:"),
        "{log}"
    );
}

/// An earlier job leaves what git reads a file by, and a file that says something else by it.
#[test]
fn attributes_of_an_earlier_job_do_not_hide_what_a_file_says() {
    let stage = Stage::new();
    for place in [
        ".gitattributes",
        "sub/../.gitattributes",
        ".git/info/attributes",
    ] {
        let log = stage.assert_harmless(&format!(
            "echo 'script working-tree-encoding=UTF-7' >>{place}
             echo 'README eol=crlf text' >>{place}
             iconv -f UTF-8 -t UTF-7 script >x && printf '+AHQ-rue script\\n' >script && rm x
             sed -i 's/$/\\r/' README"
        ));
        assert!(log.contains("\nFetching changes...\n"), "{log}");
        assert!(!log.contains('\r') && !log.contains("AHQ"), "{log}");
    }
}

/// Pipes would keep whoever opens them waiting, up to the job's time limit.
#[test]
fn pipes_of_an_earlier_job_keep_nobody_waiting() {
    let stage = Stage::new();
    let plant = "pipe() { rm -rf \"$1\"; mkdir -p \"$(dirname \"$1\")\"; mkfifo \"$1\"; }
        object=$(git rev-parse HEAD:script | sed 's,^..,&/,')
        for path in .git/refs/remotes/origin/pipe .git/refs/tags/pipe .git/refs/heads/pipe .git/objects/$object \
            .git/objects/pack/multi-pack-index .git/objects/info/commit-graph .git/objects/info/commit-graphs/x \
            .git/objects/info/packs .git/objects/pack/pack-0123456789012345678901234567890123456789.idx \
            .git/info/attributes .git/info/exclude .git/index .git/config .git/HEAD .git/packed-refs .git/shallow \
            .git/FETCH_HEAD .git/logs/HEAD .gitattributes .gitignore .gitmodules script new/.gitattributes sub/.git \
            sub/.gitattributes; do pipe $path; done";
    stage.assert_harmless(plant);
}

/// What an earlier job says of refs costs the next one no time, and cannot keep it from its commit.
#[test]
fn refs_of_an_earlier_job_are_few_and_readable() {
    let stage = Stage::new();
    let unreadable = "echo abc refs/tags/evil
        echo $sha refs/tags/../../evil
        echo $sha refs/remotes/origin/
        echo $sha refs/tags/evil.lock";
    let many = "awk -v sha=$sha 'BEGIN { for (n = 0; n < 100000; n++) {
            printf \"%040x refs/remotes/origin/evil%d\\n\", n + 1, n
            print sha, \"refs/tags/evil\" n
            if (n % 50000 == 0) print sha, \"refs/tags/evil\" n
        } }'
        mkdir -p .git/refs/tags/evil
        n=0
        while [ $n -lt 1000 ]; do echo $sha >.git/refs/tags/evil/$n; n=$((n + 1)); done";
    // One that git reads to its end before it says anything, since nothing in it is wrong.
    let endless = "echo $sha refs/tags/evil";
    for (lines, more) in [
        (unreadable, "true"),
        (
            endless,
            "truncate -s 1T .git/packed-refs .git/HEAD .git/shallow",
        ),
        (many, "true"),
    ] {
        let began = Instant::now();
        let log = stage.assert_harmless(&format!(
            "sha=$(git rev-parse HEAD); {{ {lines}
            }} >.git/packed-refs; {more}"
        ));
        assert!(!log.contains("cannot be brought up to date"), "{log}");
        let took = began.elapsed();
        assert!(took < Duration::from_mins(1), "{took:?}: {lines}");
    }
}
