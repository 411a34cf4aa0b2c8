//! Golden plans: a job goes in, and the shell script of its plan comes out, letter for letter. No engine is needed.
//!
//! `fixtures/plans` has a directory for each kind of job, and in it by a case's name
//!
//! * `NAME.json` or `.yml`: of `alloyci` and `gitlab` what is different from the payload `job.json` there (a merge patch,
//!   RFC 7396), of `exec` a job file, whose last job it is;
//! * `NAME.toml`: the configuration, if it is not that of a runner which has nothing but a name and a token;
//! * `NAME.diff`: how the script differs from that of the plain job of its kind, which is in `job.sh`; or why there is no
//!   script.
//!
//! After a change that is meant, `GOLDEN=write cargo test --test plans` writes them anew, and `git diff` shows what the
//! change does.

mod support;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use alloy_runner::config::{Config, RunnerConfig, load};
use alloy_runner::docker::Bindings;
use alloy_runner::job::checkout::Checkout;
use alloy_runner::job::{Job, Origin, Project, Sources, payload};
use alloy_runner::local::{Local, Wanted};
use alloy_runner::plan::helper_image::{DEFAULT_BASE, HelperImage, architecture};
use alloy_runner::plan::names::Names;
use alloy_runner::plan::{HelperStage, Host, Plan};
use alloy_runner::printer;
use alloy_runner::state::Store;
use regex_lite::Regex;
use serde_json::Value;
use support::golden::assert_golden;

macro_rules! plans {
    ($($kind:ident { $($name:ident)* })*) => {
        $(mod $kind {
            $(#[test]
            fn $name() {
                super::assert_planned(stringify!($kind), stringify!($name));
            })*
        })*

        const CASES: &[(&str, &str)] = &[$($((stringify!($kind), stringify!($name)),)*)*];
    };
}

