//! The manual: a page for each topic, in markdown that reads well as plain text. It travels with the executable;
//! `alloy-runner help TOPIC` shows it, and `help --man` makes man pages of it.

pub mod man;
pub mod pager;

/// A page of the manual.
#[derive(Clone, Copy, Debug)]
pub struct Topic {
    /// What it is asked for by.
    pub name: &'static str,
    /// What it is about, in a few words.
    pub summary: &'static str,
    /// The page.
    pub text: &'static str,
    /// The commands whose man pages refer to it, `helper-image build`.
    pub commands: &'static [&'static str],
}

/// All of them, in the order of a first reading.
pub const TOPICS: &[Topic] = &[
    Topic {
        name: "job-file",
        summary: "the keywords of .alloy-ci.json and .alloy-ci.yml",
        text: include_str!("job-file.md"),
        commands: &["exec"],
    },
    Topic {
        name: "variables",
        summary: "what a job gets, which value wins, which values are secrets",
        text: include_str!("variables.md"),
        commands: &["exec"],
    },
    Topic {
        name: "images",
        summary: "images, pull policies, private registries, the helper image",
        text: include_str!("images.md"),
        commands: &[
            "exec",
            "run",
            "run-single",
            "helper-image",
            "helper-image build",
            "prune",
        ],
    },
    Topic {
        name: "services",
        summary: "databases and other containers beside a job",
        text: include_str!("services.md"),
        commands: &["exec"],
    },
    Topic {
        name: "volumes",
        summary: "directories and caches that are kept for later jobs",
        text: include_str!("volumes.md"),
        commands: &["exec", "prune"],
    },
    Topic {
        name: "artifacts",
        summary: "files of a job for later jobs, the coordinator and you",
        text: include_str!("artifacts.md"),
        commands: &["exec"],
    },
    Topic {
        name: "configuration",
        summary: "config.toml: every key, and its flag and variable",
        text: concat!(
            include_str!("configuration.md"),
            "\n## All keys\n\n```\n",
            include_str!("../../config.toml.sample"),
            "```\n"
        ),
        commands: &[
            "exec",
            "run",
            "run-single",
            "register",
            "unregister",
            "verify",
            "list",
        ],
    },
    Topic {
        name: "serving",
        summary: "jobs of a coordinator: register, run, systemd, cron, metrics",
        text: include_str!("serving.md"),
        commands: &[
            "run",
            "run-single",
            "register",
            "unregister",
            "verify",
            "list",
        ],
    },
    Topic {
        name: "gitlab",
        summary: "what GitLab's own runner does, and this one beside it",
        text: include_str!("gitlab.md"),
        commands: &["run", "run-single", "register", "unregister", "verify"],
    },
    Topic {
        name: "pools",
        summary: "several docker engines that share a runner's jobs",
        text: include_str!("pools.md"),
        commands: &["exec", "run", "run-single", "register", "prune"],
    },
    Topic {
        name: "security",
        summary: "what each party can reach, and what protects the rest",
        text: include_str!("security.md"),
        commands: &["exec", "run", "run-single", "register"],
    },
    Topic {
        name: "reliability",
        summary: "what is promised when something breaks, and how it is tested",
        text: include_str!("reliability.md"),
        commands: &["run", "run-single", "prune"],
    },
    Topic {
        name: "messages",
        summary: "what messages mean, and what to do",
        text: include_str!("messages.md"),
        commands: &["exec", "run", "run-single"],
    },
    Topic {
        name: "exit-statuses",
        summary: "the exit status of each command",
        text: include_str!("exit-statuses.md"),
        commands: &[
            "exec",
            "run",
            "run-single",
            "register",
            "unregister",
            "verify",
            "list",
            "prune",
            "helper-image",
            "completions",
            "help",
        ],
    },
    Topic {
        name: "debugging",
        summary: "a failed job, step by step, down to its docker commands",
        text: include_str!("debugging.md"),
        commands: &["exec"],
    },
];

