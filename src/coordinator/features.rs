//! What this runner tells coordinators that it can do.

use serde::{Serialize, Serializer};

/// Every feature that GitLab knows, and whether this runner has it. GitLab fails a job that needs one that is not
/// announced, and relies on those that are: announce exactly what works. `AlloyCI` reads none of them.
const FEATURES: &[(&str, bool)] = &[
    ("variables", true),
    ("raw_variables", true),
    ("masking", true),
    ("image", true),
    ("services", true),
    ("service_multiple_aliases", true),
    ("artifacts", true),
    ("cache", true),
    ("cancelable", true),
    // The wire.
    ("cancel_gracefully", true),
    ("return_exit_code", true),
    ("trace_checksum", true),
    ("trace_reset", true),
    ("trace_size", true),
    ("two_phase_job_commit", true),
    // Sources and variables.
    ("refspecs", true),
    ("service_variables", true),
    ("image_executor_opts", true),
    ("service_executor_opts", true),
    // The payload.
    ("artifacts_exclude", true),
    ("fallback_cache_keys", true),
    ("job_inputs", true),
    ("multi_build_steps", true),
    ("upload_multiple_artifacts", true),
    ("upload_raw_artifacts", true),
    // Not built, see `help gitlab`.
    ("native_steps_integration", false),
    ("proxy", false),
    ("session", false),
    ("shared", false),
    ("terminal", false),
    ("vault_secrets", false),
];

/// What a runner can do: a list that is the same for all.
#[derive(Clone, Copy, Debug)]
pub struct Features;

impl Serialize for Features {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_map(FEATURES.iter().copied())
    }
}
