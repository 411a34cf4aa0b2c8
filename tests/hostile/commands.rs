//! A job against the host: whatever it says, the commands that leave the process have the options that the
//! configuration gives, and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};

use alloy_runner::docker::{Bindings, DockerCommand, Word};
use alloy_runner::plan::{ImageSource, Place, Plan, Stage};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::docker_line::{Line, Mounted, mount, volume};
use super::settings::{HOLD, SETTINGS, Setting, bindings, plan};
use super::tries::tried;
use super::words::{good, payload as hostile_payload};

const PREFIX: &str = "runner-abcdefgh-project-3-concurrent-0";
/// Where the archives of all jobs of the project are.
const ARCHIVES: &str = "runner-abcdefgh-project-3-cache-archives";

fn is_archives(volume: &str) -> bool {
    volume.strip_suffix("-protected").unwrap_or(volume) == ARCHIVES
}

fn text(word: &Word) -> String {
    word.bind(&Bindings::new()).expect("no slots")
}

/// What a command is for, and its line.
struct Checked<'a> {
    payload: &'a Value,
    setting: &'a Setting,
    plan: &'a Plan,
    bindings: Bindings,
    /// Options put into the line of the container of this role, to see that they are seen.
    planted: Option<(&'static str, &'static [&'static str])>,
}

/// A list as docker gets it: one text is a list of one.
fn list(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Null => None,
        Value::String(word) => Some(vec![word.clone()]),
        Value::Array(words) => {
            let words = words.iter();
            Some(
                words
                    .map(|word| word.as_str().expect("a text").to_owned())
                    .collect(),
            )
        }
        _ => panic!("no list: {value}"),
    }
}