plans! {
    alloyci {
        a_job_without_an_image_runs_in_that_of_the_configuration
        services_answer_to_names_made_of_their_images_and_to_aliases
        services_of_the_configuration_have_an_environment_of_their_own
        services_are_not_waited_for_where_the_configuration_says_so
        artifacts_come_from_the_coordinator_and_go_there
        caches_are_kept_in_a_volume_of_the_project
        caches_are_kept_in_a_bucket
        caches_in_a_bucket_are_encrypted_and_not_too_large
        caches_are_kept_where_the_configuration_binds_a_directory
        a_job_of_a_protected_ref_has_volumes_of_its_own
        sources_that_are_fetched_stay_in_a_volume
        a_job_without_sources
        an_after_script_and_limits_of_time
        variables_are_expanded_and_secrets_have_no_values_here
        variables_that_docker_or_a_shell_would_read_travel_under_other_names
        a_shell_that_traces
        names_that_would_lead_a_shell_or_a_terminal
        an_image_that_looks_like_an_option_is_refused
        a_variable_whose_name_is_none_is_refused
        credentials_of_registries_are_no_part_of_the_script
        volumes_of_every_form
        a_cache_with_a_mode_is_no_directory_of_the_host
        a_volume_that_a_job_leads_elsewhere_is_refused
        sources_in_a_directory_of_the_host_are_apart_for_each_concurrent_id
        nothing_is_kept_where_caches_are_disabled
        a_network_that_is_there
        the_default_bridge_has_links
        the_hosts_network
        no_network
        services_without_a_network_are_refused
        an_engine_that_is_elsewhere
        limits_of_build_helper_and_services
        keys_that_came_with_gitlabs_runner_19
        what_a_container_may_do
        a_user_of_the_build_and_its_groups
        surroundings_of_the_containers
        scripts_and_variables_of_the_configuration
        a_helper_image_and_policies_of_pulling
        images_that_are_never_pulled
        an_image_that_is_not_allowed_is_refused
        entrypoints_are_the_images_where_jobs_may_not_replace_them
    }
    gitlab {
        services_have_entrypoints_commands_and_several_aliases
        an_entrypoint_of_the_jobs_own_takes_the_script
        an_entrypoint_that_is_taken_away
        files_of_variables_do_not_stay_where_the_sources_do
        files_of_variables_are_beside_sources_that_go
        artifacts_of_every_end
        reports_in_formats_of_their_own
        a_format_of_artifacts_that_is_none
        artifacts_come_from_where_they_are_stored
        a_cache_with_a_policy_of_a_variable
        caches_with_fallbacks_and_conditions
        a_fallback_for_caches_of_protected_refs_is_not_used
        a_release_follows_the_script_and_gets_its_variables
        a_step_that_is_not_known_is_refused
        a_tag_and_all_of_its_history
        a_merge_request_of_a_fork_is_not_protected
        logs_of_services_are_shown
        images_of_other_platforms_policies_and_users
        a_user_that_is_not_allowed_is_refused
        a_pull_policy_that_the_runner_has_not_is_refused
        variables_of_one_service_and_the_port_it_is_asked_on
        a_port_of_a_service_that_is_none_is_refused
        a_merge_request_fetches_its_refs
        options_of_git_that_a_job_gives
        options_of_git_that_run_programs_are_left_out
        sources_in_a_directory_of_the_jobs_choice
        a_directory_for_sources_that_is_elsewhere_is_not_taken
        no_job_chooses_a_directory_where_the_configuration_says_so
        submodules_come_by_https
        passwords_of_registries_and_paths_of_files_are_in_the_environment
        an_after_script_whose_failure_counts
        no_sources_but_an_empty_directory
        labels_of_the_configuration_have_variables_of_the_job
        sources_for_the_user_of_the_build_alone
        hooks_run_around_the_sources_as_a_user_of_their_own
        hooks_do_not_run_without_sources
        a_hook_that_is_not_known_is_refused
    }
    behind_a_proxy {
        downloads_go_through_it
        an_engine_behind_ssh_shares_no_files
    }
    exec {
        a_job_in_yaml
        a_job_that_fails
        a_service_that_answers
        a_service_on_the_hosts_network
        a_cache_and_artifacts
        artifacts_of_the_stages_before
        a_directory_for_caches_is_kept_where_the_job_names_it
        an_entrypoint_in_place_of_the_images
        an_image_whose_user_is_not_root
        limits_and_a_user
        variables_and_scripts_of_a_configuration
        names_that_would_lead_a_shell_or_a_terminal
        a_shell_that_traces
        submodules_and_a_depth
        no_sources
    }
}

#[test]
fn each_file_is_of_a_case() {
    let listed: BTreeSet<(&str, &str)> = CASES.iter().copied().collect();
    for kind in CASES.iter().map(|(kind, _)| *kind).collect::<BTreeSet<_>>() {
        for file in fs::read_dir(plans().join(kind)).expect("there") {
            let path = file.expect("read").path();
            let name = path
                .file_stem()
                .and_then(|name| name.to_str())
                .expect("a name");
            assert!(
                name == "job" || listed.contains(&(kind, name)),
                "{} is of no case",
                path.display()
            );
        }
    }
}

fn plans() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/plans")
}

/// The file of a case with this extension, if there is one.
fn file(kind: &str, name: &str, extension: &str) -> Option<PathBuf> {
    let path = plans().join(kind).join(name).with_extension(extension);
    path.exists().then_some(path)
}

#[track_caller]
fn assert_planned(kind: &str, name: &str) {
    let planned = match script(kind, name) {
        Ok(script) => difference(&plain(kind), &script),
        Err(error) => format!("There is no script: {error}\n"),
    };
    assert_golden(
        &plans().join(kind).join(name).with_extension("diff"),
        &planned,
    );
}

#[test]
fn plain_jobs() {
    for kind in ["alloyci", "gitlab", "exec"] {
        assert_golden(&plans().join(kind).join("job.sh"), &plain(kind));
    }
}

/// The script of the job that others of its kind are compared with.
fn plain(kind: &str) -> String {
    let kind = if kind == "behind_a_proxy" {
        "alloyci"
    } else {
        kind
    };
    script(kind, "job").unwrap_or_else(|error| panic!("{kind}: {error}"))
}

