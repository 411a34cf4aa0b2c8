//! A CI runner that does its work with the docker command line. `src/README.md` has a map of the code.

pub mod cancel;
pub mod cli;
pub mod config;
pub mod coordinator;
pub mod docker;
pub mod executor;
pub mod glob;
pub mod helper;
pub mod http;
pub mod job;
pub mod keypath;
pub mod local;
pub mod logging;
pub mod manual;
pub mod nearest;
pub mod outcome;
pub mod partial;
pub mod plan;
pub mod printer;
pub mod script;
pub mod seal;
pub mod secret;
pub mod service;
pub mod state;
pub mod trace;
pub mod worker;
