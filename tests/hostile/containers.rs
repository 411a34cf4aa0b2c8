//! A job's containers: their options are those that the configuration gives, and what every container of its kind has.

use std::collections::{BTreeMap, BTreeSet};

use alloy_runner::docker::{DockerCommand, Word};
use serde_json::Value;

use super::commands::{Checked, PREFIX, is_archives, text};
use super::docker_line::{Line, Mounted, mount, volume};
use super::settings::HOLD;

/// A list as docker gets it: one text is a list of one.
pub fn list(value: &Value) -> Option<Vec<String>> {
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

pub fn is_hostname(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('-')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

impl Checked<'_> {
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
    pub fn container(&self, command: &DockerCommand, role: &str, name: &Word) -> Line {
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
        if role != "helper" {
            Self::chosen(&mut line, given);
        }
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

    /// Takes out what the job has chosen of it: words that docker can take for nothing else.
    fn chosen(line: &mut Line, given: &[(&str, &str)]) {
        let kept = given.iter().filter_map(|(option, _)| {
            let values = line.options.remove(*option)?;
            Some(((*option).to_owned(), values))
        });
        let kept: Vec<_> = kept.collect();
        line.take_chosen();
        line.options.extend(kept);
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

    /// What clears the ways to volumes in volumes has the outer ones alone, at places of its own.
    pub fn errand(&self, image: &str) {
        let has_nested = self.setting.text.contains("/vendor");
        assert_eq!(self.plan.clear_nested.is_some(), has_nested);
        let Some(errand) = &self.plan.clear_nested else {
            return;
        };
        let mut line = self.line(&errand.run);
        assert_eq!(line.subcommand, "run");
        assert_eq!(line.take("--name"), [text(&errand.name)]);
        let own = |path: &str| path.starts_with("/alloy/volumes/") && !path.contains("/../");
        for value in line.take("--volume") {
            let mounted = volume(&value).expect("a volume");
            assert!(own(&mounted.target), "{value}");
        }
        for value in line.take("--mount") {
            let (_, mounted, _) = mount(&value).expect("a mount");
            assert!(own(&mounted.target), "{value}");
        }
        assert_eq!(line.take("--cap-drop"), ["ALL"]);
        let [first, shell, command, _, _, paths @ ..] = &line.operands[..] else {
            panic!("{line:?}")
        };
        assert_eq!([first.as_str(), shell, command], [image, "sh", "-c"]);
        assert!(
            !paths.is_empty() && paths.iter().all(|path| own(path)),
            "{line:?}"
        );
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
            assert!(mode.is_empty(), "others are in {mode}");
        }
        if mode == "shared-net" || mode == "bridge" && role != "service" {
            let of_config = usize::from(mode == "bridge" && ["build", "held"].contains(&role));
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
    pub fn held(&self, shell: &[String]) {
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
    pub fn runs(&self, line: &Line, slot: usize, spec: &Value, usual: &[String]) {
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
}
