//! What plans have to know of this host.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::config::RunnerConfig;
use crate::docker::Engine;
use crate::outcome::InputError;
use crate::plan::helper_image::{DEFAULT_BASE, HelperImage};
use crate::plan::{Host, ScriptMarkers};
use crate::seal::Seal;

/// This program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit it was built from, 8 digits.
pub const REVISION: &str = env!("ALLOY_RUNNER_REVISION");

/// Looks around, as a process that has no label.
///
/// # Errors
/// If the executable cannot be read, or the certificates of the configuration.
pub fn describe(config: &RunnerConfig, engine: &Engine, colour: bool) -> Result<Host> {
    let certificates = certificates(config.tls_ca_file.as_deref())?;
    let proxies = proxies();
    Ok(Host {
        version: VERSION.to_owned(),
        revision: REVISION.to_owned(),
        hostname: hostname(),
        engine: None,
        process: String::new(),
        seal: Seal::default(),
        helper_image: helper_image(DEFAULT_BASE, &proxies, &certificates)?,
        proxies,
        certificates,
        shares_files: engine.may_share_files(),
        colour,
        markers: ScriptMarkers::None,
        now: now(),
        cloud_keys: None,
    })
}

/// The helper image of this executable, on a base.
///
/// # Errors
/// If the executable cannot be read.
pub fn helper_image(
    base: &str,
    proxies: &[(String, String)],
    certificates: &str,
) -> Result<HelperImage> {
    let executable = env::current_exe().context("cannot find out where this executable is")?;
    let digest = digest(Path::new("/proc/self/exe")).context("cannot read this executable")?;
    Ok(HelperImage {
        name: format!("alloy-runner-helper:{VERSION}-{}", &digest[..12]),
        executable: executable.display().to_string(),
        base: base.to_owned(),
        proxies: proxies.iter().map(|(name, _)| name.clone()).collect(),
        certificates: certificates.to_owned(),
        version: VERSION.to_owned(),
        process: String::new(),
        seal: Seal::default(),
        by_hand: false,
        noted_in: PathBuf::new(),
    })
}

fn digest(file: &Path) -> io::Result<String> {
    let mut file = File::open(file)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// The proxy variables of the runner's environment, in both spellings as they are set.
#[must_use]
pub fn proxies() -> Vec<(String, String)> {
    [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "FTP_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
    ]
    .iter()
    .flat_map(|name| [(*name).to_owned(), name.to_lowercase()])
    .filter_map(|name| {
        env::var(&name)
            .ok()
            .filter(|value| !value.is_empty())
            .map(|value| (name, value))
    })
    .collect()
}

/// The text of a PEM file.
///
/// # Errors
/// [`InputError`] if it cannot be read or holds no certificate.
pub fn certificates(file: Option<&Path>) -> Result<String, InputError> {
    let Some(file) = file else {
        return Ok(String::new());
    };
    let text = fs::read_to_string(file).map_err(|error| {
        InputError::new(format!(
            "tls-ca-file: cannot read {}: {error}",
            file.display()
        ))
    })?;
    if text.contains("-----BEGIN CERTIFICATE-----") {
        Ok(text)
    } else {
        Err(InputError::new(format!(
            "tls-ca-file: {} holds no certificate in PEM",
            file.display()
        )))
    }
}

/// The time, in seconds since 1970.
#[must_use]
pub fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}

/// The host's name.
#[must_use]
pub fn hostname() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}
