//! The docker command line: what is said to it, and how.
//!
//! [`command`] types what can be said, `line` prints it, [`client_names`] knows which variables no job may set for it.
//! [`client`] is the only one that starts docker; `captured` reads its answers, [`session`] what it says meanwhile,
//! `terminal` lets a user type, `liveness` knows engines that hang, `transfer` brings images from one engine to another,
//! and [`clients`] finds those that a dead runner left.
//! [`error`] reads what comes back when it fails. [`reference`] knows how images are named, [`auth`], `host_config` and
//! [`login`] who may read them; [`word`] and [`mount`] make the arguments. Nothing in here knows what a job is.

pub mod auth;
mod captured;
pub mod client;
pub mod client_names;
pub mod clients;
pub mod command;
pub mod engine;
pub mod error;
mod host_config;
mod line;
mod liveness;
pub mod login;
pub mod mount;
pub mod reference;
mod rights;
pub mod session;
mod stream;
mod terminal;
mod transfer;
pub mod word;

pub use client::Docker;
pub use command::DockerCommand;
pub use engine::Engine;
pub use error::DockerError;
pub use line::Words;
pub use reference::Reference;
pub use word::{Bindings, Slot, Word};
