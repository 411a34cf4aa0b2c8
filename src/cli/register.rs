//! `alloy-runner register`.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use super::Globals;
use super::runner_flags::{RunnerFlags, read_token};
use crate::config::RunnerConfig;
use crate::coordinator::Registration;
use crate::outcome::InputError;
use crate::runner::host::hostname;
use crate::runner::registration::register;

/// Make a runner known to a coordinator, and append it to the configuration
#[derive(Args)]
#[command(after_help = "Examples:
  alloy-runner register                       asks for what it has to know
  REGISTRATION_TOKEN=… alloy-runner register --non-interactive --url https://alloy-ci.example.org \\
    --name docker-1 --tag-list docker,linux --docker-image ruby:2.1
  alloy-runner register --non-interactive --url https://gitlab.example.org --token-file glrt-token")]
pub(super) struct Register {
    /// What allows registering; everybody on the host sees it here: use the environment, or
    /// --registration-token-file
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
    /// Jobs with these tags, separated by commas
    #[arg(long, env = "RUNNER_TAG_LIST", value_name = "TAGS")]
    tag_list: Option<String>,
    /// Take jobs without tags too
    #[arg(long, env = "REGISTER_RUN_UNTAGGED", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    run_untagged: Option<bool>,
    /// Stay with the project
    #[arg(long, env = "REGISTER_LOCKED", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    locked: Option<bool>,
    /// Do not ask, also on a terminal
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
        let untagged = self.tag_list.is_none();
        // One that has its token already is known, and only written down.
        let known = self.flags.token()?.is_some();
        let given = match &self.registration_token_file {
            Some(file) => Some(read_token(file)?),
            None => self.registration_token.clone(),
        };
        let named = self.flags.name.is_some();
        let mut config: RunnerConfig = self.flags.new_runner()?;
        let url = Some(config.url).filter(|url| !url.is_empty());
        config.url = ask.for_("The coordinator's address", url, None, "--url")?;
        let mut registration = Registration {
            run_untagged: self.run_untagged.unwrap_or(untagged),
            locked: self.locked.unwrap_or_default(),
            ..Registration::default()
        };
        if !known {
            registration.token = ask.for_(
                "The registration token",
                given,
                None,
                "REGISTRATION_TOKEN in the environment",
            )?;
        }
        let name = named.then(|| config.name.clone());
        config.name = ask.for_("A name for the runner", name, Some(&hostname()), "--name")?;
        if !known {
            let tags = ask.for_(
                "Its tags, separated by commas",
                self.tag_list,
                Some(""),
                "--tag-list",
            )?;
            // AlloyCI takes spaces for a part of a tag.
            let tags = tags.split(',').map(str::trim).filter(|tag| !tag.is_empty());
            registration.tags = tags.collect::<Vec<_>>().join(",");
        }
        let image = ask.for_(
            "The image of jobs that name none",
            config.docker.image.take(),
            Some(if ask.terminal { "alpine:latest" } else { "" }),
            "--docker-image",
        )?;
        config.docker.image = Some(image).filter(|image| !image.is_empty());
        registration.description.clone_from(&config.name);
        let file = globals.config_file()?;
        register(&file, config, (!known).then_some(registration))?;
        println!("written to {}", file.display());
        Ok(0)
    }
}

/// Asks somebody at a terminal, if there is one.
struct Ask {
    terminal: bool,
}

impl Ask {
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
            // In one write, so that no answer that is typed ahead shows in the middle of it.
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
