//! Gets jobs and sees them through.

pub mod config_file;
mod duration;
pub mod host;
pub mod job_log;
pub mod local;
pub mod metrics;
mod pace;
pub mod page;
pub mod prune;
mod record;
pub mod registration;
pub mod remains;
mod roster;
pub mod scheduler;
pub mod serving;
pub mod signals;
pub mod upload;
pub mod worker;
