//! `alloy-runner register`.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};
use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::globals::{Globals, say};
use super::runner_flags::{RunnerFlags, read_token};
use crate::config::{RunnerConfig, load};
use crate::coordinator::Registration;
use crate::docker::Word;
use crate::outcome::InputError;
use crate::service::registration::{is_made_there, reach, register};
use crate::worker::host::hostname;

/// Register a runner with a coordinator, and append it to the configuration
#[derive(Args)]
#[command(after_help = "Examples:
  alloy-runner register                       ask for everything
  REGISTRATION_TOKEN=… alloy-runner register --non-interactive \\
    --url https://alloy-ci.example.org --name docker-1 \\
    --tag-list docker,linux --docker-image ruby:2.1
  alloy-runner register --non-interactive \\
    --url https://gitlab.example.org --token-file glrt-token")]
pub(super) struct Register {
    /// The registration token; all users of the host can see it here: use the environment or --registration-token-file
    #[arg(
        long,
        short = 'r',
        env = "REGISTRATION_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    registration_token: Option<String>,
    /// A file with the registration token
    #[arg(long, env = "REGISTRATION_TOKEN_FILE", value_name = "FILE")]
    registration_token_file: Option<PathBuf>,
    /// The runner's tags, separated by commas: it takes jobs with these tags
    #[arg(long, env = "RUNNER_TAG_LIST", value_name = "TAGS")]
    tag_list: Option<String>,
    /// Whether the runner takes jobs without tags too; default: if it has no tags
    #[arg(long, env = "REGISTER_RUN_UNTAGGED", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    run_untagged: Option<bool>,
    /// Whether the runner is locked to the project
    #[arg(long, env = "REGISTER_LOCKED", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    locked: Option<bool>,
    /// Do not ask for missing values, even on a terminal
    #[arg(long, short = 'n', env = "REGISTER_NON_INTERACTIVE")]
    non_interactive: bool,
    #[command(flatten)]
    flags: RunnerFlags,
}

impl Register {
    pub fn run(self, globals: &Globals) -> Result<u8> {
        let ask = Ask {
            terminal: !self.non_interactive && io::stdin().is_terminal(),
        };
        // A runner that has a token is registered already, and is only added to the configuration.
        let mut known = self.flags.token()?.is_some();
        let given = match &self.registration_token_file {
            Some(file) => Some(read_token(file)?),
            None => self.registration_token,
        };
        let file = globals.config_file()?;
        let taken = names(&file)?;
        let name = self.flags.name.clone();
        if let Some(name) = name.as_ref().filter(|name| taken.contains(name)) {
            return Err(is_taken(&file, name).into());
        }
        let mut registration = Registration {
            run_untagged: self.run_untagged.unwrap_or(self.tag_list.is_none()),
            locked: self.locked.unwrap_or_default(),
            ..Registration::default()
        };
        let mut config: RunnerConfig = self.flags.new_runner()?;
        ask.url(&mut config)?;
        if !known {
            registration.token = ask.token(given)?;
            // People take one token for the other.
            known = is_made_there(&registration.token);
            if known {
                config.token = std::mem::take(&mut registration.token);
            }
        }
        config.name = ask.name(name, &file, &taken)?;
        if !known {
            registration.tags = ask.tags(self.tag_list)?;
        }
        config.docker.image = ask.image(config.docker.image.take())?;
        registration.description.clone_from(&config.name);
        let name = config.name.clone();
        register(&file, config, (!known).then_some(registration))?;
        let option = match &globals.config {
            Some(file) => format!(" --config {}", Word::from(file.display().to_string())),
            None => String::new(),
        };
        say(format_args!(
            "The runner `{name}` is written to {}.\n\
             `alloy-runner{option} run` serves it; if it is running, it serves the new runner too.",
            file.display()
        ))?;
        Ok(0)
    }
}

/// The names of the runners of a configuration; none if there is no such file.
fn names(file: &Path) -> Result<Vec<String>, InputError> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    let runners = load(file)?.config.runners;
    Ok(runners.into_iter().map(|runner| runner.name).collect())
}

fn is_taken(file: &Path, name: &str) -> InputError {
    let file = file.display();
    InputError::new(format!(
        "{file} has a runner `{name}` already; choose another name"
    ))
}

/// A name, with a number appended if it is taken.
fn free_name(name: &str, taken: &[String]) -> String {
    let numbered = (2..).map(|number: u32| format!("{name}-{number}"));
    std::iter::once(name.to_owned())
        .chain(numbered)
        .find(|name| !taken.contains(name))
        .unwrap_or_default()
}

