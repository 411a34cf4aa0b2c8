//! Addresses in a bucket, signed, so that the helper needs no keys (`[runners.cache]`).

use std::time::Duration;

use jiff::Timestamp;
use rusty_s3::{Credentials, S3Action, UrlStyle};

use super::host::Host;
use super::names::{Names, PROTECTED};
use crate::config::CacheConfig;
use crate::job::Job;
use crate::secret::Secret;

/// The server, and the region of its buckets, unless named.
const SERVER: &str = "s3.amazonaws.com";
const REGION: &str = "us-east-1";
/// A job is planned before it waits for images and services, and it ends some time after its limit.
const BESIDE: Duration = Duration::from_hours(1);
/// How long the addresses of a job count that has no limit.
const UNLIMITED: Duration = Duration::from_hours(24);
/// No address counts longer.
const LONGEST: Duration = Duration::from_hours(7 * 24);

/// Where the caches of a job are in a bucket, and how to sign for them.
pub(super) struct Bucket {
    inner: rusty_s3::Bucket,
    credentials: Credentials,
    /// What the objects' names begin with.
    prefix: String,
    now: Timestamp,
    valid: Duration,
    /// What an upload has to say beside its address, which is signed too.
    upload_headers: Vec<(String, String)>,
}

impl Bucket {
    /// The bucket of a configuration.
    ///
    /// # Errors
    /// What is missing or wrong, and that caches are not kept because of it.
    pub fn new(
        config: &CacheConfig,
        names: &Names,
        job: &Job,
        host: &Host,
    ) -> Result<Self, String> {
        let not_kept = |why: &str| format!("caches are not kept: [runners.cache] {why}");
        if config.r#type.as_deref() != Some("s3") {
            let other = config.r#type.as_deref().unwrap_or_default();
            return Err(not_kept(&format!(
                "has the Type `{other}`, and `s3` is the one there is"
            )));
        }
        let s3 = config.bucket();
        let given = |value: Option<String>| value.filter(|value| !value.is_empty());
        let missing = |key: &str| not_kept(&format!("has no {key}"));
        let of_cloud = s3.has_keys_of_the_cloud();
        let name = given(s3.bucket_name).ok_or_else(|| missing("BucketName"))?;
        let credentials = match (of_cloud, &host.cloud_keys) {
            (true, Some(Ok(keys))) => credentials(
                keys.id.clone(),
                keys.key.expose(),
                keys.session.as_ref().map(Secret::expose),
            ),
            (true, Some(Err(why))) => {
                return Err(not_kept(&format!(
                    "has no AccessKey and SecretKey, and {why}"
                )));
            }
            _ => {
                let key = given(s3.access_key).ok_or_else(|| missing("AccessKey"))?;
                let secret = given(s3.secret_key).ok_or_else(|| missing("SecretKey"))?;
                credentials(key, &secret, given(s3.session_token).as_deref())
            }
        };
        let region = given(s3.bucket_location).unwrap_or_else(|| REGION.to_owned());
        let server = given(s3.server_address).unwrap_or_else(|| SERVER.to_owned());
        // Amazon has a name for each bucket, in its region; other servers have one for themselves.
        let (server, style) = match server.as_str() {
            SERVER => (format!("s3.{region}.amazonaws.com"), UrlStyle::VirtualHost),
            amazon if amazon.ends_with(".amazonaws.com") => (server, UrlStyle::VirtualHost),
            _ => (server, UrlStyle::Path),
        };
        let style = match s3.path_style {
            Some(true) => UrlStyle::Path,
            Some(false) => UrlStyle::VirtualHost,
            None => style,
        };
        let scheme = if s3.insecure == Some(true) {
            "http"
        } else {
            "https"
        };
        let bucket = format!("{scheme}://{server}")
            .parse()
            .ok()
            .and_then(|server| rusty_s3::Bucket::new(server, style, name, region).ok())
            .ok_or_else(|| {
                not_kept(&format!(
                    "has a ServerAddress that is not HOST[:PORT]: {server}"
                ))
            })?;
        let path = config.path.as_deref().unwrap_or_default().split('/');
        let mut parts: Vec<String> = path.map(str::to_owned).collect();
        if !config.shared {
            parts.extend(["runner".to_owned(), names.short_token.clone()]);
        }
        let apart = if job.protected { PROTECTED } else { "" };
        parts.extend(["project".to_owned(), format!("{}{apart}", job.project.id)]);
        // An address cannot have them.
        parts.retain(|part| !["", ".", ".."].contains(&part.as_str()));
        Ok(Self {
            inner: bucket,
            credentials,
            prefix: parts.join("/"),
            now: Timestamp::from_second(host.now).map_err(|error| not_kept(&error.to_string()))?,
            valid: job
                .timeout
                .map_or(UNLIMITED, |limit| limit.saturating_add(BESIDE))
                .min(LONGEST),
            upload_headers: encryption(
                s3.server_side_encryption.as_deref(),
                s3.server_side_encryption_key_id,
            ),
        })
    }

    /// Addresses to read and to write an object at, for a while. `key` has no `.` or `..` between its slashes.
    pub fn signed(&self, key: &str) -> (String, String) {
        let object = format!("{}/{key}", self.prefix);
        let get = self.inner.get_object(Some(&self.credentials), &object);
        let mut put = self.inner.put_object(Some(&self.credentials), &object);
        for (name, value) in &self.upload_headers {
            put.headers_mut().insert(name.as_str(), value.as_str());
        }
        let get = get.sign_with_time(self.valid, &self.now);
        let put = put.sign_with_time(self.valid, &self.now);
        (get.into(), put.into())
    }

    /// The address that all of its objects' begin with.
    pub fn address(&self) -> &str {
        self.inner.base_url().as_str()
    }

    /// What an upload has to say beside its address.
    pub fn upload_headers(&self) -> &[(String, String)] {
        &self.upload_headers
    }

    /// What must not be shown.
    pub fn secrets(&self) -> Vec<Secret> {
        let keys = [self.credentials.key(), self.credentials.secret()];
        let keys = keys.into_iter().chain(self.credentials.token());
        keys.map(Secret::new).collect()
    }
}

