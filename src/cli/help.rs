//! `alloy-runner help`, which shows pages of the manual and the help of commands; man pages; `--help`
//! without most of the many settings of docker, and `--help-docker`, which has all of them.

use std::io::{self, ErrorKind, IsTerminal as _};
use std::path::PathBuf;
use std::process::exit;

use anyhow::{Context as _, Result};
use clap::{Arg, ArgAction, ArgMatches, Args, Command};

use super::globals::{NAME, status_of};
use crate::config::DockerConfig;
use crate::local::{ReaderGone, show};
use crate::manual::{TOPICS, Topic, man, pager, topic};
use crate::nearest::nearest_hint;
use crate::outcome::InputError;

const HELP_DOCKER: &str = "help-docker";
/// The settings of docker that are needed most, which every help has.
const SHOWN: &[&str] = &["docker-image", "docker-pull-policy", "docker-host"];
const HEADING: &str = "Docker settings";

/// Show a page of the manual, or the help of a command
#[derive(Args)]
#[command(after_help = "Examples:
  alloy-runner help             the commands, and the topics of the manual
  alloy-runner help services    a page of the manual
  alloy-runner help exec        the help of a command
  alloy-runner help --man /usr/local/share/man
                                install the same as man pages

On a terminal a page is shown by $PAGER, else by less.")]
pub(super) struct Help {
    /// A topic of the manual, or a command
    #[arg(value_name = "TOPIC")]
    words: Vec<String>,
    /// Write man pages of all commands and topics into man1 and man7 below this directory
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "words")]
    man: Option<PathBuf>,
}

impl Help {
    /// Shows it, or writes man pages. `top` has all commands.
    pub fn run(&self, top: Command) -> Result<u8> {
        if let Some(directory) = &self.man {
            man::write(directory, &built(top), &docker_settings())?;
            return Ok(0);
        }
        if let [name, _, ..] = &self.words[..]
            && topic(name).is_some()
        {
            let what = format!("a topic stands alone: `alloy-runner help {name}`");
            return Err(InputError::new(what).into());
        }
        match self.words.first().and_then(|name| topic(name)) {
            Some(page) => show_page(page)?,
            None => show_command(top, &self.words)?,
        }
        Ok(0)
    }
}

fn show_page(page: &Topic) -> Result<()> {
    if io::stdout().is_terminal() {
        pager::page(page.text)?;
    }
    show(page.text)
}

/// The whole command line, in which each command has its whole name.
fn built(top: Command) -> Command {
    let mut top = with_docker_apart(top);
    top.build();
    top
}

/// Shows the help of a command as its `--help` does; without words, the help of the program.
fn show_command(top: Command, words: &[String]) -> Result<()> {
    let mut top = built(top);
    let command = below(&mut top, words)?;
    match command.print_long_help() {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(ReaderGone.into()),
        written => written.context("cannot write to stdout"),
    }
}

/// Finds the command that these words name.
fn below<'a>(command: &'a mut Command, words: &[String]) -> Result<&'a mut Command, InputError> {
    let Some((word, rest)) = words.split_first() else {
        return Ok(command);
    };
    let missing = unknown(word, command);
    let found = command.find_subcommand_mut(word).ok_or(missing)?;
    below(found, rest)
}

/// The error that there is neither a command nor a topic of this name.
fn unknown(word: &str, command: &Command) -> InputError {
    let commands = command.get_subcommands();
    let commands = commands.filter(|command| !command.is_hide_set());
    let commands: Vec<&str> = commands.map(Command::get_name).collect();
    if command.get_name() != NAME {
        let name = command.get_name();
        let hint = nearest_hint(word, &commands);
        return InputError::new(format!("the command `{name}` has no `{word}`{hint}"));
    }
    let topics: Vec<&str> = TOPICS.iter().map(|topic| topic.name).collect();
    let hint = nearest_hint(word, &[&topics[..], &commands[..]].concat());
    InputError::new(format!(
        "there is no topic and no command `{word}`{hint}; the topics are: {}; the commands are: {}",
        topics.join(", "),
        commands.join(", ")
    ))
}

/// Parses the command line. If it asks for help or is wrong, this prints a text and ends the process.
pub(super) fn matches(command: Command) -> ArgMatches {
    let mut words = std::env::args_os().take_while(|word| word != "--");
    if words.any(|word| word == "--help-docker") {
        exit(i32::from(status_of(show(&docker()).map(|()| 0))));
    }
    with_docker_apart(command).get_matches()
}

