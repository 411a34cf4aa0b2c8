//! The HTTP client: which certificates it trusts and shows, its proxies and its time limits.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ureq::tls::{Certificate, ClientCert, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Proxy};

use crate::outcome::InputError;

/// The time limit for establishing a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// The settings of TLS connections.
#[derive(Clone, Debug, Default)]
pub struct Tls<'a> {
    /// A PEM file with certificate authorities to trust in addition to the system's.
    pub authorities: Option<&'a Path>,
    /// A PEM file with the client certificate and the intermediate ones.
    pub certificate: Option<&'a Path>,
    /// A PEM file with the key of the client certificate.
    pub key: Option<&'a Path>,
}

/// The address of a server, perhaps with a path, without slashes at its end. `None` if it is no such address, or also
/// has a login, a query or a fragment.
#[must_use]
pub fn base_url(url: &str) -> Option<&str> {
    let base = url.trim().trim_end_matches('/');
    let rest = base
        .strip_prefix("https://")
        .or_else(|| base.strip_prefix("http://"))?;
    (!rest.is_empty() && !rest.contains(['@', '?', '#', ' '])).then_some(base)
}

/// Whether requests to this address are sent unencrypted over a network: plain HTTP to another host.
#[must_use]
pub fn is_in_the_clear(url: &str) -> bool {
    let url = url.trim().to_ascii_lowercase();
    let Some(rest) = url.strip_prefix("http://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let authority = authority.rsplit('@').next().unwrap_or(authority);
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.split(':').next().unwrap_or(authority),
    };
    let host = host.trim_end_matches('.');
    if host == "localhost" || host.ends_with(".localhost") {
        return false;
    }
    match host.parse::<IpAddr>() {
        // A socket can be bound to an address of this host only.
        Ok(address) => !address.is_loopback() && UdpSocket::bind((address, 0)).is_err(),
        Err(_) => true,
    }
}

/// Makes a client. It follows no redirects, treats no status as an error, and uses the proxies that the environment
/// names (`HTTPS_PROXY`, `NO_PROXY` and so on).
///
/// # Errors
/// [`InputError`] that names the file, if one cannot be read or does not contain what it should.
pub fn agent(tls: &Tls, user_agent: &str) -> Result<Agent, InputError> {
    agent_by(tls, user_agent, Proxy::try_from_env())
}

/// The same as [`agent`], with this proxy.
///
/// # Errors
/// As [`agent`].
pub fn agent_by(tls: &Tls, user_agent: &str, proxy: Option<Proxy>) -> Result<Agent, InputError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(authorities(tls)?)))
        .client_cert(client_certificate(tls)?)
        .unversioned_rustls_crypto_provider(provider)
        .build();
    let config = Agent::config_builder()
        .tls_config(config)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(CONNECT))
        .proxy(proxy)
        .user_agent(user_agent)
        .build();
    Ok(config.new_agent())
}

/// The proxy that variables name, as [`agent`] would find it in the environment.
#[must_use]
pub fn proxy(variables: &[(String, String)]) -> Option<Proxy> {
    let value = |name: &str| {
        let either = |(other, _): &&(String, String)| other.eq_ignore_ascii_case(name);
        variables
            .iter()
            .find(either)
            .map(|(_, value)| value.as_str())
    };
    let names = ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY"];
    let given = names
        .iter()
        .find_map(|name| Proxy::new(value(name)?).ok())?;
    let mut proxy = Proxy::builder(given.protocol())
        .host(given.host())
        .port(given.port());
    if let Some(user) = given.username() {
        proxy = proxy.username(user);
    }
    if let Some(password) = given.password() {
        proxy = proxy.password(password);
    }
    for host in value("NO_PROXY")
        .into_iter()
        .flat_map(|hosts| hosts.split(','))
    {
        proxy = proxy.no_proxy(host.trim());
    }
    proxy.build().ok()
}

/// The certificate authorities to trust: the system's (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others) and those of
/// `tls`.
fn authorities(tls: &Tls) -> Result<Vec<Certificate<'static>>, InputError> {
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        log::debug!("some of the system's certificate authorities cannot be read: {error}");
    }
    let mut all: Vec<_> = system
        .certs
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect();
    if let Some(file) = tls.authorities {
        let more = certificates(file)?;
        all.extend(more);
    }
    Ok(all)
}

fn client_certificate(tls: &Tls) -> Result<Option<ClientCert>, InputError> {
    let (certificate, key) = match (tls.certificate, tls.key) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        _ => {
            return Err(InputError::new(
                "tls-cert-file and tls-key-file belong together, and one of them is missing",
            ));
        }
    };
    let chain = certificates(certificate)?;
    let key = items(key)?
        .into_iter()
        .find_map(|item| match item {
            PemItem::PrivateKey(key) => Some(key),
            _ => None,
        })
        .ok_or_else(|| InputError::new(format!("{} holds no key in PEM", key.display())))?;
    Ok(Some(ClientCert::new_with_certs(&chain, key)))
}

fn certificates(file: &Path) -> Result<Vec<Certificate<'static>>, InputError> {
    let found: Vec<_> = items(file)?
        .into_iter()
        .filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        return Err(InputError::new(format!(
            "{} holds no certificate in PEM",
            file.display()
        )));
    }
    Ok(found)
}

fn items(file: &Path) -> Result<Vec<PemItem<'static>>, InputError> {
    let text = fs::read(file)
        .map_err(|error| InputError::new(format!("cannot read {}: {error}", file.display())))?;
    parse_pem(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| InputError::new(format!("cannot read {}: {error}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::is_in_the_clear;

    #[test]
    fn plain_http_to_another_host_is_in_the_clear() {
        for url in [
            "http://ci.example.org/",
            "HTTP://ci.example.org:8080/ci",
            "http://192.0.2.7",
            "http://[2001:db8::1]:80/",
            "http://localhost.example.org",
            "http://user@ci.example.org",
        ] {
            assert!(is_in_the_clear(url), "{url}");
        }
        for url in [
            "https://ci.example.org",
            "http://localhost:3000",
            "http://ci.localhost/",
            "http://127.0.0.1:80/ci",
            "http://127.8.9.1",
            "http://[::1]:3000/",
            "",
        ] {
            assert!(!is_in_the_clear(url), "{url}");
        }
    }
}
