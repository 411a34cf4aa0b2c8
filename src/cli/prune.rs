//! `alloy-runner prune`.

use anyhow::Result;
use clap::Args;

use super::globals::{Globals, SYSTEM_FAILURE, say};
use crate::config::DockerConfig;
use crate::worker::prune::{Pruned, prune};
use crate::worker::recovery::Wanted;

/// Remove what killed runners left on the engine, and helper images of builds of the runner that are gone
#[derive(Args)]
#[command(after_help = "Examples:
  alloy-runner prune               what killed runners of this host left
  alloy-runner prune --caches      and all caches and kept directories
  alloy-runner prune --runner ci   on all engines of a runner")]
pub(super) struct Prune {
    /// Remove caches and kept directories too
    #[arg(long)]
    caches: bool,
    /// Include runners of other hosts and state directories, running or not
    #[arg(long)]
    foreign: bool,
    /// A runner of the configuration (--config) whose engines these are
    #[arg(long, value_name = "NAME")]
    runner: Option<String>,
    #[command(flatten)]
    docker: Box<DockerConfig>,
}

impl Prune {
    pub fn run(self, globals: &Globals) -> Result<u8> {
        let wanted = Wanted {
            caches: self.caches,
            foreign: self.foreign,
        };
        let config = match &self.runner {
            Some(name) => {
                let config = globals.configuration()?;
                config.runner(name)?.docker.overlaid_by(&self.docker)?
            }
            None => *self.docker,
        };
        let pruned = prune(&globals.recovery()?, &config, wanted)?;
        let several = pruned.len() > 1;
        let mut status = 0;
        for Pruned { engine, removed } in pruned {
            match removed {
                Ok(removed) if several => removed
                    .iter()
                    .try_for_each(|removed| say(format_args!("{removed} on {engine}")))?,
                Ok(removed) => removed.iter().try_for_each(say)?,
                Err(error) if several => {
                    log::error!("{engine}: {error:#}");
                    status = SYSTEM_FAILURE;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(status)
    }
}
