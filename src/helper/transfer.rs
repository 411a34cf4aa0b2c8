//! The helper's HTTP requests: to the coordinator for artifacts, to a bucket for caches.

use std::fmt;
use std::io::{Read, Write};
use std::iter;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use ureq::http::{Response, Uri};
use ureq::{Agent, Body, RequestBuilder, SendBody};
use uuid::Uuid;

use super::progress::Progress;
use crate::helper::task::Proxies;
use crate::http::{self, Tls};
use crate::retry::retry;

/// The longest time without a byte.
const STALLED: Duration = Duration::from_mins(2);
/// How long a server may take to answer after it got everything: it stores the artifacts before it answers.
const ANSWER: Duration = Duration::from_mins(10);
/// How long to wait between attempts, longer each time, for a server that is overloaded.
const PAUSES: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(12),
];
/// How many redirects are followed.
pub const REDIRECTS: u32 = 5;

/// The server refuses the request; another attempt would not help.
#[derive(Debug)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// An HTTP client that uses the given proxies.
pub struct Client {
    agent: Agent,
    /// How long a request may take as a whole.
    limit: Option<Duration>,
}

impl Client {
    /// Makes a client that trusts these certificates (PEM) in addition to the system's.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn new(certificates: &str, proxies: &Proxies) -> Result<Self> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(certificates.as_bytes())?;
        let tls = Tls {
            authorities: Some(file.path()).filter(|_| !certificates.is_empty()),
            ..Tls::default()
        };
        let name = concat!("alloy-runner/", env!("CARGO_PKG_VERSION"));
        Ok(Self {
            agent: http::agent_by(&tls, name, http::proxy(proxies))?,
            limit: None,
        })
    }

    /// The same with a limit of how long a request may take as a whole, its body included.
    #[must_use]
    pub fn within(self, limit: Option<Duration>) -> Self {
        Self { limit, ..self }
    }

    /// Sets the time limits of a request: it may take long, as long as bytes flow.
    fn patient<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        request
            .config()
            .timeout_global(self.limit)
            .timeout_await_100(Some(Duration::from_secs(1)))
            .timeout_recv_response(Some(ANSWER))
            .timeout_per_read(Some(STALLED))
            .timeout_per_write(Some(STALLED))
            .build()
    }

    /// Sends a body of known length to a signed address, with headers that are signed too.
    ///
    /// # Errors
    /// If the server cannot be reached; see [`judge`] for its answer.
    pub fn put(
        &self,
        url: &str,
        headers: &[(String, String)],
        body: impl Read,
        length: u64,
    ) -> Result<()> {
        let mut body = Progress::new(body, "uploaded", Some(length));
        let request = self.patient(self.agent.put(url));
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(name, value)
        });
        let answer = request
            .header("Content-Length", length)
            .header("Content-Type", "application/octet-stream")
            .send(SendBody::from_reader(&mut body))
            .map_err(unreachable)?;
        judge("the upload", answer).map(drop)
    }

    /// Sends a form to a coordinator, which can refuse it before the body is sent (`Expect: 100-continue`). `Some`: the
    /// form is to be sent there.
    ///
    /// # Errors
    /// As [`Client::put`].
    pub fn post<'t>(
        &self,
        address: &Address<'t>,
        content_type: &str,
        body: impl Read,
    ) -> Result<Option<Address<'t>>> {
        let mut body = Progress::new(body, "uploaded", None);
        let answer = address
            .authorized(self.patient(self.agent.post(address.url.clone())))
            .header("Content-Type", content_type)
            .header("Expect", "100-continue")
            .send(SendBody::from_reader(&mut body))
            .map_err(unreachable)?;
        if answer.status().is_redirection() {
            return address.next(&answer).map(Some);
        }
        judge("the artifacts", answer).map(|_| None)
    }

    /// Downloads something. Redirects are followed. `None` if there is nothing.
    ///
    /// # Errors
    /// As [`Client::put`].
    pub fn get(&self, address: Address) -> Result<Option<Download>> {
        let mut address = address;
        for _ in 0..=REDIRECTS {
            let request = address.authorized(self.patient(self.agent.get(address.url.clone())));
            let answer = request.call().map_err(unreachable)?;
            if answer.status().is_redirection() {
                address = address.next(&answer)?;
                continue;
            }
            return match judge("the download", answer) {
                Ok(answer) => Ok(Some(download(answer))),
                Err(error) if error.is::<Missing>() => Ok(None),
                Err(error) => Err(error),
            };
        }
        Err(too_far())
    }
}

/// The error about a server that sends on without end.
#[must_use]
pub fn too_far() -> anyhow::Error {
    anyhow!("the server sends us on more than {REDIRECTS} times")
}

/// Where a request goes.
#[derive(Clone, Debug)]
pub struct Address<'t> {
    url: Uri,
    /// The job's token, as long as the request goes to the coordinator itself.
    token: Option<&'t str>,
}

impl<'t> Address<'t> {
    /// A coordinator's address, or one that needs no token.
    ///
    /// # Errors
    /// If it is none.
    pub fn new(url: &str, token: Option<&'t str>) -> Result<Self> {
        let url = url.parse().context("an address cannot be read")?;
        Ok(Self { url, token })
    }

