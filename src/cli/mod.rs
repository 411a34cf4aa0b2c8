//! The command line: arguments in, exit status out.

mod archives;
mod completions;
mod exec;
mod globals;
mod health_check;
mod help;
mod helper_image;
mod known_runners;
mod prune;
mod register;
mod run;
mod run_single;
mod runner_flags;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use log::LevelFilter;

use crate::helper::hold;
use crate::manual;
use crate::service::scheduler::GlobalOptions;
use globals::{Globals, NAME, status_of};

/// A CI runner that does its work with the docker command line.
#[derive(Parser)]
#[command(
    name = NAME,
    version,
    arg_required_else_help = true,
    subcommand_required = true,
    disable_help_subcommand = true,
    after_help = manual::list()
)]
struct Arguments {
    /// The configuration; default: /etc/alloy-runner/config.toml for root, else ~/.alloy-runner/config.toml
    #[arg(long, env = "CONFIG_FILE", global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How much the runner logs: error, warn, info, debug or trace; default: `log_level` of the configuration, else
    /// info
    #[arg(long, env = "LOG_LEVEL", global = true, value_name = "LEVEL")]
    log_level: Option<LevelFilter>,
    /// Print every docker command to stderr before it runs, as a line for a shell
    #[arg(short = 'x', long, global = true)]
    print_commands: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Exec(Box<exec::Exec>),
    RunSingle(Box<run_single::RunSingle>),
    Run(run::Run),
    Register(Box<register::Register>),
    Unregister(Box<known_runners::Unregister>),
    Verify(known_runners::Verify),
    List(known_runners::List),
    Prune(prune::Prune),
    HelperImage(helper_image::HelperImage),
    Completions(completions::Completions),
    Help(help::Help),
    #[command(hide = true)]
    HealthCheck(health_check::HealthCheck),
    /// Wait for the end of standard input, then become a command, in the build container
    #[command(hide = true)]
    Hold {
        /// The command
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Write caches, in the helper container
    #[command(hide = true)]
    CacheArchiver,
    /// Restore caches, in the helper container
    #[command(hide = true)]
    CacheExtractor,
    /// Upload artifacts, in the helper container
    #[command(hide = true)]
    ArtifactsUploader,
    /// Download artifacts, in the helper container
    #[command(hide = true)]
    ArtifactsDownloader,
}

/// Runs the command of the command line, and returns the exit status of the process.
#[must_use]
pub fn main() -> ExitCode {
    completions::answer(Arguments::command);
    let Arguments {
        config,
        log_level,
        print_commands,
        command,
    } = Arguments::from_arg_matches(&help::matches(Arguments::command()))
        .unwrap_or_else(|error| error.exit());
    let globals = Globals {
        config,
        given: GlobalOptions {
            print_commands,
            log_level,
        },
    };
    globals.start_logging(match &command {
        Command::Run(run) => run.log_format,
        Command::RunSingle(run) => run.log_format,
        _ => None,
    });
    let result = match command {
        Command::Exec(exec) => exec.run(&globals),
        Command::RunSingle(run) => run.run(&globals),
        Command::Run(_) => run::Run::run(&globals),
        Command::Register(register) => register.run(&globals),
        Command::Unregister(unregister) => unregister.run(&globals),
        Command::Verify(verify) => verify.run(&globals),
        Command::List(_) => known_runners::List::run(&globals),
        Command::Prune(prune) => prune.run(&globals),
        Command::HelperImage(image) => image.run(&globals),
        Command::Completions(completions) => completions.run(),
        Command::Help(help) => help.run(Arguments::command()),
        Command::HealthCheck(check) => Ok(check.run()),
        Command::Hold { command } => Ok(hold::until_input(&command)),
        Command::CacheArchiver => archives::archive_caches(),
        Command::CacheExtractor => archives::restore_caches(),
        Command::ArtifactsUploader => archives::upload_artifacts(),
        Command::ArtifactsDownloader => archives::download_artifacts(),
    };
    ExitCode::from(status_of(result))
}

#[cfg(test)]
mod tests {
    use super::Arguments;
    use super::help::with_docker_apart;
    use clap::CommandFactory as _;

    #[test]
    fn flags_do_not_get_into_each_others_way() {
        with_docker_apart(Arguments::command()).debug_assert();
    }

    #[test]
    fn flags_are_words_with_dashes() {
        fn check(command: &clap::Command) {
            for long in command.get_arguments().filter_map(clap::Arg::get_long) {
                assert!(!long.contains('_'), "{}: --{long}", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Arguments::command());
    }
}
