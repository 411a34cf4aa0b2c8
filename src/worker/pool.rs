//! A pool of engines: which of them runs a runner's next job.
//!
//! A job takes a [`Lease`] on an engine before its coordinator is asked for it, and gives it back when it has ended. How
//! many jobs an engine runs at once counts over all processes of the host. A runner with one engine has a pool of one
//! member, which takes any number of jobs and is not looked at.
//!
//! `engines` are the members, `taking` says which comes next, `member` is an engine with its worker, `health` what is
//! known of how it answers, `looks` asks it, `lease` is what a job has.

mod engines;
mod health;
mod lease;
mod looks;
mod member;
mod taking;

pub use engines::{Event, Observe, Pool};
pub use lease::Lease;
