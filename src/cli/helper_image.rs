//! `alloy-runner helper-image`.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::globals::{Globals, say};
use crate::config::DockerConfig;
use crate::docker::Reference;
use crate::outcome::InputError;
use crate::plan::helper_image::DEFAULT_BASE;
use crate::worker::helper_image::{Built, build};
use crate::worker::host;

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
        /// The base image, which needs apk or apt-get
        #[arg(long, value_name = "IMAGE", default_value = DEFAULT_BASE)]
        base: String,
        /// A PEM file with certificate authorities that downloads trust too
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
                Reference::parse(&base).map_err(InputError::new)?;
                let certificates = host::certificates(tls_ca_file.as_deref())?;
                match build(&globals.recovery()?, &docker, &base, &certificates)? {
                    Built::Image(name) => say(name)?,
                    Built::Interrupted(status) => return Ok(status),
                }
            }
        }
        Ok(0)
    }
}