/// The page of this name.
#[must_use]
pub fn topic(name: &str) -> Option<&'static Topic> {
    TOPICS.iter().find(|topic| topic.name == name)
}

/// The list of topics, for the end of a help text.
#[must_use]
pub fn list() -> String {
    let width = TOPICS.iter().map(|topic| topic.name.len()).max();
    let width = width.unwrap_or_default();
    let lines = TOPICS
        .iter()
        .map(|topic| format!("  {:<width$}  {}", topic.name, topic.summary));
    let lines: Vec<String> = lines.collect();
    format!(
        "Topics of the manual (alloy-runner help TOPIC):\n{}",
        lines.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::TOPICS;
    use crate::config::{CacheConfig, Config, DockerConfig, RunnerConfig, S3Config};

    /// The lines of a page that are text, with their numbers.
    fn text(page: &str) -> impl Iterator<Item = (usize, &str)> {
        let mut code = false;
        page.lines().enumerate().filter(move |(_, line)| {
            let fence = line.starts_with("```");
            code ^= fence;
            !code && !fence
        })
    }

    #[test]
    fn each_page_has_a_title_and_a_summary_and_fits_a_terminal_of_80_columns() {
        for topic in TOPICS {
            let title = topic.text.lines().next().unwrap_or_default();
            assert!(title.starts_with("# "), "{}: {title}", topic.name);
            let line = format!("  exit-statuses  {}", topic.summary);
            assert!(line.chars().count() <= 80, "{line}");
            let whole = topic.summary.ends_with(['.', ' ']) || topic.summary.is_empty();
            assert!(!whole, "{}: {}", topic.name, topic.summary);
            // Its tables are to be looked something up in, side by side.
            let is_wide = |line: &str| topic.name == "gitlab" && line.starts_with('|');
            for (number, line) in text(topic.text).filter(|(_, line)| !is_wide(line)) {
                let place = format!("{}:{}", topic.name, number + 1);
                assert!(line.chars().count() <= 80, "{place}: {line}");
            }
            let fences = topic.text.lines().filter(|line| line.starts_with("```"));
            assert_eq!(fences.count() % 2, 0, "{}: a fence is open", topic.name);
        }
    }

    #[test]
    fn the_page_of_the_configuration_has_every_key() {
        let page = super::topic("configuration").expect("there").text;
        let tables = [
            serde_json::to_value(Config::default()),
            serde_json::to_value(RunnerConfig::default()),
            serde_json::to_value(DockerConfig::default()),
            serde_json::to_value(CacheConfig::default()),
            serde_json::to_value(S3Config::default()),
        ];
        for table in tables {
            let table = table.expect("JSON");
            for key in table.as_object().expect("a table").keys() {
                // Tables have a line of their own, or are named in a comment.
                let there = [
                    format!("\n{key} = "),
                    format!("\n#{key} = "),
                    format!("{key}]"),
                ];
                assert!(there.iter().any(|line| page.contains(line)), "{key}");
            }
        }
    }

    #[test]
    fn pages_are_short() {
        for topic in TOPICS.iter().filter(|topic| topic.name != "configuration") {
            // One is a list of all that others can reach, one of all that another runner does.
            let most = match topic.name {
                "security" => 16_000,
                "gitlab" => 40_000,
                _ => 8500,
            };
            let length = topic.text.len();
            assert!(length < most, "{} has {length} bytes", topic.name);
        }
    }

    #[test]
    fn pages_name_no_text_outside_the_repository_and_each_other_by_what_there_is() {
        for topic in TOPICS {
            assert!(!topic.text.contains("../shared"), "{}", topic.name);
            for rest in topic.text.split("`help ").skip(1) {
                let name = rest.split('`').next().unwrap_or_default();
                assert!(super::topic(name).is_some(), "{}: {name}", topic.name);
            }
        }
    }
}