    fn authorized<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match self.token {
            Some(token) => request
                .header("Job-Token", token)
                .header("X-Request-Id", Uuid::new_v4().to_string()),
            None => request,
        }
    }

    /// Where an answer sends on to. Another server does not get the token.
    fn next(&self, answer: &Response<Body>) -> Result<Self> {
        let to = answer.headers().get("location");
        let to = to.and_then(|to| to.to_str().ok());
        let to = to.context("the server sends us on, but not where")?;
        let (url, same) = resolved(&self.url, to)?;
        Ok(Self {
            url,
            token: self.token.filter(|_| same),
        })
    }
}

/// The body of a server's answer.
pub struct Download {
    /// Its length, if the server says it.
    pub length: Option<u64>,
    /// The bytes.
    pub body: Progress<ureq::BodyReader<'static>>,
}

fn download(answer: Response<Body>) -> Download {
    let length = answer.body().content_length();
    let body = answer
        .into_body()
        .into_with_config()
        .limit(u64::MAX)
        .reader();
    Download {
        length,
        body: Progress::new(body, "downloaded", length),
    }
}

/// The address of a redirect, and whether it is on the same server.
fn resolved(from: &Uri, to: &str) -> Result<(Uri, bool)> {
    let base = (from.scheme_str().unwrap_or("http"), from.authority());
    let to = match (to.starts_with('/'), base) {
        (true, (scheme, Some(authority))) if !to.starts_with("//") => {
            format!("{scheme}://{authority}{to}")
        }
        _ => to.to_owned(),
    };
    let to: Uri = to
        .parse()
        .context("the server sends us on to something that is no address")?;
    let same = to.scheme_str() == from.scheme_str() && to.authority() == from.authority();
    Ok((to, same))
}

/// There is nothing at an address.
#[derive(Debug)]
struct Missing(String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// Turns the status of an answer into a result.
///
/// # Errors
/// [`Refused`] or [`Missing`], if another attempt would not help; others for failures of the server.
fn judge(what: &str, answer: Response<Body>) -> Result<Response<Body>> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let mut said = Vec::new();
    // The status is enough: the text may be incomplete.
    let _ = answer
        .into_body()
        .into_reader()
        .take(300)
        .read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = if said.is_empty() {
        said
    } else {
        format!(": {said}")
    };
    let refused = |why: &str| {
        Err(Refused(format!(
            "the server refuses {what}: {why} ({}){said}",
            status.as_u16()
        ))
        .into())
    };
    match status.as_u16() {
        401 | 403 => refused("the job may not do that, or is over there"),
        404 | 410 => Err(Missing(format!(
            "there is nothing for {what} ({}){said}",
            status.as_u16()
        ))
        .into()),
        413 => refused("they are larger than it takes"),
        code @ (408 | 425 | 429 | 500..) => Err(anyhow!("the server failed ({code}){said}")),
        _ => refused("it answers something unexpected"),
    }
}

/// The error about a server that cannot be reached. It does not contain the address: a signed one is a secret.
fn unreachable(error: ureq::Error) -> anyhow::Error {
    match error {
        ureq::Error::Io(error) => anyhow!("the server cannot be reached: {error}"),
        ureq::Error::BadUri(_) => anyhow!("the server's address cannot be read"),
        error => anyhow!("the server cannot be reached: {error}"),
    }
}

/// Repeats something until it succeeds, is refused, or was tried `most` times.
///
/// # Errors
/// The last error.
pub fn attempts<T>(most: u32, once: impl FnMut() -> Result<T>) -> Result<T> {
    let last = PAUSES[PAUSES.len() - 1];
    let pauses = PAUSES.into_iter().chain(iter::repeat(last));
    let mut tried = 1;
    retry(
        pauses.take(most.saturating_sub(1) as usize),
        once,
        |error| !error.is::<Refused>() && !error.is::<Missing>(),
        |error, pause| {
            tried += 1;
            eprintln!(
                "WARNING: {error:#}; attempt {tried} of {most} in {} s",
                pause.as_secs()
            );
            thread::sleep(pause);
            Ok(())
        },
    )
}

#[cfg(test)]
mod tests {
    use super::{Refused, attempts, resolved};
    use anyhow::anyhow;

    #[test]
    fn tries_again_unless_refused() {
        let mut tries = 0;
        let refused = attempts(5, || -> anyhow::Result<()> {
            tries += 1;
            Err(Refused("no".to_owned()).into())
        });
        assert!(refused.is_err() && tries == 1);
        tries = 0;
        let second = attempts(2, || {
            tries += 1;
            if tries == 2 {
                Ok(tries)
            } else {
                Err(anyhow!("not yet"))
            }
        });
        assert_eq!(second.expect("the second time"), 2);
    }

    #[test]
    fn a_token_stays_with_its_server() {
        let from = "https://a.example/x/y".parse().expect("an address");
        for (to, address, same) in [
            ("/z?q=1", "https://a.example/z?q=1", true),
            ("https://a.example/z", "https://a.example/z", true),
            ("http://a.example/z", "http://a.example/z", false),
            ("https://b.example/z", "https://b.example/z", false),
            (
                "https://a.example:8443/z",
                "https://a.example:8443/z",
                false,
            ),
        ] {
            let (found, is_same) = resolved(&from, to).expect("an address");
            assert_eq!(
                (found.to_string().as_str(), is_same),
                (address, same),
                "{to}"
            );
        }
    }
}