/// The help of all settings of docker.
fn docker() -> String {
    docker_settings().render_long_help().to_string()
}

/// All settings of docker, as options of a command that does not exist.
fn docker_settings() -> Command {
    let command = Command::new("docker-settings").disable_help_flag(true);
    let command = DockerConfig::augment_args(command)
        .about("Settings of docker, for each command that runs jobs")
        .long_about(
            "Settings of docker, for each command that runs jobs. Each is also a key of\n\
             [runners.docker] in the configuration and a variable of the environment; lists\n\
             repeat the flag, tables are JSON.",
        )
        .help_template("{about}\n\n{options}\n");
    command.mut_args(|argument| argument.help_heading(None::<&str>).hide_short_help(false))
}

/// Moves most settings of docker out of a command's help, into `--help-docker`.
pub(super) fn with_docker_apart(command: Command) -> Command {
    let is_setting = |argument: &Arg| {
        let name = argument.get_long();
        name.is_some_and(|name| name.starts_with("docker-"))
    };
    let command = command.mut_subcommands(with_docker_apart);
    if !command.get_arguments().any(is_setting) {
        return command;
    }
    command
        .mut_args(|argument| {
            let shown = argument
                .get_long()
                .is_some_and(|name| SHOWN.contains(&name));
            match is_setting(&argument) {
                true if shown => argument.help_heading(HEADING),
                true => argument.hide(true),
                false => argument,
            }
        })
        .arg(
            Arg::new(HELP_DOCKER)
                .long(HELP_DOCKER)
                .action(ArgAction::SetTrue)
                .help("Print all settings of docker")
                .help_heading(HEADING),
        )
}

#[cfg(test)]
mod tests {
    use super::{below, built, docker, docker_settings, unknown, with_docker_apart};
    use crate::cli::Arguments;
    use crate::manual::{TOPICS, man, topic};
    use std::fs;

    use clap::error::ErrorKind;
    use clap::{Command, CommandFactory};

    fn program() -> Command {
        built(Arguments::command())
    }

    /// What stands in backquotes in a page, and the lines of its code.
    fn code(page: &str) -> Vec<&str> {
        let mut found = Vec::new();
        for (index, part) in page.split("```").enumerate() {
            if index % 2 == 1 {
                found.extend(part.lines());
            } else {
                found.extend(part.split('`').skip(1).step_by(2));
            }
        }
        found
    }

