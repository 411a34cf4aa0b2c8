//! `alloy-runner prune`.

use anyhow::Result;
use clap::Args;

use super::{Globals, say};
use crate::config::DockerConfig;
use crate::worker::prune::{Wanted, prune};

/// Remove what runners that no longer run have left on the engine, and helper images of builds that are gone
#[derive(Args)]
#[command(after_help = "Examples:
  alloy-runner prune             what runners of this host left that were killed
  alloy-runner prune --caches    and the caches of all their jobs")]
pub(super) struct Prune {
    /// The cache volumes too
    #[arg(long)]
    caches: bool,
    /// What runners of other hosts and shells left or use too, living or not
    #[arg(long)]
    foreign: bool,
    #[command(flatten)]
    docker: Box<DockerConfig>,
}

impl Prune {
    pub fn run(self, globals: &Globals) -> Result<u8> {
        for removed in prune(
            &self.docker,
            Wanted {
                caches: self.caches,
                foreign: self.foreign,
            },
            globals.given.print_commands,
        )? {
            say(removed)?;
        }
        Ok(0)
    }
}
