//! `alloy-runner completions`, and the answers to a shell that completes a line.
//!
//! The printed scripts call this executable for each completion, so they can offer the jobs of the job file as it is at
//! that moment.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Command, ValueEnum};
use clap_complete::env::{Bash, CompleteEnv, Elvish, EnvCompleter, Fish, Zsh};
use clap_complete::{ArgValueCompleter, CompletionCandidate};

use super::globals::NAME;
use crate::local::{List, Local, show};
use crate::manual::TOPICS;

/// The environment variable with the shell's name that the printed scripts set.
const VARIABLE: &str = "ALLOY_RUNNER_COMPLETE";

/// Print a script that lets a shell complete commands, options and the names of jobs
#[derive(Args)]
#[command(after_help = "Examples:
  source <(alloy-runner completions bash)    in ~/.bashrc
  source <(alloy-runner completions zsh)     in ~/.zshrc, below compinit
  alloy-runner completions fish | source     in ~/.config/fish/config.fish")]
pub(super) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Elvish,
    Fish,
    Zsh,
}

impl Completions {
    pub fn run(&self) -> Result<u8> {
        let shell: &dyn EnvCompleter = match self.shell {
            Shell::Bash => &Bash,
            Shell::Elvish => &Elvish,
            Shell::Fish => &Fish,
            Shell::Zsh => &Zsh,
        };
        let mut script = Vec::new();
        if matches!(self.shell, Shell::Bash) {
            script.extend_from_slice(
                b"# Names of jobs may contain colons, at which bash would split them.\n\
                  COMP_WORDBREAKS=${COMP_WORDBREAKS//:/}\n",
            );
        }
        shell
            .write_registration(VARIABLE, NAME, NAME, &program()?, &mut script)
            .context("cannot write the script")?;
        show(&String::from_utf8_lossy(&script))?;
        Ok(0)
    }
}

/// How the scripts call this executable: by its name if this process was, else by its absolute path.
fn program() -> Result<String> {
    let called = PathBuf::from(std::env::args_os().next().unwrap_or_else(|| NAME.into()));
    let path = if called.components().count() > 1 {
        std::path::absolute(&called).context("cannot find out where this executable is")?
    } else {
        called
    };
    Ok(path.display().to_string())
}

/// If a shell called this process for completions of `commands`: answers it and ends the process.
pub(super) fn answer(commands: fn() -> Command) {
    CompleteEnv::with_factory(|| {
        let command = commands().mut_subcommand("help", |help| {
            let pages = ArgValueCompleter::new(move |word: &OsStr| pages(word, &commands()));
            help.mut_arg("words", |words| words.add(pages))
        });
        if is_option(&typed_word()) {
            command
        } else {
            without_options(command)
        }
    })
    .var(VARIABLE)
    .complete();
}

/// The word to complete. bash and zsh give its index, for other shells it is the last word.
fn typed_word() -> OsString {
    let index = std::env::var("_CLAP_COMPLETE_INDEX").ok();
    let index: Option<usize> = index.and_then(|index| index.parse().ok());
    let mut words = std::env::args_os().skip_while(|word| word != "--").skip(1);
    match index {
        Some(index) => words.nth(index),
        None => words.last(),
    }
    .unwrap_or_default()
}

fn is_option(word: &OsStr) -> bool {
    word.as_encoded_bytes().starts_with(b"-")
}

/// The command line without its 90 options, among which the names of jobs would be hard to find.
fn without_options(command: Command) -> Command {
    command
        .mut_args(|argument| {
            let hidden = !argument.is_positional();
            argument.hide(hidden)
        })
        .mut_subcommands(without_options)
        .disable_help_flag(true)
        .disable_version_flag(true)
}

/// The jobs whose names begin with `word`.
pub(super) fn jobs(word: &OsStr) -> Vec<CompletionCandidate> {
    candidates(word, |list| {
        list.names_and_stages()
            .map(|(name, stage)| (name.to_owned(), Some(format!("stage {stage}"))))
            .collect()
    })
}

/// The stages whose names begin with `word`.
pub(super) fn stages(word: &OsStr) -> Vec<CompletionCandidate> {
    candidates(word, |list| {
        let mut stages: Vec<(String, Option<String>)> = list
            .names_and_stages()
            .map(|(_, stage)| (stage.to_owned(), None))
            .collect();
        stages.dedup();
        stages
    })
}

/// The commands and topics of the manual whose names begin with `word`.
fn pages(word: &OsStr, commands: &Command) -> Vec<CompletionCandidate> {
    let word = word.to_string_lossy();
    let commands = commands.get_subcommands();
    let commands = commands.filter(|command| !command.is_hide_set());
    let commands = commands.map(|command| {
        let about = command.get_about().map(ToString::to_string);
        (command.get_name().to_owned(), about.unwrap_or_default())
    });
    let topics = TOPICS.iter();
    let topics = topics.map(|topic| (topic.name.to_owned(), topic.summary.to_owned()));
    topics
        .chain(commands)
        .filter(|(name, _)| name.starts_with(&*word))
        .map(|(name, help)| CompletionCandidate::new(name).help(Some(help.into())))
        .collect()
}

/// Those of the job file's `names` that begin with `word`. A job file that cannot be read has none: an error message
/// would disturb the line that is being typed.
fn candidates(
    word: &OsStr,
    names: impl Fn(&List) -> Vec<(String, Option<String>)>,
) -> Vec<CompletionCandidate> {
    let local = Local {
        file: job_file(std::env::args_os()),
        ..Local::default()
    };
    let Ok(list) = local.list() else {
        return Vec::new();
    };
    // bash passes the word with its quotes, and inserts a completion without quoting it; the other shells remove and
    // add quotes themselves.
    let is_bash = std::env::var_os("_CLAP_COMPLETE_COMP_TYPE").is_some();
    let word = word.to_string_lossy();
    let word = if is_bash {
        plain(&word)
    } else {
        word.into_owned()
    };
    let names = names(&list).into_iter();
    names
        .filter(|(name, _)| name.starts_with(&word) && !name.contains('\n'))
        .map(|(name, help)| {
            let name = if is_bash { typed(&name) } else { name };
            CompletionCandidate::new(name).help(help.map(Into::into))
        })
        .collect()
}

/// The job file that the command line names.
fn job_file(words: impl Iterator<Item = OsString>) -> Option<PathBuf> {
    let mut words = words.skip_while(|word| word != "--file");
    words.nth(1).map(PathBuf::from)
}

/// A word without its quotes and backslashes.
fn plain(word: &str) -> String {
    word.chars()
        .filter(|c| !['\\', '\'', '"'].contains(c))
        .collect()
}

/// A name with a backslash before each character that is special to a shell.
fn typed(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_ascii() && !c.is_ascii_alphanumeric() && !"_-./:=,@%+".contains(c) {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{job_file, plain, typed};
    use std::ffi::OsString;
    use std::path::PathBuf;

    #[test]
    fn words_are_typed_and_read_again() {
        for name in ["unit", "test:unit", "a job's $x (1)", "größe"] {
            assert_eq!(plain(&typed(name)), name.replace(['\'', '"'], ""));
        }
        assert_eq!(typed("a job (1)"), r"a\ job\ \(1\)");
    }

    #[test]
    fn the_line_may_name_a_job_file() {
        let words = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            words.into_iter()
        };
        assert_eq!(
            job_file(words("-- alloy-runner exec --file ci.yml u")),
            Some(PathBuf::from("ci.yml"))
        );
        assert_eq!(job_file(words("-- alloy-runner exec u")), None);
    }
}
