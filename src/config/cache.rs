//! `[runners.cache]`: a bucket for caches that several hosts share.

use serde::{Deserialize, Serialize};

/// `[runners.cache]`. The keys of the bucket may stand in it, as in old files, or in `[runners.cache.s3]`:
/// [`CacheConfig::bucket`] has those that count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CacheConfig {
    /// Must be `s3`.
    pub r#type: Option<String>,
    /// A prefix of the names in the bucket.
    pub path: Option<String>,
    /// Whether this runner uses the caches of all runners that say so; otherwise it has its own.
    pub shared: bool,
    /// As in [`S3Config`].
    pub server_address: Option<String>,
    /// As in [`S3Config`].
    pub access_key: Option<String>,
    /// As in [`S3Config`]. A secret.
    pub secret_key: Option<String>,
    /// As in [`S3Config`].
    pub bucket_name: Option<String>,
    /// As in [`S3Config`].
    pub bucket_location: Option<String>,
    /// As in [`S3Config`].
    pub insecure: Option<bool>,
    /// As in [`S3Config`]. A secret.
    pub session_token: Option<String>,
    /// As in [`S3Config`].
    pub authentication_type: Option<String>,
    /// As in [`S3Config`].
    pub path_style: Option<bool>,
    /// As in [`S3Config`].
    pub server_side_encryption: Option<String>,
    /// As in [`S3Config`].
    #[serde(rename = "ServerSideEncryptionKeyID")]
    pub server_side_encryption_key_id: Option<String>,
    /// How many bytes the archive of a cache may have; a larger one is not kept. Default and 0: any number.
    pub max_uploaded_archive_size: Option<u64>,
    /// `[runners.cache.s3]`.
    #[serde(rename = "s3")]
    pub s3: Option<S3Config>,
}

impl CacheConfig {
    /// The bucket: each key from `[runners.cache.s3]` or, if it is not there, from `[runners.cache]`.
    #[must_use]
    pub fn bucket(&self) -> S3Config {
        let s3 = self.s3.clone().unwrap_or_default();
        let cache = self.clone();
        S3Config {
            server_address: s3.server_address.or(cache.server_address),
            access_key: s3.access_key.or(cache.access_key),
            secret_key: s3.secret_key.or(cache.secret_key),
            bucket_name: s3.bucket_name.or(cache.bucket_name),
            bucket_location: s3.bucket_location.or(cache.bucket_location),
            insecure: s3.insecure.or(cache.insecure),
            session_token: s3.session_token.or(cache.session_token),
            authentication_type: s3.authentication_type.or(cache.authentication_type),
            path_style: s3.path_style.or(cache.path_style),
            server_side_encryption: s3.server_side_encryption.or(cache.server_side_encryption),
            server_side_encryption_key_id: s3
                .server_side_encryption_key_id
                .or(cache.server_side_encryption_key_id),
        }
    }
}

impl S3Config {
    /// Whether the keys come from the cloud that this host is in, not from the configuration.
    #[must_use]
    pub fn has_keys_of_the_cloud(&self) -> bool {
        match &self.authentication_type {
            Some(kind) => kind.eq_ignore_ascii_case("iam"),
            None => self.access_key.is_none() || self.secret_key.is_none(),
        }
    }
}

/// An S3 server and a bucket on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct S3Config {
    /// `host[:port]`; default: Amazon's.
    pub server_address: Option<String>,
    /// The id of the access key.
    pub access_key: Option<String>,
    /// The access key itself. A secret.
    pub secret_key: Option<String>,
    /// The bucket.
    pub bucket_name: Option<String>,
    /// The bucket's region.
    pub bucket_location: Option<String>,
    /// Whether HTTP is used in place of HTTPS.
    pub insecure: Option<bool>,
    /// What comes with temporary keys. A secret.
    pub session_token: Option<String>,
    /// `access-key`, or `iam`: keys that the cloud gives this host. Default: the first where there are keys.
    pub authentication_type: Option<String>,
    /// Whether the bucket stands in the path of an address, not in its host; default: at servers that are not Amazon's.
    pub path_style: Option<bool>,
    /// How the server encrypts what it keeps: `S3`, `KMS` or `DSSE-KMS`; default: as the bucket has it.
    pub server_side_encryption: Option<String>,
    /// The key that it does so with.
    #[serde(rename = "ServerSideEncryptionKeyID")]
    pub server_side_encryption_key_id: Option<String>,
}
