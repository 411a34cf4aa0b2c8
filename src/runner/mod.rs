//! Gets jobs and sees them through.

pub mod host;
pub mod local;
pub mod prune;
pub mod signals;
pub mod worker;
