//! The commands that run inside the helper container.
//!
//! A [`task`] tells [`caches`] or [`artifacts`] what to do; they use [`archive`] and [`transfer`]. Messages go to
//! stderr, which is part of the job's log: stdout may be an archive.

pub mod archive;
pub mod artifacts;
pub mod caches;
pub mod health_check;
pub mod hold;
mod multipart;
mod progress;
pub mod task;
pub mod transfer;
