//! What runs inside the helper container.
//!
//! [`task`] says what is to be done, [`caches`] and [`artifacts`] do it, by [`archive`] and [`transfer`]. What they
//! say goes to stderr, where the log is: stdout may be the way out of an archive.

pub mod archive;
pub mod artifacts;
pub mod caches;
pub mod health_check;
pub mod hold;
mod multipart;
mod progress;
pub mod task;
pub mod transfer;
