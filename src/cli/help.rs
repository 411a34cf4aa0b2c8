//! `--help`, without the settings of docker, which are many, and `--help-docker`, which has nothing else.

use std::process::exit;

use clap::{Arg, ArgAction, Args, Command, CommandFactory, FromArgMatches};

use super::Arguments;
use crate::config::DockerConfig;
use crate::runner::local::show;

const HELP_DOCKER: &str = "help-docker";
/// What everybody needs first.
const SHOWN: &[&str] = &["docker-image", "docker-pull-policy", "docker-host"];
const HEADING: &str = "Docker settings (all of them: --help-docker)";

/// The words of the command line. Where they ask for help, or are wrong, the process ends.
pub(super) fn arguments() -> Arguments {
    let mut words = std::env::args_os().take_while(|word| word != "--");
    if words.any(|word| word == "--help-docker") {
        exit(i32::from(super::status_of(show(&docker()).map(|()| 0))));
    }
    let matches = with_docker_apart(Arguments::command()).get_matches();
    Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// The help of all settings of docker.
fn docker() -> String {
    let command = Command::new("docker").disable_help_flag(true);
    let command = DockerConfig::augment_args(command).help_template(
        "Settings of docker, for each command that runs jobs. Each is also a key of\n\
         [runners.docker] in the configuration and a variable of the environment; lists\n\
         repeat the flag, tables are JSON.\n\n{options}\n",
    );
    command
        .mut_args(|argument| argument.help_heading(None::<&str>))
        .render_long_help()
        .to_string()
}

/// The same commands, whose help leaves most settings of docker to `--help-docker`.
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
    use super::{docker, with_docker_apart};
    use crate::cli::Arguments;
    use clap::{Command, CommandFactory};

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