/// Turns off the echo of the terminal, until this is dropped or a signal ends the process.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> Result<Self> {
        let failed = "cannot keep the terminal from showing the token";
        let before = tcgetattr(io::stdin()).context(failed)?;
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context(failed)?;
        let restored = before.clone();
        thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                show_again(&restored);
                std::process::exit(128 + signal);
            }
        });
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Now, &hidden).context(failed)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        show_again(&self.0);
        // The Enter at the answer's end was not shown either.
        let _ = io::stderr().write_all(b"\n");
    }
}

fn show_again(before: &Termios) {
    // If the terminal is gone, there is no echo to turn on.
    let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
}

/// Asks for values on the terminal, if there is one.
struct Ask {
    terminal: bool,
}

impl Ask {
    /// The coordinator's address. A wrong one is reported before the other questions are asked.
    fn url(&self, config: &mut RunnerConfig) -> Result<()> {
        const WHAT: &str = "The coordinator's address";
        let given = Some(std::mem::take(&mut config.url)).filter(|url| !url.is_empty());
        let is_given = given.is_some();
        config.url = self.for_(WHAT, given, None, "--url")?;
        while self.terminal
            && let Err(error) = reach(config)
        {
            if is_given {
                return Err(error);
            }
            self.say(&format!("{error:#}"))?;
            config.url = self.for_(WHAT, None, None, "--url")?;
        }
        Ok(())
    }

    /// The registration token, which the terminal does not show while it is typed.
    fn token(&self, given: Option<String>) -> Result<String> {
        let _hidden = match given {
            None if self.terminal => Some(Hidden::begin()?),
            _ => None,
        };
        let flag = "REGISTRATION_TOKEN in the environment";
        self.for_("The registration token", given, None, flag)
    }

    /// A name that no runner of the configuration has.
    fn name(&self, given: Option<String>, file: &Path, taken: &[String]) -> Result<String> {
        const WHAT: &str = "A name for the runner";
        let default = free_name(&hostname(), taken);
        let mut name = self.for_(WHAT, given, Some(&default), "--name")?;
        while taken.contains(&name) {
            self.say(&is_taken(file, &name).to_string())?;
            name = self.for_(WHAT, None, Some(&default), "--name")?;
        }
        Ok(name)
    }

    /// Tags as the API has them, without spaces, which AlloyCI does not remove.
    fn tags(&self, given: Option<String>) -> Result<String> {
        let what = "Its tags, separated by commas";
        let tags = self.for_(what, given, Some(""), "--tag-list")?;
        let tags = tags.split(',').map(str::trim).filter(|tag| !tag.is_empty());
        Ok(tags.collect::<Vec<_>>().join(","))
    }

    /// The default image, if there is to be one.
    fn image(&self, given: Option<String>) -> Result<Option<String>> {
        let what = "The image of jobs that name none";
        let default = if self.terminal { "alpine:latest" } else { "" };
        let image = self.for_(what, given, Some(default), "--docker-image")?;
        Ok(Some(image).filter(|image| !image.is_empty()))
    }

    /// Says why a question is asked again; without a terminal it is an error.
    fn say(&self, text: &str) -> Result<()> {
        if !self.terminal {
            return Err(InputError::new(text).into());
        }
        let written = io::stderr().write_all(format!("{text}\n").as_bytes());
        written.context("cannot write to the terminal")
    }

    /// Returns the value that was `given`, else the answer to a question, else the default.
    ///
    /// # Errors
    /// [`InputError`] that names `flag`, if there is neither a terminal nor a default.
    fn for_(
        &self,
        what: &str,
        given: Option<String>,
        default: Option<&str>,
        flag: &str,
    ) -> Result<String> {
        if let Some(given) = given {
            return Ok(given);
        }
        if !self.terminal {
            let missing = || InputError::new(format!("{what} is missing: say it with {flag}"));
            return Ok(default.map(str::to_owned).ok_or_else(missing)?);
        }
        loop {
            let shown = default.filter(|default| !default.is_empty());
            let shown = shown
                .map(|default| format!(" [{default}]"))
                .unwrap_or_default();
            // One write, so that the echo of an answer typed ahead does not appear within it.
            io::stderr()
                .write_all(format!("{what}{shown}: ").as_bytes())
                .context("cannot write to the terminal")?;
            let mut line = String::new();
            let read = io::stdin().lock().read_line(&mut line);
            if read.context("cannot read from the terminal")? == 0 {
                return Err(InputError::new(format!("{what} is missing")).into());
            }
            match (line.trim(), default) {
                ("", Some(default)) => return Ok(default.to_owned()),
                ("", None) => {}
                (line, _) => return Ok(line.to_owned()),
            }
        }
    }
}
