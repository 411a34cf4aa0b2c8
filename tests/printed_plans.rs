//! Plans of `fixtures/plans/exec` against an engine: the printed script says and does what `exec` of the same job does.

mod support;

use std::fs;
use std::path::Path;

use regex_lite::Regex;
use support::{Project, Ran, run, shell};

macro_rules! printed {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            assert_the_same(stringify!($name));
        })*
    };
}

printed! {
    a_cache_and_artifacts
    a_directory_for_caches_is_kept_where_the_job_names_it
    a_job_in_yaml
    job
    a_job_that_fails
    a_service_on_the_hosts_network
    a_service_that_answers
    a_shell_that_traces
    an_entrypoint_in_place_of_the_images
    an_image_whose_user_is_not_root
    artifacts_of_the_stages_before
    limits_and_a_user
    names_that_would_lead_a_shell_or_a_terminal
    no_sources
    submodules_and_a_depth
    variables_and_scripts_of_a_configuration
}

#[track_caller]
fn assert_the_same(name: &str) {
    let plans = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/plans/exec");
    let read =
        |extension: &str| fs::read_to_string(plans.join(name).with_extension(extension)).ok();
    let project = Project::empty();
    match (read("json"), read("yml")) {
        (Some(text), _) => project.write(".alloy-ci.json", &text),
        (None, text) => project.write(".alloy-ci.yml", &text.expect("a job file")),
    }
    project.commit();
    let config = project.beside("config.toml");
    fs::write(
        &config,
        read("toml").unwrap_or_else(|| "[[runners]]\nname = \"docker-1\"\n".to_owned()),
    )
    .expect("written");
    let config = config.display().to_string();
    let exec = ["--config", &config, "exec", "--runner", "docker-1"];
    let list: serde_json::Value =
        serde_json::from_str(&project.exec("--list --json").stdout).expect("JSON");
    let jobs = list.as_array().expect("a list");
    let job = jobs.last().expect("a job")["name"]
        .as_str()
        .expect("a name");

    let script = run(project.command(exec).args(["--dry-run", job]));
    script.exits(0);
    let printed = run(&mut shell("sh", &script.stdout));
    let ran = run(project.command(exec).arg(job));
    assert_eq!(printed.status, ran.status, "{printed}\n{ran}");
    assert_eq!(comparable(&printed), comparable(&ran), "{}", printed.stderr);
    assert_eq!(project.leftovers(), "");
}

/// The log without the names and times that are the run's own, and without the copy of the artifacts that a script makes
/// none of.
fn comparable(ran: &Ran) -> String {
    let other = ["Running on ", "The artifacts are in "];
    let times = Regex::new(r"\d\d:\d\d:\d\d\.\d+").expect("a pattern");
    let lines = ran.stdout.lines();
    let same = lines.filter(|line| !other.iter().any(|begin| line.starts_with(begin)));
    same.map(|line| times.replace_all(line, "TIME").into_owned() + "\n")
        .collect()
}
