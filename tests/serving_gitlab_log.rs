//! The log of a job as GitLab's page shows it: folded by sections, with the time of each line, without tokens. AlloyCI's page
//! shows a log as it is, and gets none of that.

mod support;

use serde_json::{Value, json};
use support::coordinator::{Coordinator, Heard, Kind};
use support::gitlab_log::{self, Line};
use support::{BUSYBOX, REDIS};

/// A job of GitLab's, whose server names tokens of its own.
fn gitlab_job(coordinator: &Coordinator, script: &[&str]) -> Value {
    let mut job = coordinator.gitlab_job(BUSYBOX, script);
    job["features"]["token_mask_prefixes"] = json!(["acme-"]);
    job
}

fn serve(coordinator: &Coordinator, job: Value) -> Heard {
    let id = coordinator.queue(job);
    coordinator.serve([] as [&str; 0]).exits(0);
    coordinator.heard(id)
}

/// The log of a job that has all sections, and fails.
fn log_of_all_sections() -> String {
    let coordinator = Coordinator::new(Kind::GitLab);
    let mut job = gitlab_job(
        &coordinator,
        &["echo working", "printf 'no newline'; exit 3"],
    );
    job["services"] = json!([{"name": REDIS}]);
    job["steps"].as_array_mut().expect("a list").push(
        json!({"name": "after_script", "script": ["echo afterwards"], "when": "always", "allow_failure": true}),
    );
    job["cache"] = json!([{"key": "k", "paths": ["README"], "when": "always"}]);
    let heard = serve(&coordinator, job);
    heard.fails();
    trace(&heard)
}

fn trace(heard: &Heard) -> String {
    String::from_utf8_lossy(&heard.trace).into_owned()
}

fn section_of<'a>(lines: &'a [Line], text: &str) -> &'a [String] {
    let line = lines.iter().find(|line| line.text.contains(text));
    &line
        .unwrap_or_else(|| panic!("{text}: {lines:#?}"))
        .sections
}

#[test]
fn each_part_of_a_log_is_a_section_that_ends_and_each_line_has_its_time() {
    let log = log_of_all_sections();
    let (lines, ended) = gitlab_log::read(&log);
    let before: Vec<&str> = ended.iter().map(String::as_str).take(4).collect();
    assert_eq!(
        before,
        [
            "prepare_executor",
            "get_sources",
            "restore_cache",
            "prepare_script"
        ]
    );
    assert!(ended.contains(&"step_script".to_owned()), "{ended:?}");
    assert!(ended.contains(&"after_script".to_owned()), "{ended:?}");
    assert!(lines.iter().all(|line| line.time.is_some()), "{log}");
    let mut times: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.time.as_deref())
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    times.dedup();
    assert!(times.len() > 1);
    for (text, section) in [
        ("Starting service", "prepare_executor"),
        ("Waiting for services", "prepare_script"),
        ("working", "step_script"),
        ("no newline", "step_script"),
        ("afterwards", "after_script"),
    ] {
        assert_eq!(section_of(&lines, text), [section], "{text}");
    }
    for text in ["Running with", "ERROR: Build failed: exit code 3"] {
        assert_eq!(section_of(&lines, text), [""; 0], "{text}");
    }
    // The line that a folded section shows.
    let first = lines.iter().find(|line| line.sections == ["step_script"]);
    let first = &first.expect("a title").text;
    assert!(first.contains("Executing \"step_script\" stage"), "{first}");
    let place = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("gitlab-log.html");
    std::fs::write(place, gitlab_log::page(&log)).expect("written");
}

#[test]
fn sections_of_a_jobs_own_stay_as_they_are() {
    let coordinator = Coordinator::new(Kind::GitLab);
    let own = r"printf 'section_start:1700000000:own\r\033[0KOwn title\ninside\nsection_end:1700000001:own\r\033[0K\nbehind\n'";
    let heard = serve(&coordinator, gitlab_job(&coordinator, &[own]));
    heard.succeeds();
    let (lines, ended) = gitlab_log::read(&trace(&heard));
    assert!(ended.contains(&"own".to_owned()), "{ended:?}");
    let inside = lines.iter().find(|line| line.text == "inside");
    assert_eq!(inside.expect("shown").sections, ["step_script", "own"]);
    let behind = lines.iter().find(|line| line.text == "behind");
    assert_eq!(behind.expect("shown").sections, ["step_script"]);
}

#[test]
fn commands_of_several_lines_are_folded_where_the_job_wants_that() {
    let coordinator = Coordinator::new(Kind::GitLab);
    let mut job = gitlab_job(
        &coordinator,
        &["echo first", "for x in one two\ndo echo $x; done"],
    );
    let on = json!({"key": "FF_SCRIPT_SECTIONS", "value": "true", "public": true});
    job["variables"].as_array_mut().expect("a list").push(on);
    let heard = serve(&coordinator, job);
    heard.succeeds();
    let (lines, _) = gitlab_log::read(&trace(&heard));
    assert_eq!(
        section_of(&lines, "do echo $x; done"),
        ["step_script", "section_script_step_1"]
    );
    for text in ["$ echo first", "two"] {
        let line = lines.iter().rfind(|line| line.text.contains(text));
        assert_eq!(line.expect("shown").sections, ["step_script"], "{text}");
    }
}

#[test]
fn tokens_are_masked_that_no_variable_holds() {
    let coordinator = Coordinator::new(Kind::GitLab);
    // In two pieces, so that the command itself is none.
    let script = [
        r"printf 'one glp%s two acme-%s\n' at-Secret_1 Secret_2",
        r"printf 'https://host/?private_%s&x=1\n' token=Secret_3",
    ];
    let heard = serve(&coordinator, gitlab_job(&coordinator, &script));
    heard
        .succeeds()
        .says("one glpat-[MASKED] two acme-[MASKED]\n")
        .says("https://host/?private_token=[MASKED]&x=1\n");
}

#[test]
fn a_job_can_have_its_log_without_times_and_alloyci_gets_neither_times_nor_sections() {
    for kind in [Kind::GitLab, Kind::AlloyCi] {
        let coordinator = Coordinator::new(kind);
        let mut job = match kind {
            Kind::GitLab => gitlab_job(&coordinator, &["echo working"]),
            Kind::AlloyCi => coordinator.job(BUSYBOX, &["echo working"]),
        };
        let off = json!({"key": "FF_TIMESTAMPS", "value": "false", "public": true});
        job["variables"].as_array_mut().expect("a list").push(off);
        let heard = serve(&coordinator, job);
        heard.succeeds().says("\nworking\n");
        let (lines, ended) = gitlab_log::read(&trace(&heard));
        assert!(lines.iter().all(|line| line.time.is_none()));
        assert_eq!(ended.is_empty(), kind == Kind::AlloyCi, "{ended:?}");
    }
}
