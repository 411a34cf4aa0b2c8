//! `alloy-runner helper-image`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use super::{Globals, say};
use crate::cancel::Cancel;
use crate::config::DockerConfig;
use crate::docker::Docker;
use crate::executor::build_helper_image;
use crate::plan::helper_image::DEFAULT_BASE;
use crate::state::{self, State};
use crate::worker::signals::stop_on_signals;
use crate::worker::{host, recovery};

/// The image that fetches sources: git, git-lfs, certificates and this executable
#[derive(Args)]
#[command(after_help = "Examples:
  alloy-runner helper-image build --base debian:12
  docker save \"$(alloy-runner helper-image name)\" | ssh build-host docker load")]
pub(super) struct HelperImage {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build it now, instead of when the first job needs it
    Build {
        /// An image with apk or apt-get to build on
        #[arg(long, value_name = "IMAGE", default_value = DEFAULT_BASE)]
        base: String,
        /// A PEM file with certificate authorities that downloads have to know
        #[arg(long, env = "CI_SERVER_TLS_CA_FILE", value_name = "FILE")]
        tls_ca_file: Option<PathBuf>,
        #[command(flatten)]
        docker: Box<DockerConfig>,
    },
    /// Print its name
    Name,
}

impl HelperImage {
    pub fn run(self, globals: &Globals) -> Result<u8> {
        match self.command {
            Command::Name => say(host::helper_image(DEFAULT_BASE, &[], "")?.name)?,
            Command::Build {
                base,
                tls_ca_file,
                docker,
            } => {
                crate::docker::Reference::parse(&base).map_err(crate::outcome::InputError::new)?;
                let certificates = host::certificates(tls_ca_file.as_deref())?;
                let mut image = host::helper_image(&base, &host::proxies(), &certificates)?;
                let engine = docker.host.clone().unwrap_or_default();
                let docker = Docker::new(docker.engine(), globals.given.print_commands);
                let cancel = Cancel::new();
                let signals =
                    stop_on_signals(cancel.clone()).context("cannot watch for signals")?;
                let state = State::open(state::directory()?)?;
                recovery::remove(&state, &docker, &engine);
                let process = state.register(&engine, &image.name)?;
                image.process.clone_from(&process.label);
                image.seal = state.seal.clone();
                image.by_hand = true;
                let docker = docker.with_files_in(&process.files);
                let _lock = state.exclusive("helper-image", &cancel)?;
                let built =
                    build_helper_image(&docker, &image, &cancel, &|line| log::error!("{line}"));
                if let Some(status) = signals.status() {
                    return Ok(status);
                }
                built?;
                say(image.name)?;
            }
        }
        Ok(0)
    }
}