fn script(kind: &str, name: &str) -> anyhow::Result<String> {
    let script = match kind {
        "exec" => script_of_job_file(name),
        _ => script_of_payload(kind, name),
    };
    script.map(|script| readable(&script))
}

/// The script with an option a line, and without what stands in a file of its own.
fn readable(script: &str) -> String {
    let sources = include_str!("../src/script/get-sources.sh");
    let script = script
        .replace(sources, "# … src/script/get-sources.sh …\n")
        .replace("; } | docker run ", "; } |\ndocker run ")
        .replace(architecture(), "ARCHITECTURE");
    let mut text = String::new();
    for line in script.lines() {
        let is_container = line.starts_with("docker run ");
        // A container's name stays in its first line.
        let head = line.find(" --name ").filter(|_| is_container);
        let (head, options) = line.split_at(head.map_or(0, |at| at + 1));
        let options = if line.starts_with("docker ") {
            options.replace(" --", " \\\n  --")
        } else {
            options.to_owned()
        };
        let _ = writeln!(text, "{head}{options}");
    }
    text
}

/// The lines that are in one of two texts only, in their order, below the command that they belong to.
fn difference(plain: &str, planned: &str) -> String {
    let old: Vec<&str> = plain.lines().collect();
    let new: Vec<&str> = planned.lines().collect();
    // How many lines the rests behind two places have in common.
    let mut common = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = if old[i] == new[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let (mut command, mut shown) = ("", "");
    let mut lines = Vec::new();
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            if is_heading(new[j]) {
                command = new[j];
            }
            (i, j) = (i + 1, j + 1);
            continue;
        }
        if shown != command {
            lines.push(format!("@@ {command}"));
            shown = command;
        }
        if j == new.len() || i < old.len() && common[i + 1][j] >= common[i][j + 1] {
            lines.push(format!("-{}", old[i]));
            i += 1;
        } else {
            lines.push(format!("+{}", new[j]));
            if is_heading(new[j]) {
                (command, shown) = (new[j], new[j]);
            }
            j += 1;
        }
    }
    folded(&lines, &old)
}

/// The lines without the options that another container of the plain job has too, and without labels in mounts.
fn folded(lines: &[String], plain: &[&str]) -> String {
    let labels = Regex::new("(,volume-label=[^, ]+)+").expect("a pattern");
    let is_usual = |line: &String| {
        let line = line.strip_prefix('+');
        line.is_some_and(|line| line.starts_with("  --") && plain.contains(&line))
    };
    let mut text = String::new();
    for run in lines.chunk_by(|one, other| is_usual(one) == is_usual(other)) {
        if run.len() > 3 && is_usual(&run[0]) {
            let _ = writeln!(text, "+  … {} options that others have", run.len());
        } else {
            for line in run {
                let _ = writeln!(text, "{}", labels.replace_all(line, ",volume-label=…"));
            }
        }
    }
    text
}

fn is_heading(line: &str) -> bool {
    line.starts_with("docker ")
}

