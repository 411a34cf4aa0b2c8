//! The coordinator's runner API: what is said to it and what it answers.
//!
//! [`client`] is the only one that speaks HTTP to it, [`error`] says what an answer means for whoever asked,
//! [`wire`] is what is said and answered, [`backoff`] how long to wait before the next try, [`last_word`] is the body of a job's end.

pub mod backoff;
pub mod client;
pub mod error;
mod last_word;
pub mod wire;

pub use backoff::Backoff;
pub use client::{Client, Observer};
pub use error::{Answer, ApiError};
pub use wire::{Asked, Ended, Features, Info, Patched, Registration};
