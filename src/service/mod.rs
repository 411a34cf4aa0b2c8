//! Serves coordinators: asks for jobs and sees each through, up to what the coordinator hears of it.

pub mod client;
pub mod config_file;
mod event;
pub mod job_log;
pub mod metrics;
mod pace;
pub mod page;
pub mod record;
pub mod registration;
pub mod renewal;
mod request;
mod roster;
pub mod scheduler;
pub mod serving;
pub mod upload;
