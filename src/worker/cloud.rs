//! The keys that Amazon's cloud gives the host that it runs, for caches in a bucket (`AuthenticationType = "iam"`). Each
//! job that needs them asks for them, since they count for some hours only.

use std::env;
use std::time::Duration;

use serde::Deserialize;
use ureq::http::Response;
use ureq::{Agent, Body};

use crate::config::RunnerConfig;
use crate::http::{Tls, agent_by};
use crate::job::Job;
use crate::plan::CloudKeys;
use crate::secret::Secret;

/// Where a container's keys are, unless its environment has a whole address.
const CONTAINERS: &str = "http://169.254.170.2";
/// Where a machine's keys are, unless the environment says where (as for Amazon's own programs).
const MACHINES: &str = "http://169.254.169.254";
/// A server that is there answers fast, and where there is none, a job must not wait.
const LIMIT: Duration = Duration::from_secs(2);
/// How many bytes of an answer are read.
const MOST: u64 = 64 * 1024;

/// Whether a job has caches in a bucket for which the configuration has no keys.
pub(super) fn wants_keys(config: &RunnerConfig, job: &Job) -> bool {
    let cache = config.cache.as_ref().filter(|_| !job.caches.is_empty());
    cache.is_some_and(|cache| {
        cache.r#type.as_deref() == Some("s3") && cache.bucket().has_keys_of_the_cloud()
    })
}

/// The keys of this host: those of its environment, of its container or of its machine, whichever comes first.
///
/// # Errors
/// Why there are none, as the end of a sentence.
pub(super) fn keys() -> Result<CloudKeys, String> {
    keys_by(|name| env::var(name).ok().filter(|value| !value.is_empty()))
}

fn keys_by(variable: impl Fn(&str) -> Option<String>) -> Result<CloudKeys, String> {
    if let (Some(id), Some(key)) = (
        variable("AWS_ACCESS_KEY_ID"),
        variable("AWS_SECRET_ACCESS_KEY"),
    ) {
        return Ok(CloudKeys {
            id,
            key: Secret::new(key),
            session: variable("AWS_SESSION_TOKEN").map(Secret::new),
        });
    }
    let agent = agent_by(&Tls::default(), "alloy-runner", None);
    let agent = agent.map_err(|error| error.to_string())?;
    let of_container = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        .map(|path| format!("{CONTAINERS}{path}"))
        .or_else(|| variable("AWS_CONTAINER_CREDENTIALS_FULL_URI"));
    if let Some(address) = of_container {
        let token = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN");
        return read(&get(&agent, &address, ("Authorization", token.as_deref()))?);
    }
    let server = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    let server = server.as_deref().unwrap_or(MACHINES).trim_end_matches('/');
    of_machine(&agent, server)
}

/// The keys of the role that a machine has.
fn of_machine(agent: &Agent, server: &str) -> Result<CloudKeys, String> {
    let address = format!("{server}/latest/api/token");
    let request = agent.put(&address).config().timeout_global(Some(LIMIT));
    let request = request
        .build()
        .header("X-aws-ec2-metadata-token-ttl-seconds", "300");
    let token = text(&address, request.send_empty())?;
    let header = ("X-aws-ec2-metadata-token", Some(token.trim()));
    let roles = format!("{server}/latest/meta-data/iam/security-credentials/");
    let names = get(agent, &roles, header)?;
    let role = names.lines().next().unwrap_or_default().trim();
    if role.is_empty() {
        return Err("this machine has no role that gives it any".to_owned());
    }
    read(&get(agent, &format!("{roles}{role}"), header)?)
}

fn get(
    agent: &Agent,
    address: &str,
    (name, value): (&str, Option<&str>),
) -> Result<String, String> {
    let request = agent.get(address).config().timeout_global(Some(LIMIT));
    let request = request.build();
    let request = match value {
        Some(value) => request.header(name, value),
        None => request,
    };
    text(address, request.call())
}