fn credentials(id: String, key: &str, session: Option<&str>) -> Credentials {
    match session {
        Some(session) => Credentials::new_with_token(id, key, session),
        None => Credentials::new(id, key),
    }
}

/// What asks the server to encrypt an object (`ServerSideEncryption`), and with which key.
fn encryption(kind: Option<&str>, key: Option<String>) -> Vec<(String, String)> {
    const HEADER: &str = "x-amz-server-side-encryption";
    let kind = match kind.map(str::to_ascii_uppercase).as_deref() {
        Some("S3") => "AES256",
        Some("KMS") => "aws:kms",
        Some("DSSE-KMS") => "aws:kms:dsse",
        _ => return Vec::new(),
    };
    let key = key.filter(|_| kind != "AES256");
    let key = key.map(|key| (format!("{HEADER}-aws-kms-key-id"), key));
    std::iter::once((HEADER.to_owned(), kind.to_owned()))
        .chain(key)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::Bucket;
    use crate::config::CacheConfig;
    use crate::job::payload;
    use crate::plan::host::{CloudKeys, Host};
    use crate::plan::names::Names;
    use crate::secret::Secret;

    fn host() -> Host {
        Host {
            now: 1_000_000_000,
            ..Host::default()
        }
    }

    fn config() -> CacheConfig {
        let given = |text: &str| Some(text.to_owned());
        CacheConfig {
            r#type: given("s3"),
            access_key: given("key"),
            secret_key: given("secret"),
            bucket_name: given("bucket"),
            ..CacheConfig::default()
        }
    }

    #[test]
    fn a_protected_ref_has_addresses_of_its_own() {
        for (payload, directory) in [
            (
                include_str!("../../fixtures/payloads/alloyci.json"),
                "/project/3/key?",
            ),
            (
                include_str!("../../fixtures/payloads/gitlab.json"),
                "/project/12-protected/key?",
            ),
        ] {
            let job = payload::read(payload.as_bytes(), "http://c").and_then(|out| out.job.ok());
            let job = job.expect("a job");
            let names = Names::new("abcdefgh", job.project.id, 0);
            let bucket = Bucket::new(&config(), &names, &job, &host());
            let (get, put) = bucket.expect("a bucket").signed("key");
            assert!(get.contains(directory) && put.contains(directory), "{get}");
        }
    }

    /// The addresses of an object for a job, and what an upload of it says.
    fn signed(config: &CacheConfig) -> (String, String, Vec<(String, String)>) {
        let payload = include_bytes!("../../fixtures/payloads/alloyci.json");
        let job = payload::read(payload, "http://c").and_then(|out| out.job.ok());
        let names = Names::new("abcdefgh", 3, 0);
        let bucket = Bucket::new(config, &names, &job.expect("a job"), &host());
        let bucket = bucket.unwrap_or_else(|error| panic!("{error}"));
        let (get, put) = bucket.signed("key");
        (get, put, bucket.upload_headers().to_vec())
    }

    #[test]
    fn a_bucket_is_in_the_path_or_in_the_host() {
        for (server, path_style, begin) in [
            (None, None, "https://bucket.s3.us-east-1.amazonaws.com/"),
            (
                None,
                Some(true),
                "https://s3.us-east-1.amazonaws.com/bucket/",
            ),
            (
                Some("minio.example.org:9000"),
                None,
                "https://minio.example.org:9000/bucket/",
            ),
            (
                Some("minio.example.org"),
                Some(false),
                "https://bucket.minio.example.org/",
            ),
        ] {
            let config = CacheConfig {
                server_address: server.map(str::to_owned),
                path_style,
                ..config()
            };
            let (get, put, _) = signed(&config);
            assert!(get.starts_with(begin) && put.starts_with(begin), "{get}");
        }
    }

    #[test]
    fn keys_of_the_cloud_are_taken_where_the_configuration_has_none_or_says_so() {
        let payload = include_bytes!("../../fixtures/payloads/alloyci.json");
        let job = payload::read(payload, "http://c").and_then(|out| out.job.ok());
        let (job, names) = (job.expect("a job"), Names::new("abcdefgh", 3, 0));
        let keys = CloudKeys {
            id: "cloud".to_owned(),
            key: Secret::new("key of the cloud"),
            session: Some(Secret::new("session")),
        };
        let no_keys = || Some(Err("this host has none".to_owned()));
        for (kind, own, cloud, want) in [
            (
                Some("iam"),
                true,
                Some(Ok(keys.clone())),
                "Credential=cloud%2F",
            ),
            (None, false, Some(Ok(keys.clone())), "Credential=cloud%2F"),
            (None, true, Some(Ok(keys.clone())), "Credential=key%2F"),
            (Some("access-key"), true, None, "Credential=key%2F"),
            (
                Some("access-key"),
                false,
                Some(Ok(keys)),
                "has no AccessKey",
            ),
            (
                None,
                false,
                no_keys(),
                "AccessKey and SecretKey, and this host has none",
            ),
        ] {
            let mut config = CacheConfig {
                authentication_type: kind.map(str::to_owned),
                ..config()
            };
            if !own {
                config.access_key = None;
            }
            let host = Host {
                cloud_keys: cloud,
                ..host()
            };
            let bucket = Bucket::new(&config, &names, &job, &host);
            let found = bucket.map_or_else(|why| why, |bucket| bucket.signed("key").0);
            assert!(found.contains(want), "{found}");
        }
    }

    #[test]
    fn an_upload_says_how_the_server_is_to_encrypt() {
        let kms = |value: &str| ("x-amz-server-side-encryption".to_owned(), value.to_owned());
        let key = || {
            let name = "x-amz-server-side-encryption-aws-kms-key-id";
            (name.to_owned(), "alias/ci".to_owned())
        };
        for (kind, headers, signed_headers) in [
            (None, vec![], "SignedHeaders=host&"),
            (
                Some("S3"),
                vec![kms("AES256")],
                "SignedHeaders=host%3Bx-amz-server-side-encryption&",
            ),
            (
                Some("kms"),
                vec![kms("aws:kms"), key()],
                "SignedHeaders=host%3Bx-amz-server-side-encryption%3Bx-amz-server-side-encryption-aws-kms-key-id&",
            ),
        ] {
            let config = CacheConfig {
                server_side_encryption: kind.map(str::to_owned),
                server_side_encryption_key_id: Some("alias/ci".to_owned()),
                session_token: Some("session".to_owned()),
                ..config()
            };
            let (get, put, said) = signed(&config);
            assert_eq!(said, headers);
            assert!(put.contains(signed_headers), "{put}");
            assert!(get.contains("SignedHeaders=host&"), "{get}");
            assert!(get.contains("X-Amz-Security-Token=session"), "{get}");
        }
    }

    #[test]
    fn addresses_count_as_long_as_the_job_may_take_and_a_week_at_most() {
        for (timeout, valid) in [
            (0, 24 * 3600),
            (60, 3660),
            (u64::from(u32::MAX), 7 * 24 * 3600),
            (u64::MAX - 3600, 7 * 24 * 3600),
            (u64::MAX, 7 * 24 * 3600),
        ] {
            let body = include_str!("../../fixtures/payloads/alloyci.json");
            let body = body.replace(
                r#""runner_info": {"timeout": 3600}"#,
                &format!(r#""runner_info": {{"timeout": {timeout}}}"#),
            );
            let job = payload::read(body.as_bytes(), "http://c").and_then(|out| out.job.ok());
            let names = Names::new("abcdefgh", 3, 0);
            let bucket = Bucket::new(&config(), &names, &job.expect("a job"), &host());
            let (get, _) = bucket.expect("a bucket").signed("key");
            let want = format!("X-Amz-Expires={valid}&");
            assert!(get.contains(&want), "{timeout}: {get}");
        }
    }
}
