//! Addresses in a bucket, signed, so that the helper needs no keys (`[runners.cache]`).

use std::time::Duration;

use jiff::Timestamp;
use rusty_s3::{Credentials, S3Action, UrlStyle};

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
}

impl Bucket {
    /// The bucket of a configuration; `now` in seconds since 1970.
    ///
    /// # Errors
    /// What is missing or wrong, and that caches are not kept because of it.
    pub fn new(config: &CacheConfig, names: &Names, job: &Job, now: i64) -> Result<Self, String> {
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
        let name = given(s3.bucket_name).ok_or_else(|| missing("BucketName"))?;
        let key = given(s3.access_key).ok_or_else(|| missing("AccessKey"))?;
        let secret = given(s3.secret_key).ok_or_else(|| missing("SecretKey"))?;
        let region = given(s3.bucket_location).unwrap_or_else(|| REGION.to_owned());
        let server = given(s3.server_address).unwrap_or_else(|| SERVER.to_owned());
        // Amazon has a name for each bucket, in its region; other servers have one for themselves.
        let (server, style) = match server.as_str() {
            SERVER => (format!("s3.{region}.amazonaws.com"), UrlStyle::VirtualHost),
            amazon if amazon.ends_with(".amazonaws.com") => (server, UrlStyle::VirtualHost),
            _ => (server, UrlStyle::Path),
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
            credentials: Credentials::new(key, secret),
            prefix: parts.join("/"),
            now: Timestamp::from_second(now).map_err(|error| not_kept(&error.to_string()))?,
            valid: job
                .timeout
                .map_or(UNLIMITED, |limit| limit.saturating_add(BESIDE))
                .min(LONGEST),
        })
    }

    /// Addresses to read and to write an object at, for a while. `key` has no `.` or `..` between its slashes.
    pub fn signed(&self, key: &str) -> (String, String) {
        let object = format!("{}/{key}", self.prefix);
        let get = self.inner.get_object(Some(&self.credentials), &object);
        let put = self.inner.put_object(Some(&self.credentials), &object);
        let get = get.sign_with_time(self.valid, &self.now);
        let put = put.sign_with_time(self.valid, &self.now);
        (get.into(), put.into())
    }

    /// The address that all of its objects' begin with.
    pub fn address(&self) -> &str {
        self.inner.base_url().as_str()
    }

    /// What must not be shown.
    pub fn secrets(&self) -> [Secret; 2] {
        [self.credentials.key(), self.credentials.secret()].map(Secret::new)
    }
}

#[cfg(test)]
mod tests {
    use super::Bucket;
    use crate::config::CacheConfig;
    use crate::job::payload;
    use crate::plan::names::Names;

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
            let bucket = Bucket::new(&config(), &names, &job, 1_000_000_000);
            let (get, put) = bucket.expect("a bucket").signed("key");
            assert!(get.contains(directory) && put.contains(directory), "{get}");
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
            let bucket = Bucket::new(&config(), &names, &job.expect("a job"), 1_000_000_000);
            let (get, _) = bucket.expect("a bucket").signed("key");
            let want = format!("X-Amz-Expires={valid}&");
            assert!(get.contains(&want), "{timeout}: {get}");
        }
    }
}