fn is_hostname(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('-')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

pub fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl Checked<'_> {
    fn line(&self, command: &DockerCommand) -> Line {
        self.line_of(command, "")
    }

    fn line_of(&self, command: &DockerCommand, role: &str) -> Line {
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
    fn labels(&self, labels: &[String]) {
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

    /// Takes mounts out of a container's line: the sources, what the configuration has, and of a helper the archives.
    fn mounts(&self, line: &mut Line, role: &str) {
        let mut seen: Vec<Mounted> = Vec::new();
        for value in line.take("--volume") {
            seen.push(volume(&value).expect("a volume"));
        }
        for value in line.take("--mount") {
            let (kind, mounted, labels) = mount(&value).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(
                kind, "volume",
                "a job of a coordinator has no other: {value}"
            );
            if mounted.source == HOLD {
                let Mounted { target, mode, .. } = &mounted;
                let right = match role {
                    "helper" => target == "/usr/local/bin" && mode == "ro",
                    _ => target.starts_with("/dev/alloy-runner/hold") && mode == "ro,nocopy",
                };
                assert!(right, "{value}");
                assert!(["helper", "held"].contains(&role), "{value}");
                continue;
            }
            let archives = is_archives(&mounted.source);
            assert!(archives || mounted.source.starts_with(PREFIX), "{value}");
            let labels: Vec<String> = labels
                .into_iter()
                .filter(|label| !label.starts_with("driver:"))
                .collect();
            if !labels.is_empty() {
                self.labels(&labels);
            }
            seen.push(mounted);
        }
        if role == "helper" {
            seen.retain(
                |Mounted {
                     source,
                     target,
                     mode,
                 }| {
                    let source = source.strip_prefix("/srv/cache/").unwrap_or(source);
                    let writable = source.starts_with(PREFIX) && mode.is_empty();
                    !(is_archives(source) && target == "/alloy/caches" && mode.is_empty()
                        || writable && target.starts_with("/alloy/volumes/"))
                },
            );
            let of_operator = ["/srv/a,b", "gems"];
            let is_theirs = |mounted: &Mounted| of_operator.contains(&mounted.source.as_str());
            assert!(!seen.iter().any(is_theirs), "{seen:?}");
        }
        let (mut sources, mut files) = (0, 0);
        for mounted in &seen {
            let cache = mounted.source.starts_with(&format!("{PREFIX}-cache-"));
            let known = self.setting.mounts.iter().any(|(source, target, mode)| {
                let source = match *source {
                    "cache:" => cache,
                    "/srv/cache/" => mounted
                        .source
                        .starts_with(&format!("/srv/cache/{PREFIX}-cache-")),
                    source => mounted.source == source,
                };
                // The relative one is below the project.
                let target = if target.is_empty() {
                    mounted.target.starts_with("/b/") && mounted.target.ends_with("/vendor")
                } else {
                    mounted.target == *target
                };
                source && target && mounted.mode == *mode
            });
            let builds = mounted.target == "/builds"
                && mounted.mode.is_empty()
                && (mounted.source == format!("{PREFIX}-builds")
                    || cache
                    || mounted
                        .source
                        .starts_with(&format!("/srv/cache/{PREFIX}-cache-")));
            sources += u32::from(builds);
            // Where the values of file variables are that do not stay with the sources.
            let of_files = mounted.source == format!("{PREFIX}-files")
                && mounted.target == "/alloy/variables"
                && mounted.mode.is_empty();
            files += usize::from(of_files);
            assert!(known || builds || of_files, "{mounted:?}");
        }
        assert!(files <= 1, "{seen:?}");
        let own = u32::from(!self.setting.text.contains("builds_dir"));
        assert_eq!(sources, own, "{seen:?}");
        let all = self.setting.mounts.len() + own as usize + files;
        assert!(
            seen.len() == all || role == "helper" && seen.len() < all,
            "{seen:?}"
        );
        let targets: BTreeSet<&String> = seen.iter().map(|mounted| &mounted.target).collect();
        assert_eq!(targets.len(), seen.len(), "{seen:?}");
    }

    /// Checks a container's line: all its options.
    fn container(&self, command: &DockerCommand, role: &str, name: &Word) -> Line {
        let mut line = self.line_of(command, role);
        assert!(
            ["run", "create"].contains(&line.subcommand.as_str()),
            "{line:?}"
        );
        assert_eq!(line.take("--pull"), ["never"]);
        let name = text(name);
        assert_eq!(line.take("--name"), [name.as_str()]);
        assert!(
            name.starts_with(&format!("{PREFIX}-")) && is_hostname(&name),
            "{name:?}"
        );
        self.labels(&line.take("--label"));
        self.mounts(&mut line, role);
        self.network(&mut line, role);
        self.usual(&mut line, role);
        let entrypoint = line.take("--entrypoint");
        let given: &[(&str, &str)] = match role {
            "build" | "held" => self.setting.build,
            "helper" => self.setting.helper,
            _ => self.setting.service,
        };
        let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (option, value) in given {
            expected
                .entry((*option).to_owned())
                .or_default()
                .push((*value).to_owned());
        }
        assert_eq!(
            line.options, expected,
            "{role}: what the configuration gives"
        );
        line.options = BTreeMap::from([("--entrypoint".to_owned(), entrypoint)]);
        line
    }

    /// Takes out what every container of its kind has.
    fn usual(&self, line: &mut Line, role: &str) {
        match role {
            "build" | "held" => {
                assert_eq!(line.take("--interactive").len(), 1);
                assert_eq!(line.take("--no-healthcheck").len(), 1);
                assert_eq!(line.take("--log-driver"), ["none"]);
                let directory = line.take("--workdir").concat();
                assert!(self.is_project(&directory), "{directory:?}");
            }
            "helper" => {
                let ways = line.take("--detach").len() + line.take("--interactive").len();
                assert_eq!(ways, 1);
                assert_eq!(line.take("--memory"), ["4g"]);
                assert_eq!(line.take("--security-opt"), ["no-new-privileges"]);
                assert_eq!(line.take("--cap-drop"), ["ALL"]);
                assert_eq!(line.take("--cap-add").len(), 4);
                assert_eq!(line.take("--log-driver"), ["none"]);
            }
            _ => assert_eq!(line.take("--detach").len(), 1),
        }
    }

    /// Takes the network out.
    fn network(&self, line: &mut Line, role: &str) {
        let mode = self.setting.network;
        let services = !self.plan.services.is_empty();
        let expected = match mode {
            "" if services => vec![PREFIX.to_owned()],
            "" => vec![],
            mode => vec![mode.to_owned()],
        };
        // The default bridge is where a container is of itself.
        let expected = expected.into_iter().filter(|mode| *mode != "bridge");
        let expected: Vec<_> = expected.collect();
        assert_eq!(line.take("--network"), expected);
        for alias in line.take("--network-alias") {
            assert!(is_hostname(&alias) && role == "service", "{alias:?}");
            assert!(mode.is_empty() || mode == "shared-net");
        }
        if mode == "bridge" && role != "service" {
            let of_config = usize::from(["build", "held"].contains(&role));
            let links = line.take("--link");
            assert!(services || links.len() == of_config, "{links:?}");
            for link in &links {
                let (container, alias) = link.split_once(':').expect("an alias");
                assert!(
                    link == "db:db" || container.starts_with(PREFIX) && is_hostname(alias),
                    "{link:?}"
                );
            }
            if of_config == 1 {
                line.options
                    .insert("--link".to_owned(), vec!["db:db".to_owned()]);
            }
        }
        if mode == "host" && role != "service" {
            for entry in line.take("--add-host") {
                let (alias, address) = entry.split_once(':').expect("an address");
                assert!(is_hostname(alias) && address == "127.0.0.1", "{entry:?}");
            }
        }
    }

    fn is_project(&self, directory: &str) -> bool {
        let builds = if self.setting.text.contains("builds_dir") {
            "/b/"
        } else {
            "/builds/"
        };
        directory.starts_with(builds)
            && !directory.contains([':', ',', '|', '\'', '"', '$', '`', '\\', '\n', '\0'])
            && !directory.split('/').any(|part| [".", ".."].contains(&part))
    }

    /// The build container that waits: it runs our executable, which becomes the shell.
    fn held(&self, shell: &[String]) {
        let Some(held) = &self.plan.build.held else {
            return;
        };
        let held = self.container(held, "held", &self.plan.build.name);
        assert!(held.options["--entrypoint"].is_empty());
        let (before, rest) = held.operands.split_at(4);
        assert!(
            before[1].starts_with("/dev/alloy-runner/hold") && before[1].ends_with("/alloy-runner")
        );
        assert_eq!(
            [&before[0], &before[2], &before[3]],
            ["sha256:0", "hold", "--"]
        );
        assert_eq!(rest, shell);
    }

    /// What a container's line runs: the image that was resolved, and what its job may say behind it.
    fn runs(&self, line: &Line, slot: usize, spec: &Value, usual: &[String]) {
        let kept = self.setting.text.contains("disable_entrypoint_overwrite");
        // An empty list says nothing.
        let entrypoint = list(&spec["entrypoint"]).filter(|words| !kept && !words.is_empty());
        let option = &line.options["--entrypoint"];
        let mut expected = vec![format!("sha256:{slot}")];
        match &entrypoint {
            None => assert!(option.is_empty(), "{option:?}"),
            Some(words) => {
                assert_eq!(*option, [words.first().cloned().unwrap_or_default()]);
                expected.extend(words.iter().skip(1).cloned());
            }
        }
        expected.extend_from_slice(usual);
        assert_eq!(line.operands, expected);
    }

    /// A command in the helper: its name and the secrets go by other ways.
    fn helper(&self, command: &DockerCommand, stage: Option<&Stage>) {
        let mut line = self.line(command);
        assert_eq!(line.subcommand, "exec");
        assert_eq!(line.take("--interactive").len(), 1);
        assert!(line.options.is_empty(), "{line:?}");
        let (container, words) = line.operands.split_first().expect("a container");
        assert_eq!(*container, format!("{PREFIX}-helper"));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["sh"] => assert_eq!(stage.map(|stage| stage.name), Some("get_sources")),
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
            let pull = self.line(&DockerCommand::pull(&*image.name));
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
        for way in &plan.helper_ways {
            let [run] = &way.start[..] else {
                panic!("a copy")
            };
            let line = self.container(run, "helper", &plan.helper);
            assert_eq!(line.options["--entrypoint"], [""]);
            assert_eq!(line.operands[0], image);
            assert!(
                !line.operands.iter().any(|word| word.contains("pwned")),
                "{line:?}"
            );
            if let Some(stage) = &way.once {
                let line = self.container(&stage.command, "helper", &plan.helper);
                assert_eq!(line.options["--entrypoint"], [""]);
                assert_eq!(line.operands, [image.as_str(), "sh"]);
            }
        }
        if let Some(check) = &plan.health_check {
            self.helper(check, None);
        }
        for stage in &plan.stages {
            match stage.place {
                Place::Helper => self.helper(&stage.command, Some(stage)),
                Place::Build if stage.name == "build" => assert_eq!(stage.command, plan.build.run),
                Place::Build => {
                    let line = self.line(&stage.command);
                    assert_eq!(line.subcommand, "start");
                    assert_eq!(line.operands, [text(&plan.build.name)]);
                }
            }
            assert_eq!(stage.enter, None);
            assert!((1..=10).contains(&stage.attempts));
        }
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
