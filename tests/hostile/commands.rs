//! A job against the host: whatever it says, the commands that leave the process have the options that the
//! configuration gives, and no others.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

use alloy_runner::docker::{Bindings, DockerCommand, Word};
use alloy_runner::plan::{HelperStage, ImageSource, Plan, StageKind};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::containers::{is_hostname, list};
use super::docker_line::Line;
use super::settings::{SETTINGS, Setting, bindings, plan};
use super::tries::tried;
use super::words::{good, payload as hostile_payload};

pub const PREFIX: &str = "runner-abcdefgh-project-3-concurrent-0";
/// Where the archives of all jobs of the project are.
const ARCHIVES: &str = "runner-abcdefgh-project-3-cache-archives";

pub fn is_archives(volume: &str) -> bool {
    volume.strip_suffix("-protected").unwrap_or(volume) == ARCHIVES
}

pub fn text(word: &Word) -> String {
    word.bind(&Bindings::new()).expect("no slots")
}

/// What a command is for, and its line.
pub struct Checked<'a> {
    payload: &'a Value,
    pub setting: &'a Setting,
    pub plan: &'a Plan,
    bindings: Bindings,
    /// Options put into the line of the container of this role, to see that they are seen.
    planted: Option<(&'static str, &'static [&'static str])>,
}

pub fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl Checked<'_> {
    pub fn line(&self, command: &DockerCommand) -> Line {
        self.line_of(command, "")
    }

    pub fn line_of(&self, command: &DockerCommand, role: &str) -> Line {
        let file = (!command.file_secrets().is_empty()).then_some("/tmp/variables");
        let mut argv = command.bind(&self.bindings).argv(file).expect("bound");
        if let Some((_, options)) = self.planted.filter(|(planted, _)| *planted == role) {
            argv.splice(1..1, options.iter().map(ToString::to_string));
        }
        for word in &argv {
            assert!(!word.contains('\0') && word.len() < 128 * 1024, "{word:?}");
        }
        for (name, value) in command.secrets() {
            assert!(is_variable(name), "{name:?} in the client's environment");
            assert!(!value.expose().contains('\0'));
            let leads = ["PATH", "ENV", "BASH_ENV", "PS4", "SHELLOPTS", "HOME", "IFS"];
            let begins = ["DOCKER_", "LD_", "BASH", "CONTAINER"];
            assert!(
                !leads.contains(&name.as_str())
                    && !begins.iter().any(|begin| name.starts_with(begin)),
                "{name} leads the client"
            );
        }
        for (name, value) in command.file_secrets() {
            assert!(
                is_variable(name) && !value.expose().contains(['\n', '\r', '\0']),
                "{name:?}"
            );
        }
        let mut line = Line::read(&argv).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            line.take("--env-file"),
            file.iter().map(ToString::to_string).collect::<Vec<_>>()
        );
        for entry in line.take("--env") {
            let (name, value) = entry.split_once('=').unwrap_or((&entry, ""));
            assert!(is_variable(name), "--env {entry:?}");
            let of_client = command.secrets().iter().any(|(known, _)| known == name);
            assert!(
                entry.contains('=') || of_client,
                "{name} would come from the host's environment"
            );
            assert!(
                !entry.contains('=') || !of_client,
                "{name}={value} is secret"
            );
        }
        line
    }

    /// Takes labels out: ours alone, and those of the configuration.
    pub fn labels(&self, labels: &[String]) {
        for label in labels {
            let (key, _) = label.split_once('=').expect("a value");
            let ours = key == "com.alloy-ci.runner" || key.starts_with("com.alloy-ci.runner.");
            let extra = self.setting.text.contains("container_labels") && label == "team=a=b,c";
            assert!(ours || extra, "--label {label:?}");
        }
        let keys: Vec<&str> = labels
            .iter()
            .filter_map(|label| label.split('=').next())
            .collect();
        let once: BTreeSet<&&str> = keys.iter().collect();
        assert_eq!(keys.len(), once.len(), "{labels:?}");
        assert!(keys.contains(&"com.alloy-ci.runner.process"), "{labels:?}");
    }

    /// A command in the helper: its name and the secrets go by other ways.
    fn helper(&self, command: &DockerCommand, stage: Option<&HelperStage>) {
        let mut line = self.line(command);
        assert_eq!(line.subcommand, "exec");
        assert_eq!(line.take("--interactive").len(), 1);
        let hooks = [StageKind::PreGetSources, StageKind::PostGetSources];
        let is_hook = stage.is_some_and(|stage| hooks.contains(&stage.kind));
        let user = line.take("--user");
        assert_eq!(user.concat(), if is_hook { "65534:65534" } else { "" });
        assert!(line.options.is_empty(), "{line:?}");
        let (container, words) = line.operands.split_first().expect("a container");
        assert_eq!(*container, format!("{PREFIX}-helper"));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if is_hook {
            let ends = "sh; status=$?; kill -KILL -1 2>/dev/null; exit $status";
            assert_eq!(words, ["sh", "-c", ends]);
            return;
        }
        assert!(command.secrets().is_empty() && command.file_secrets().is_empty());
        match words[..] {
            ["sh"] => {
                let kind = stage.map(|stage| stage.kind);
                assert_eq!(kind, Some(StageKind::GetSources));
            }
            ["sh", "-s", "--", ..] => {
                let kind = stage.map(|stage| stage.kind);
                assert_eq!(kind, Some(StageKind::GiveSources));
            }
            [program, tool] => {
                assert!(program.ends_with("alloy-runner"), "{program}");
                let tools = [
                    "cache-extractor",
                    "cache-archiver",
                    "artifacts-downloader",
                    "artifacts-uploader",
                ];
                assert!(tools.contains(&tool), "{tool}");
            }
            [
                "alloy-runner",
                "health-check",
                "--timeout",
                seconds,
                "--",
                ref targets @ ..,
            ] => {
                assert!(seconds.parse::<u64>().is_ok() && stage.is_none());
                for target in targets {
                    assert!(
                        target.starts_with(PREFIX) && target.ends_with("=5432/tcp"),
                        "{target}"
                    );
                }
            }
            _ => panic!("{words:?} in the helper"),
        }
    }

    fn all(&self) {
        let plan = self.plan;
        for (index, image) in plan.images.iter().enumerate() {
            let pull = self.line(&DockerCommand::pull(&*image.name, None));
            assert_eq!(pull.operands, [image.name.as_str()]);
            let first = image.name.chars().next().expect("a name");
            assert!(first.is_ascii_alphanumeric(), "{:?}", image.name);
            assert!(
                !image
                    .name
                    .contains(|c: char| c.is_whitespace() || c.is_control())
            );
            let last = index + 1 == plan.images.len();
            assert_eq!(matches!(image.source, ImageSource::Build(_)), last);
        }
        if let Some(network) = &plan.network {
            let mut line = self.line(network.create.as_ref().expect("made by itself"));
            assert_eq!(line.subcommand, "network create");
            self.labels(&line.take("--label"));
            assert!(line.options.is_empty(), "{line:?}");
            assert_eq!(line.operands, [PREFIX]);
        }
        for made in &plan.volumes {
            let name = text(&made.name);
            let ours = name.starts_with(&format!("{PREFIX}-")) || is_archives(&name);
            assert!(ours && is_hostname(&name), "{name}");
            // One of them is made by the first container that has it.
            let Some(create) = &made.create else { continue };
            let mut line = self.line(create);
            assert_eq!(line.subcommand, "volume create");
            self.labels(&line.take("--label"));
            assert!(line.options.is_empty(), "{line:?}");
            assert_eq!(line.operands, [text(&made.name)]);
        }
        let of_job = self.payload["services"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let of_job = of_job.iter().map(|spec| match spec {
            Value::String(name) => json!({"name": name}),
            table => table.clone(),
        });
        let of_job: Vec<Value> = of_job
            .filter(|spec| spec["name"].as_str().is_some_and(|name| !name.is_empty()))
            .collect();
        assert_eq!(of_job.len(), plan.services.len());
        for (index, (service, spec)) in plan.services.iter().zip(of_job).enumerate() {
            let line = self.container(&service.run, "service", &service.name);
            self.runs(
                &line,
                index + 1,
                &spec,
                &list(&spec["command"]).unwrap_or_default(),
            );
            let ports = self.line(&service.ports);
            assert_eq!(ports.operands, [format!("sha256:{}", index + 1)]);
        }
        let build = self.container(&plan.build.run, "build", &plan.build.name);
        let shell = alloy_runner::script::SHELL.map(str::to_owned);
        let spec = match &self.payload["image"] {
            Value::String(name) => json!({"name": name}),
            table => table.clone(),
        };
        self.runs(&build, 0, &spec, &shell);
        self.held(&shell);
        let image = format!("sha256:{}", plan.services.len() + 1);
        self.errand(&image);
        for start in &plan.helper_starts {
            let [run] = &start.commands[..] else {
                panic!("a copy")
            };
            let line = self.container(run, "helper", &plan.helper);
            assert_eq!(line.options["--entrypoint"], [""]);
            assert_eq!(line.operands[0], image);
            assert!(
                !line.operands.iter().any(|word| word.contains("pwned")),
                "{line:?}"
            );
            if let Some(stage) = &start.once {
                let line = self.container(&stage.command, "helper", &plan.helper);
                assert_eq!(line.options["--entrypoint"], [""]);
                assert_eq!(line.operands, [image.as_str(), "sh"]);
            }
        }
        if let Some(check) = &plan.health_check {
            self.helper(check, None);
        }
        for stage in plan.fetch.iter().chain(&plan.finish) {
            self.helper(&stage.command, Some(stage));
            assert!((1..=10).contains(&stage.attempts));
        }
        assert_eq!(plan.script.command, plan.build.run);
        if let Some(after_script) = &plan.after_script {
            let line = self.line(&after_script.command);
            assert_eq!(line.subcommand, "start");
            assert_eq!(line.operands, [text(&plan.build.name)]);
            assert_eq!(after_script.enter, None);
        }
        assert_eq!(plan.script.enter, None);
    }
}