    /// The words of a line for a shell up to the end of its first command, as far as the manual's examples go.
    fn words(line: &str) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        let (mut quote, mut open) = (None, false);
        for c in line.chars() {
            match (c, quote) {
                ('\'' | '"', None) => {
                    quote = Some(c);
                    if !open {
                        words.push(String::new());
                    }
                }
                (c, Some(end)) if c == end => quote = None,
                ('#' | '|' | '>' | ')' | ';' | '&', None) if c != '#' || !open => break,
                (' ', None) => {
                    open = false;
                    continue;
                }
                (c, _) => {
                    if open {
                        words.last_mut().expect("a word").push(c);
                    } else {
                        words.push(c.to_string());
                    }
                }
            }
            open = true;
        }
        words.retain(|word| word != "2");
        words
    }

    #[test]
    fn every_command_of_the_manual_and_the_readme_is_one() {
        let mut checked = 0;
        let topics = TOPICS.iter().map(|topic| (topic.name, topic.text));
        for (name, text) in topics.chain([("README", include_str!("../../README.md"))]) {
            // A line that ends with a backslash goes on.
            let text = text.replace("\\\n", " ");
            for line in code(&text) {
                let Some(at) = line.find("alloy-runner ") else {
                    continue;
                };
                if !matches!(line[..at].chars().last(), None | Some(' ' | '(' | '/')) {
                    continue;
                }
                let words = words(&line[at..]);
                // It is looked for before all else is parsed.
                if words.iter().any(|word| word == "--help-docker") {
                    continue;
                }
                let parsed = with_docker_apart(Arguments::command()).try_get_matches_from(&words);
                let shown = [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion];
                if let Err(error) = parsed.map(drop)
                    && !shown.contains(&error.kind())
                {
                    panic!("{name}: {line}: {error}");
                }
                checked += 1;
            }
        }
        assert!(checked > 30, "{checked}");
    }

    #[test]
    fn every_option_of_the_manual_is_one() {
        fn options(command: &Command, found: &mut Vec<String>) {
            let own = command.get_arguments().filter_map(clap::Arg::get_long);
            found.extend(own.map(|name| format!("--{name}")));
            for below in command.get_subcommands() {
                options(below, found);
            }
        }
        let mut known = Vec::new();
        options(&program(), &mut known);
        for topic in TOPICS {
            let inline = topic.text.split("```").step_by(2);
            let spans = inline.flat_map(|part| part.split('`').skip(1).step_by(2));
            for span in spans.filter(|span| span.starts_with("--")) {
                let name = span.split([' ', '=']).next().unwrap_or_default();
                let there = known.iter().any(|option| option == name);
                assert!(there, "{}: {span}", topic.name);
            }
        }
    }

    #[test]
    fn no_topic_hides_a_command_and_what_is_unknown_is_told_with_all_there_is() {
        let command = program();
        for topic in TOPICS {
            assert!(
                command.find_subcommand(topic.name).is_none(),
                "{}",
                topic.name
            );
        }
        let error = unknown("servces", &command).to_string();
        let begin = "there is no topic and no command `servces` (did you mean `services`?); the topics are: job-file, ";
        assert!(error.starts_with(begin), "{error}");
        assert!(error.contains("the commands are: exec, "), "{error}");
        let below = command.find_subcommand("helper-image").expect("there");
        let error = unknown("biuld", below).to_string();
        assert_eq!(
            error,
            "the command `helper-image` has no `biuld` (did you mean `build`?)"
        );
    }

    #[test]
    fn every_command_and_topic_has_a_man_page_and_what_pages_refer_to_is_there() {
        fn names(command: &Command, found: &mut Vec<String>) {
            let name = command.get_display_name();
            found.push(name.unwrap_or(command.get_name()).to_owned());
            let below = command.get_subcommands();
            for command in below.filter(|command| !command.is_hide_set()) {
                names(command, found);
            }
        }
        let directory = tempfile::tempdir().expect("a directory");
        man::write(directory.path(), &program(), &docker_settings()).expect("written");
        let page = |name: &str, section: &str| {
            let path = format!("man{section}/{name}.{section}");
            let text = fs::read_to_string(directory.path().join(&path));
            text.unwrap_or_else(|error| panic!("{path}: {error}"))
        };
        let mut commands = Vec::new();
        names(&program(), &mut commands);
        assert!(commands.contains(&"alloy-runner-helper-image-build".to_owned()));
        let topics = TOPICS.iter().map(|topic| topic.name);
        let topics = topics.map(|topic| format!("alloy-runner-{topic}"));
        let pages: Vec<String> = commands
            .iter()
            .map(|name| page(name, "1"))
            .chain(topics.map(|name| page(&name, "7")))
            .collect();
        for (command, page) in commands.iter().zip(&pages) {
            assert!(
                page.contains("\n.SH \"EXIT STATUS\"\n"),
                "{command}: {page}"
            );
        }
        for text in pages {
            let references = text.split(".SH \"SEE ALSO\"\n").nth(1).expect("references");
            for reference in references.trim_end().split(", ") {
                let (name, section) = reference.split_once("\\fR(").expect("a section");
                let name = name.trim_start_matches("\\fB").replace("\\-", "-");
                page(&name, section.trim_end_matches(')'));
            }
        }
    }

    #[test]
    fn the_exit_statuses_are_those_of_commands() {
        let statuses = topic("exit-statuses").expect("there").text;
        let headings = statuses.lines().filter_map(|line| line.strip_prefix("## "));
        for words in headings.flat_map(|heading| heading.split(", ")) {
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            below(&mut program(), &words).expect("a command");
        }
    }

    #[test]
    fn examples_fit_a_terminal_of_80_columns() {
        fn check(command: &Command) {
            let text = command.get_after_help().map(ToString::to_string);
            for line in text.unwrap_or_default().lines() {
                assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Arguments::command());
    }

    #[test]
    fn help_is_short_and_all_settings_of_docker_are_a_help_of_their_own() {
        let mut command = with_docker_apart(Arguments::command());
        let exec = command.find_subcommand_mut("exec").expect("there");
        let help = exec.render_long_help().to_string();
        assert!(help.lines().count() < 130, "{help}");
        assert!(help.contains("--docker-image") && help.contains("--help-docker"));
        assert!(!help.contains("--docker-cap-add"), "{help}");
        let docker = docker();
        assert!(
            docker.lines().take(3).all(|line| line.len() <= 80),
            "{docker}"
        );
        assert!(docker.contains("--docker-cap-add") && docker.contains("--docker-image"));
    }
}
