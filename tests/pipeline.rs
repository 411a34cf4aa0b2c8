//! `exec` of whole pipelines: which jobs run, what is shown, what became of them.

mod support;

use std::io::Read;
use std::path::{Path, PathBuf};

use regex_lite::Regex;
use serde_json::json;
use support::golden::assert_golden;
use support::{BUSYBOX, Project, Ran, signal};

fn project() -> Project {
    Project::new(include_str!("../fixtures/pipeline/.alloy-ci.json"))
}

/// The output with everything in its place that differs from run to run.
fn normal(ran: &Ran) -> String {
    let mut text = ran.stdout.clone();
    for (pattern, with) in [
        (
            r"alloy-runner 0\.1\.0 \(\w+\)",
            "alloy-runner 0.1.0 (REVISION)",
        ),
        (r"sha256:[0-9a-f]{64}", "ID"),
        (r"project-\d+", "project-ID"),
        (r"via .*\.\.\.", "via HOST..."),
        (r"Checking out [0-9a-f]{8}", "Checking out COMMIT"),
        (r"(\d+ min )?\d+(\.\d)? s\b", "TIME"),
    ] {
        let pattern = Regex::new(pattern).expect("a pattern");
        text = pattern.replace_all(&text, with).into_owned();
    }
    text
}

/// A golden file of these tests.
fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/pipeline")
        .join(name)
}

/// The lines of the table at the end, a job each.
fn table(ran: &Ran) -> Vec<String> {
    let at = ran
        .stdout
        .rfind("\njob ")
        .unwrap_or_else(|| panic!("no table: {ran}"));
    let lines = ran.stdout[at + 1..].lines().skip(1);
    let spaces = Regex::new("  +").expect("a pattern");
    let lines = lines.take_while(|line| !line.is_empty());
    lines
        .map(|line| spaces.replace_all(line, " | ").into_owned())
        .collect()
}

