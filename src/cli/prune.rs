//! `alloy-runner prune`.

use anyhow::Result;
use clap::Args;

use super::globals::{Globals, say};
use crate::config::DockerConfig;
use crate::service::record;
use crate::state::{self, State};
use crate::worker::prune::prune;
use crate::worker::recovery::Wanted;

/// Remove what killed runners left on the engine, and helper images of builds of the runner that are gone
#[derive(Args)]
#[command(after_help = "Examples:
  alloy-runner prune             what killed runners of this host left
  alloy-runner prune --caches    and all caches and kept directories")]
pub(super) struct Prune {
    /// Remove caches and kept directories too
    #[arg(long)]
    caches: bool,
    /// Include runners of other hosts and state directories, running or not
    #[arg(long)]
    foreign: bool,
    #[command(flatten)]
    docker: Box<DockerConfig>,
}

impl Prune {
    pub fn run(self, globals: &Globals) -> Result<u8> {
        let state = State::open(state::directory()?)?;
        let wanted = Wanted {
            caches: self.caches,
            foreign: self.foreign,
        };
        let print_commands = globals.given.print_commands;
        let removed = prune(state, &self.docker, wanted, print_commands, record::report)?;
        for removed in removed {
            say(removed)?;
        }
        Ok(0)
    }
}