/// Checks every command of a plan.
pub fn check(payload: &Value, setting: &Setting, plan: &Plan) {
    check_with(payload, setting, plan, None);
}

fn check_with(
    payload: &Value,
    setting: &Setting,
    plan: &Plan,
    planted: Option<(&'static str, &'static [&'static str])>,
) {
    let checked = Checked {
        payload,
        setting,
        plan,
        bindings: bindings(plan),
        planted,
    };
    checked.all();
}

#[test]
fn no_job_adds_an_option() {
    let (planned, refused) = (AtomicU32::new(0), AtomicU32::new(0));
    tried(
        1200,
        &(hostile_payload(), 0..SETTINGS.len()),
        |(payload, setting)| {
            let mut payload = payload;
            if payload["image"] == json!({"name": null}) {
                payload["image"] = json!({"name": "ruby:2.1"});
            }
            let setting = &SETTINGS[setting];
            match plan(&payload, setting) {
                Ok(plan) => {
                    planned.fetch_add(1, Ordering::Relaxed);
                    check(&payload, setting, &plan);
                }
                Err(error) => {
                    refused.fetch_add(1, Ordering::Relaxed);
                    prop_assert!(
                        error.chars().count() < 4000
                            && !error.contains(['\n', '\r', '\0', '\u{1b}']),
                        "{error:?}"
                    );
                }
            }
            Ok(())
        },
    );
    let (planned, refused) = (planned.into_inner(), refused.into_inner());
    eprintln!("{planned} jobs planned, {refused} refused");
    assert!(planned > 200 && refused > 200, "{planned} {refused}");
}

/// That the check would see it: each of these is a way to the host.
#[test]
fn an_option_that_is_not_the_configurations_is_seen() {
    let mut payload = good();
    payload["image"] = json!({"name": "ruby:2.1"});
    let setting = &SETTINGS[0];
    let plan = plan(&payload, setting).expect("planned");
    check(&payload, setting, &plan);
    let planted: [&[&str]; 8] = [
        &["--privileged"],
        &["--volume", "/:/host"],
        &["--network", "host"],
        &["--mount", "type=bind,source=/,target=/host"],
        &["--env", "HOST_SECRET"],
        &["--device", "/dev/sda"],
        &["--label", "com.docker.compose.project=x"],
        &["--use-api-socket"],
    ];
    for options in planted {
        for role in ["service", "helper", "build"] {
            let seen = std::panic::catch_unwind(|| {
                check_with(&payload, setting, &plan, Some((role, options)));
            });
            assert!(seen.is_err(), "{options:?} {role}");
        }
    }
}
