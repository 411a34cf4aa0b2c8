//! The coordinator's runner API: what is said to it and what it answers.
//!
//! [`client`] is the only one that speaks HTTP to it, [`error`] says what an answer means for the caller,
//! [`wire`] is what is said and answered, `final_update` the body
//! that reports a job's end.

pub mod client;
pub mod error;
mod final_update;
pub mod wire;

pub use client::{Client, Observer};
pub use error::{Answer, ApiError};
pub use wire::{Features, FinalUpdate, Info, JobResponse, Patched, Registration};
