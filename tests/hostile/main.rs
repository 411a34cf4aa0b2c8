//! What others wrote, meant badly or broken on the way: jobs against the host, and payloads, files, archives and
//! answers that are not what they should be.
//!
//! `HOSTILE_TIMES=50 scripts/test --test hostile` tries fifty times as many, `scripts/soak hostile --minutes 60` others for
//! an hour. What fails says its seed, and with `HOSTILE_SEED` it fails again; in `seeds` it is tried in every run. What was
//! found is a test by its own name too, here or beside the code.

mod answers;
mod archives;
mod checkouts;
mod commands;
mod containers;
mod docker_answers;
mod docker_line;
mod files;
mod memory;
mod numbers;
mod payloads;
mod recorded;
mod scripts;
mod settings;
#[path = "../support/mod.rs"]
mod support;
mod tries;
mod words;