/// What is printed of a payload, and behind it the stages that no script has, since they need the coordinator's secrets.
fn script_of_payload(kind: &str, name: &str) -> anyhow::Result<String> {
    let of = if kind == "behind_a_proxy" {
        "alloyci"
    } else {
        kind
    };
    let mut payload = read(&plans().join(of).join("job.json"));
    if let Some(patch) = file(kind, name, "json").filter(|_| name != "job") {
        merge(&mut payload, read(&patch));
    }
    let sent = payload::read(
        payload.to_string().as_bytes(),
        "https://coordinator.example.org/api/v4",
    )
    .expect("id and token");
    let job: Job = *sent.job?;
    let config = config(kind, name);
    let mut host = host(&config);
    if kind == "behind_a_proxy" {
        host.proxies = vec![(
            "https_proxy".to_owned(),
            "http://ci:secret@proxy.example.org:3128".to_owned(),
        )];
        host.certificates
            .push_str("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
        host.helper_image.proxies = vec!["https_proxy".to_owned()];
        host.helper_image
            .certificates
            .clone_from(&host.certificates);
    }
    let names = Names::of_script(&config.short_token());
    let plan = Plan::new(&job, &config, &names, &host)?;
    let docker = config.docker.first_engine().expect("one").words();
    let mut script = printer::script(&plan, &docker, &job.name, "runner");
    let left_out = |stage: &&HelperStage| {
        stage
            .script
            .secrets()
            .any(|name| name.starts_with("ALLOY_"))
    };
    let stages = plan.fetch.iter().chain(&plan.finish);
    for stage in stages.filter(left_out) {
        let exposed = stage.script.expose(&Bindings::new()).expect("no slots");
        let command = stage
            .command
            .pasted_line(&docker, Some(&exposed.into()), "");
        let _ = writeln!(
            script,
            "\n# Left out above, here with its secrets: {}\n{command}",
            stage.kind.key()
        );
    }
    Ok(script)
}

fn script_of_job_file(name: &str) -> anyhow::Result<String> {
    let job_file = file("exec", name, "json")
        .or_else(|| file("exec", name, "yml"))
        .expect("a job file");
    let local = Local {
        file: Some(job_file.clone()),
        config: config("exec", name),
        ..Local::default()
    };
    let pipeline = alloy_runner::job::pipeline::Pipeline::read(&job_file)?;
    let last = pipeline.jobs.last().expect("a job").name.clone();
    let wanted = Wanted {
        jobs: vec![last],
        ..Wanted::default()
    };
    let store = PathBuf::from("/home/me/.local/state/alloy-runner/artifacts/0123");
    let store = Store {
        label: store.join("checkout"),
        directory: store,
    };
    let found = local.find_in(checkout(), store, &wanted)?;
    local.script_for(&found, &host(&local.config))
}

/// A checkout on the branch `main`.
fn checkout() -> Checkout {
    let directory = PathBuf::from("/home/me/site");
    Checkout {
        project: Project {
            id: 7,
            namespace: "acme".to_owned(),
            name: "site".to_owned(),
        },
        sources: Sources {
            origin: Origin::Checkout {
                git_dir: directory.join(".git"),
                alternates: Vec::new(),
                remote: Some("https://git.example.org/acme/site.git".to_owned()),
                changes: None,
            },
            sha: "a2fe6e72e0b0d3c7b1a4f1b8f3a2d5c6e7f80910".to_owned(),
            before_sha: None,
            ref_name: "main".to_owned(),
            tag: false,
            depth: 0,
        },
        directory,
    }
}

fn host(config: &RunnerConfig) -> Host {
    Host {
        version: "1.2.3".to_owned(),
        revision: "0123abcd".to_owned(),
        hostname: "build-host".to_owned(),
        helper_image: HelperImage {
            name: "alloy-runner-helper:1.2.3-0123456789ab".to_owned(),
            executable: "/usr/bin/alloy-runner".to_owned(),
            base: DEFAULT_BASE.to_owned(),
            version: "1.2.3".to_owned(),
            ..HelperImage::default()
        },
        shares_files: config.docker.first_engine().expect("one").may_share_files(),
        now: 1_700_000_000,
        ..Host::default()
    }
}

/// The one runner of a case's configuration.
fn config(kind: &str, name: &str) -> RunnerConfig {
    let Some(file) = file(kind, name, "toml") else {
        return RunnerConfig {
            name: "docker-1".to_owned(),
            token: "abcdefghijkl".to_owned(),
            ..RunnerConfig::default()
        };
    };
    let Config { mut runners, .. } = load(&file).unwrap_or_else(|error| panic!("{error}")).config;
    runners.pop().expect("a runner")
}

fn read(file: &Path) -> Value {
    let text = fs::read_to_string(file).expect("there");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// A merge patch, RFC 7396.
fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    target.remove(&key);
                } else {
                    merge(target.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (target, patch) => *target = patch,
    }
}
