//! What a plan has to know of the host that it will run on.

use super::helper_image::HelperImage;
use crate::script::ScriptMarkers;
use crate::seal::Seal;
use crate::secret::Secret;

/// What a plan has to know of the host that it will run on.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// This program, `0.1.0`.
    pub version: String,
    /// The commit it was built from, short.
    pub revision: String,
    /// The host's name.
    pub hostname: String,
    /// The engine, as the configuration writes it, where there are several.
    pub engine: Option<String>,
    /// [`crate::state::Process::label`]; empty where no process holds such a lock.
    pub process: String,
    /// What labels are sealed with.
    pub seal: Seal,
    /// `HTTP_PROXY` and its family, as the runner has them.
    pub proxies: Vec<(String, String)>,
    /// PEM certificates that git has to know.
    pub certificates: String,
    /// The helper image of this executable.
    pub helper_image: HelperImage,
    /// Whether the engine may see this host's files.
    pub shares_files: bool,
    /// Whether the log may have colours.
    pub colour: bool,
    /// What scripts say of themselves: nothing to people, their failure where a user at a terminal wants a shell
    /// then.
    pub markers: ScriptMarkers,
    /// When the plan is made, in seconds since 1970.
    pub now: i64,
    /// The keys that the cloud gives this host, or why there are none. `None`: it was not asked.
    pub cloud_keys: Option<Result<CloudKeys, String>>,
}

/// Temporary keys for a bucket.
#[derive(Clone, Debug)]
pub struct CloudKeys {
    /// The id of the access key.
    pub id: String,
    /// The access key itself.
    pub key: Secret,
    /// What comes with them.
    pub session: Option<Secret>,
}
