//! The client of a runner's coordinator, made from the runner's settings.

use crate::config::RunnerConfig;
use crate::coordinator::{Client, Features, Info, InfoConfig, Observer};
use crate::http::{Tls, is_in_the_clear};
use crate::outcome::{InputError, on_one_line};
use crate::plan::helper_image::architecture;
use crate::state::system_id;
use crate::worker::host::{REVISION, VERSION};

/// A client of a runner's coordinator, which tells `observer` of its requests.
///
/// # Errors
/// [`InputError`] for an address that is none, or files that cannot be read.
pub fn client(config: &RunnerConfig, observer: Observer) -> Result<Client, InputError> {
    let tls = Tls {
        authorities: config.tls_ca_file.as_deref(),
        certificate: config.tls_cert_file.as_deref(),
        key: config.tls_key_file.as_deref(),
    };
    let info = Info {
        name: "alloy-runner",
        version: VERSION,
        revision: REVISION,
        platform: std::env::consts::OS,
        architecture: architecture(),
        executor: "docker",
        shell: config.shell.clone().unwrap_or_else(|| "bash".to_owned()),
        features: Features,
        config: InfoConfig {
            gpus: config.docker.gpus.clone().unwrap_or_default(),
        },
    };
    Client::new(&config.url, &tls, (info, system_id()), observer)
}

/// What an operator hears of a coordinator that is talked to without TLS.
#[must_use]
pub fn warning_of_plain_http(url: &str) -> Option<String> {
    is_in_the_clear(url).then(|| {
        format!(
            "the coordinator {} is talked to without TLS: who sits between reads the runner's token and the jobs' secrets; \
             give it an https address",
            on_one_line(url)
        )
    })
}
