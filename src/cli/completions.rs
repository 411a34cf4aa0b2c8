//! `alloy-runner completions`, and what a shell then asks for while a line is typed.
//!
//! The scripts that are printed call this executable again, so they know what there is at that moment: the jobs
//! of the job file too.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Command, ValueEnum};
use clap_complete::env::{Bash, CompleteEnv, Elvish, EnvCompleter, Fish, Zsh};
use clap_complete::{ArgValueCompleter, CompletionCandidate};

use super::globals::NAME;
use crate::local::{List, Local, show};
use crate::manual::TOPICS;

/// Set by the scripts, to the shell's name.
const VARIABLE: &str = "ALLOY_RUNNER_COMPLETE";

/// Print a script that lets a shell complete commands, options and the names of jobs
#[derive(Args)]
#[command(after_help = "Examples, for a shell's start-up file:
  source <(alloy-runner completions bash)       ~/.bashrc
  source <(alloy-runner completions zsh)        ~/.zshrc, below compinit
  alloy-runner completions fish | source        ~/.config/fish/config.fish")]
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
                b"# Names of jobs have colons in them, at which bash would tear them.\n\
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

/// How this executable was called: by its name, or by an absolute path.
fn program() -> Result<String> {
    let called = PathBuf::from(std::env::args_os().next().unwrap_or_else(|| NAME.into()));
    let path = if called.components().count() > 1 {
        std::path::absolute(&called).context("cannot find out where this executable is")?
    } else {
        called
    };
    Ok(path.display().to_string())
}

/// Answers a shell that asks what may follow in `commands`, and ends the process then.
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

/// The word that is being typed. bash and zsh say which one it is, for the others it is the last.
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

/// The same with options that are only shown where there is nothing else: among 90 of them a job is not found.
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

/// The jobs that a word may become.
pub(super) fn jobs(word: &OsStr) -> Vec<CompletionCandidate> {
    candidates(word, |list| {
        list.names_and_stages()
            .map(|(name, stage)| (name.to_owned(), Some(format!("stage {stage}"))))
            .collect()
    })
}

/// The stages that a word may become.
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

/// The commands and the topics of the manual that a word may become.
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

/// Those of a job file's names that begin with a word. Where there is no job file that can be read, none: it is
/// no time for an error.
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
    // bash hands over words as they are typed and takes them as they are to be typed; the other shells see to
    // that themselves.
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

/// The job file that the line names.
fn job_file(words: impl Iterator<Item = OsString>) -> Option<PathBuf> {
    let mut words = words.skip_while(|word| word != "--file");
    words.nth(1).map(PathBuf::from)
}

/// What a word means that is typed with quotes or backslashes.
fn plain(word: &str) -> String {
    word.chars()
        .filter(|c| !['\\', '\'', '"'].contains(c))
        .collect()
}

/// A name with a backslash before what a shell would take for something else.
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