/// The text of an answer.
fn text(address: &str, answer: Result<Response<Body>, ureq::Error>) -> Result<String, String> {
    let failed = |why: &str| format!("{address} gives no keys: {why}");
    let mut answer = answer.map_err(|error| failed(&error.to_string()))?;
    if !answer.status().is_success() {
        return Err(failed(&format!("status {}", answer.status().as_u16())));
    }
    let body = answer.body_mut().with_config().limit(MOST);
    body.read_to_string()
        .map_err(|error| failed(&error.to_string()))
}

/// Keys as containers and machines get them.
fn read(text: &str) -> Result<CloudKeys, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Keys {
        access_key_id: String,
        secret_access_key: String,
        token: Option<String>,
    }
    // What is wrong is not shown: the text has keys.
    let keys: Keys = serde_json::from_str(text)
        .map_err(|_| "what the cloud says of this host's keys cannot be read".to_owned())?;
    Ok(CloudKeys {
        id: keys.access_key_id,
        key: Secret::new(keys.secret_access_key),
        session: keys.token.map(Secret::new),
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::keys_by;

    const KEYS: &str =
        r#"{"Code": "Success", "AccessKeyId": "id", "SecretAccessKey": "key", "Token": "session"}"#;

    /// A server that answers requests in this order: how one has to begin, a header that it has, and the answer.
    fn server(answers: Vec<(&'static str, &'static str, &'static str)>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            for (begin, header, body) in answers {
                let (mut stream, _) = listener.accept().expect("a request");
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") {
                    stream.read_exact(&mut byte).expect("readable");
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).to_lowercase();
                let good = head.starts_with(&begin.to_lowercase()) && head.contains(header);
                let status = if good { "200 OK" } else { "400 Bad Request" };
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
                stream.write_all(answer.as_bytes()).expect("written");
            }
        });
        format!("http://{address}")
    }

    fn found(variables: &[(&str, &str)]) -> Result<String, String> {
        let variable = |name: &str| {
            let mut variables = variables.iter();
            let found = variables.find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        keys_by(variable).map(|keys| {
            let session = keys.session.as_ref().map_or("", |it| it.expose());
            format!("{} {} {session}", keys.id, keys.key.expose())
        })
    }

    #[test]
    fn keys_come_from_the_environment_a_container_or_a_machine() {
        let environment = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
        assert_eq!(found(&environment).as_deref(), Ok("a b "));
        let container = server(vec![("GET /keys", "authorization: token", KEYS)]);
        let address = format!("{container}/keys");
        let container = [
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", address.as_str()),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "token"),
        ];
        assert_eq!(found(&container).as_deref(), Ok("id key session"));
        let machine = server(vec![
            (
                "PUT /latest/api/token",
                "x-aws-ec2-metadata-token-ttl-seconds: 300",
                "pass",
            ),
            (
                "GET /latest/meta-data/iam/security-credentials/ ",
                "x-aws-ec2-metadata-token: pass",
                "runner\n",
            ),
            (
                "GET /latest/meta-data/iam/security-credentials/runner ",
                "x-aws-ec2-metadata-token: pass",
                KEYS,
            ),
        ]);
        let machine = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", machine.as_str())];
        assert_eq!(found(&machine).as_deref(), Ok("id key session"));
    }

    #[test]
    fn why_there_are_no_keys_is_said_and_no_key_is() {
        let silent = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1")];
        let why = found(&silent).expect_err("no keys");
        let begin = "http://127.0.0.1:1/latest/api/token gives no keys: ";
        assert!(why.starts_with(begin), "{why}");
        let odd = server(vec![("GET /keys", "", r#"{"SecretAccessKey": "key"}"#)]);
        let address = format!("{odd}/keys");
        let odd = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", address.as_str())];
        let why = found(&odd).expect_err("no keys");
        assert_eq!(
            why,
            "what the cloud says of this host's keys cannot be read"
        );
    }
}
