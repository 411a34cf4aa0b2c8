//! Files that outlive a job: caches for its next run, artifacts for other jobs and for people.

use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer, Serialize};

use super::forms::OneOrMany;
use crate::secret::Secret;

/// One cache or several.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "OneOrMany<Cache>")]
pub struct Caches(pub Vec<Cache>);

impl From<OneOrMany<Cache>> for Caches {
    fn from(form: OneOrMany<Cache>) -> Self {
        Self(form.into())
    }
}

/// Files that are kept from one run of a job for the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Cache {
    /// Which runs share it, unexpanded; `<job>/<ref>` unless given.
    pub key: Option<String>,
    /// Patterns, relative to the project's directory.
    #[serde(deserialize_with = "texts")]
    pub paths: Vec<String>,
    /// Everything that git does not track too.
    #[serde(deserialize_with = "flag")]
    pub untracked: bool,
    /// Whether it is restored, written, or both.
    #[serde(deserialize_with = "or_default")]
    pub policy: CachePolicy,
    /// Keys of others that are restored where there is none of its own, in this order, unexpanded.
    #[serde(deserialize_with = "texts")]
    pub fallback_keys: Vec<String>,
    /// After which ends of the job it is written: `on_success`, `on_failure`, `always`.
    pub when: Option<String>,
}

/// Whether a cache is restored before a job, written after it, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", remote = "Self")]
pub enum CachePolicy {
    /// Both.
    #[default]
    PullPush,
    /// Only restored.
    Pull,
    /// Only written.
    Push,
    /// What the job's variables make of this text.
    #[serde(skip)]
    Expanded(String),
}

impl CachePolicy {
    /// The policy of this name.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        match word {
            "pull-push" => Some(Self::PullPush),
            "pull" => Some(Self::Pull),
            "push" => Some(Self::Push),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for CachePolicy {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        if text.contains('$') {
            return Ok(Self::Expanded(text));
        }
        // In its words where there is none of this name.
        Self::deserialize(text.into_deserializer())
    }
}

/// Files that a job leaves for others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Artifacts {
    /// The archive's name, unexpanded.
    pub name: Option<String>,
    /// Patterns, relative to the project's directory.
    #[serde(deserialize_with = "texts")]
    pub paths: Vec<String>,
    /// Everything that git does not track too.
    #[serde(deserialize_with = "flag")]
    pub untracked: bool,
    /// After which ends of the job: `on_success`, `on_failure`, `always`.
    #[serde(deserialize_with = "or_default")]
    pub when: When,
    /// Patterns of files that are left out although others select them.
    #[serde(deserialize_with = "texts")]
    pub exclude: Vec<String>,
    /// How long the coordinator keeps them, in its own words.
    pub expire_in: Option<String>,
    /// What they are for the coordinator, in its own words: `archive`, or the kind of a report.
    pub artifact_type: Option<String>,
    /// What is made of them, in the coordinator's words: `zip`, `gzip`, `raw`.
    pub artifact_format: Option<String>,
}

/// When a job runs, by what became of the stages before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// All went well.
    #[default]
    OnSuccess,
    /// Something failed.
    OnFailure,
    /// Whatever happened.
    Always,
    /// Only when it is asked for by name.
    Manual,
}

/// A job whose artifacts another one gets.
#[derive(Clone, Debug)]
pub struct Dependency {
    /// The coordinator's number of it.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// What the coordinator gives its artifacts for.
    pub token: Secret,
}

/// Where a job comes from: artifacts go there and come from there.
#[derive(Clone, Debug)]
pub struct Coordinator {
    /// Whose habits it has.
    pub kind: Kind,
    /// What it says that it can do.
    pub features: Features,
    /// The address of its API, `https://alloy-ci.example.org/api/v4`, without a slash at its end.
    pub api: String,
    /// What it knows the job by.
    pub token: Secret,
}

/// The two coordinators speak one API, each with habits of its own. A job's payload shows which of them sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum Kind {
    /// `AlloyCI`.
    #[default]
    AlloyCi,
    /// GitLab: `GITLAB_CI` is among the variables of its jobs.
    GitLab,
}

/// What a coordinator says with a job that it can do (`features` of the payload). `AlloyCI` says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Features {
    /// Its page of a log folds the parts between the marks `section_start` and `section_end`.
    #[serde(deserialize_with = "flag")]
    pub trace_sections: bool,
    /// What follows one of these words in a log is a token, and to be masked.
    #[serde(deserialize_with = "texts")]
    pub token_mask_prefixes: Vec<String>,
    /// The reasons of failures that it knows, in the API's words.
    #[serde(deserialize_with = "texts")]
    pub failure_reasons: Vec<String>,
}

/// A list of texts. A coordinator sends `null` for what is not set.
fn texts<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    let list = or_default::<D, Vec<Option<String>>>(input)?;
    Ok(list.into_iter().flatten().collect())
}

/// A coordinator sends `null` for what is not set.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    input: D,
) -> Result<T, D::Error> {
    Option::deserialize(input).map(Option::unwrap_or_default)
}

/// A switch; AlloyCI also sends the strings `"true"` and `"false"`.
fn flag<'de, D: Deserializer<'de>>(input: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected true or false")]
    enum Flag {
        Bool(bool),
        Text(String),
        Null(()),
    }
    match Flag::deserialize(input)? {
        Flag::Bool(on) => Ok(on),
        Flag::Null(()) => Ok(false),
        Flag::Text(text) => match text.as_str() {
            "true" => Ok(true),
            "false" | "" => Ok(false),
            _ => Err(serde::de::Error::custom("expected true or false")),
        },
    }
}

/// The same where it need not be there.
pub(super) fn some_flag<'de, D: Deserializer<'de>>(input: D) -> Result<Option<bool>, D::Error> {
    flag(input).map(Some)
}

#[cfg(test)]
mod tests {
    use super::{Artifacts, Cache, CachePolicy, When};

    #[test]
    fn what_a_coordinator_makes_of_them_is_read_too() {
        let cache: Cache = serde_json::from_str(
            r#"{"key": null, "paths": ["a"], "untracked": "true", "policy": null, "when": "x"}"#,
        )
        .expect("good");
        assert!(cache.untracked && cache.policy == CachePolicy::PullPush);
        let artifacts: Artifacts = serde_json::from_str(
            r#"{"paths": null, "untracked": null, "when": "always", "expire_in": "1 week"}"#,
        )
        .expect("good");
        assert_eq!((artifacts.when, artifacts.untracked), (When::Always, false));
        let error = serde_json::from_str::<Cache>(r#"{"untracked": "maybe"}"#);
        assert!(
            error
                .expect_err("bad")
                .to_string()
                .contains("true or false")
        );
    }
}