#[test]
fn a_pipeline_runs_by_stages_to_its_first_failure_and_tells_what_became_of_each_job() {
    let project = project();
    let one_by_one = project.exec("--concurrent 1");
    one_by_one.fails(1);
    assert_golden(&golden("golden.txt"), &normal(&one_by_one));
    one_by_one.is_quiet();

    let side_by_side = project.exec("--concurrent 4");
    side_by_side.fails(1);
    let of = |job: &str| {
        let text = normal(&side_by_side).replace("concurrent-1", "concurrent-0");
        let text = text.replace("concurrent-2", "concurrent-0");
        let lines = text.lines().filter(|line| line.starts_with(job));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let golden = normal(&one_by_one);
    for job in [
        "compile |",
        "unit    |",
        "lint    |",
        "docs    |",
        "report  |",
    ] {
        let want: Vec<&str> = golden
            .lines()
            .filter(|line| line.starts_with(job))
            .collect();
        assert_eq!(of(job), want, "each job's lines are whole and in order");
    }
}

#[test]
fn quiet_shows_failures_and_the_table() {
    let project = project();
    let ran = project.exec("--quiet --concurrent 1");
    ran.fails(1);
    assert_golden(&golden("golden-quiet.txt"), &normal(&ran));
    project
        .exec("--quiet docs")
        .exits(0)
        .begins("\njob   stage  result     time\ndocs  test   succeeded  ");
}

#[test]
fn jobs_by_name_and_by_stage() {
    let project = project();
    let named = project.exec("release tagged docs");
    named.exits(0);
    let results: Vec<String> = table(&named)
        .iter()
        .map(|line| line.rsplit_once(" | ").expect("a time").0.to_owned())
        .collect();
    assert_eq!(
        results,
        [
            "docs | test | succeeded",
            "release | deploy | succeeded",
            "tagged | deploy | succeeded"
        ]
    );
    let stage = project.exec("--stage deploy");
    stage.exits(0);
    let words: Vec<String> = table(&stage)
        .iter()
        .map(|line| line.split(" | ").nth(2).expect("a result").to_owned())
        .collect();
    assert_eq!(words, ["succeeded", "not run", "succeeded", "manual"]);
    stage.ends("\nNot for the branch master: tagged\n");
    let failing = project.exec("unit publish");
    failing.fails(1);
    assert_eq!(table(&failing)[1], "publish | deploy | not run");
    let one = project.exec("release");
    assert!(
        one.succeeds().stdout.starts_with("Running with"),
        "one job is plain: {one}"
    );
}

#[test]
fn the_list_is_a_table_or_json_and_needs_no_engine_and_no_commit() {
    let project = project();
    project.write(
        ".alloy-ci.json",
        &json!({"stages": ["build", "test"], "image": "ruby:2.1",
            "unit": {"services": ["redis", {"name": "postgres:9.3", "alias": "db"}], "script": "x", "allow_failure": true},
            "site": {"script": "x", "stage": "build", "image": {"name": "$REGISTRY/site"}, "when": "manual",
                "only": ["tags", "^v"], "except": "x"}})
        .to_string(),
    );
    let list = |arguments: &[&str]| {
        let mut command = project.command([&["exec", "--list"], arguments].concat());
        let ran = support::run(command.env("DOCKER_HOST", "unix:///nonexistent"));
        ran.exits(0).is_quiet();
        ran.stdout
    };
    assert_eq!(
        list(&[]),
        "job   stage  image           services             when\n\
         site  build  $REGISTRY/site  -                    manual, only tags ^v, except x\n\
         unit  test   ruby:2.1        redis, postgres:9.3  on_success, may fail\n\n\
         Not for the branch master: site\n"
    );
    let parsed: serde_json::Value = serde_json::from_str(&list(&["--json"])).expect("JSON");
    assert_eq!(
        parsed,
        json!([
            {"name": "site", "stage": "build", "image": "$REGISTRY/site", "services": [], "when": "manual",
                "allow_failure": false, "only": ["tags", "^v"], "except": ["x"], "for_this_ref": false},
            {"name": "unit", "stage": "test", "image": "ruby:2.1", "services": ["redis", "postgres:9.3"],
                "when": "on_success", "allow_failure": true, "only": null, "except": null, "for_this_ref": true},
        ])
    );
    std::fs::remove_dir_all(project.directory.join(".git")).expect("removed");
    assert!(list(&[]).ends_with("  on_success, may fail\n"));
    project.git(&["init", "-q"]);
    project.commit();
}

#[test]
fn what_cannot_be_meant_is_said_before_anything_runs() {
    let project = Project::new(
        json!({"good": {"image": BUSYBOX, "script": "echo begun"}, "bad": {"script": "x"},
            "odd": {"image": BUSYBOX, "script": "x", "only": ["(?=x)"]},
            "other": {"image": BUSYBOX, "script": "x", "stage": "deploy", "only": ["tags"]}}),
    );
    for (arguments, part) in [
        (
            &["good", "bad"][..],
            "the job `bad` has no image".to_owned(),
        ),
        (
            &[],
            "odd.only[0]: `(?=x)`: not a regular expression".to_owned(),
        ),
        (
            &["god"],
            "there is no job `god` (did you mean `good`?)".to_owned(),
        ),
        (
            &["--stage", "tst"],
            "there is no stage `tst` (did you mean `test`?)".to_owned(),
        ),
        (
            &["--stage", "deploy"],
            "no job of the stage `deploy` is for the branch master".to_owned(),
        ),
        (
            &["--dry-run", "good", "other"],
            "--dry-run writes a script of one job".to_owned(),
        ),
    ] {
        let ran = project.exec(arguments);
        ran.fails(2).on_stderr(&part);
        assert_eq!(ran.stdout, "", "{arguments:?}: {ran}");
    }
}

#[test]
fn what_the_system_fails_in_nobody_has_allowed() {
    let project = Project::new(
        json!({"image": BUSYBOX, "one": {"script": "x", "allow_failure": true},
            "two": {"script": "x", "allow_failure": true}}),
    );
    let ran = project.exec("--docker-host unix:///nonexistent/docker.sock");
    ran.fails(3);
    assert!(
        table(&ran)[0].starts_with("one | test | failed: system failure | "),
        "{ran}"
    );
}

#[test]
fn a_signal_in_a_parallel_stage_ends_and_cleans_up_all_of_it() {
    let project = Project::new(json!({"image": BUSYBOX, "stages": ["test", "deploy"],
            "one": {"script": ["echo begun", "sleep 600"]}, "two": {"script": ["echo begun", "sleep 600"]},
            "three": {"script": "echo never"}, "always": {"stage": "deploy", "script": "echo never", "when": "always"}}));
    let mut child = project.spawn("exec --concurrent 2");
    let mut stdout = child.stdout.take().expect("piped");
    let mut shown = String::new();
    while !(shown.contains("one    | begun\n") && shown.contains("two    | begun\n")) {
        shown += &support::read_until(&mut stdout, "\n");
    }
    signal(&child, "TERM");
    stdout.read_to_string(&mut shown).expect("readable");
    let ran = Ran {
        stdout: shown,
        status: child.wait().expect("ended").code(),
        ..Ran::default()
    };
    ran.fails(143);
    let table = table(&ran);
    for (row, begin) in table.iter().zip([
        "one | test | interrupted | ",
        "two | test | interrupted | ",
        "three | test | not run",
        "always | deploy | not run",
    ]) {
        assert!(row.starts_with(begin), "{ran}");
    }
    ran.says("\nPipeline interrupted in ");
    assert_eq!(project.leftovers(), "");
}

#[test]
fn the_timeline_is_one_page_that_shows_each_jobs_parts() {
    let project = Project::new(
        json!({"image": BUSYBOX, "a<b>": {"script": "sleep 1"}, "later": {"stage": "deploy", "script": "x", "when": "manual"}}),
    );
    let page = project.beside("timeline.html");
    let path = page.to_str().expect("UTF-8");
    project.exec(["--timeline", path]).exits(0);
    let html = std::fs::read_to_string(&page).expect("a page");
    for part in [
        "<title>local/site: timeline</title>",
        "<b>a&lt;b&gt;</b>",
        "<b>later</b><small><span class=\"faint\">manual</span>",
        "<div class=\"bar script\"",
        "<div class=\"bar cleanup\"",
        "<td>image alloy-runner-test/busybox:latest</td>",
        "prefers-color-scheme: dark",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
    assert!(
        !html.contains("<script") && !html.contains("http:"),
        "{html}"
    );
    project
        .exec("--timeline /nonexistent/timeline.html")
        .fails(2)
        .on_stderr("--timeline: cannot write /nonexistent/timeline.html: ");
}
