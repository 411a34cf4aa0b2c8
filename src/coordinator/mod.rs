//! The coordinator's runner API: what is said to it and what it answers.
//!
//! [`client`] is the only one that speaks HTTP to it: it sends requests, and requests jobs. `jobs` keeps it informed about
//! a job, `runners` makes runners known. [`error`] says what an answer means for the caller, [`wire`] is what is said and
//! answered, `features` what this runner can do, `final_update` the body that reports a job's end with its log.

pub mod client;
pub mod error;
mod features;
mod final_update;
mod jobs;
mod runners;
pub mod wire;

pub use client::{Client, Observer};
pub use error::{Answer, ApiError};
pub use features::Features;
pub use wire::{End, Info, InfoConfig, JobResponse, Patched, Registration, Token, Wish};
