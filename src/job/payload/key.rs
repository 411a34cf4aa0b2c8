//! What a job is reported by. It is read first, from as much of a payload as came through.

use std::fmt;

use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::value;
use crate::job::files::{Features, Kind};
use crate::secret::Secret;

/// What a job is reported by, also one that cannot be read.
#[derive(Clone, Debug)]
pub struct JobKey {
    /// The coordinator's number of the job.
    pub id: u64,
    /// What the coordinator knows the job by.
    pub token: Secret,
    /// Whose habits the coordinator has.
    pub kind: Kind,
    /// What it says that it can do.
    pub features: Features,
}

/// The members of a payload that make a job reportable.
#[derive(Default)]
pub(super) struct Found {
    id: Option<u64>,
    token: Option<String>,
    kind: Kind,
    features: Features,
}

impl Found {
    /// Takes them from a payload.
    ///
    /// # Errors
    /// If the payload is no JSON. What stands before the place of the error is taken.
    pub fn read(&mut self, body: &[u8]) -> serde_json::Result<()> {
        let mut input = serde_json::Deserializer::from_slice(body);
        input.deserialize_map(Members(self))?;
        input.end()
    }

    /// The key, unless the id or the token did not come through.
    pub fn key(self) -> Option<JobKey> {
        Some(JobKey {
            id: self.id?,
            token: Secret::new(self.token?),
            kind: self.kind,
            features: self.features,
        })
    }
}

struct Members<'a>(&'a mut Found);

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object with `id` and `token`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "id" => self.0.id = Some(map.next_value()?),
                "token" => self.0.token = Some(map.next_value()?),
                "features" => self.0.features = lenient(map.next_value()?),
                "job_info" if is_gitlabs(&lenient(map.next_value()?)) => {
                    self.0.kind = Kind::GitLab;
                }
                "variables" if names_gitlab(map.next_value()?) => self.0.kind = Kind::GitLab,
                "job_info" | "variables" => {}
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// What a value says, or nothing where it has another form: what is wrong with it is told when the job is read.
fn lenient<T: DeserializeOwned + Default>(value: &RawValue) -> T {
    serde_json::from_str(value.get()).unwrap_or_default()
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JobInfo {
    project_full_path: Option<IgnoredAny>,
}

/// Whether only GitLab describes a job so.
fn is_gitlabs(info: &JobInfo) -> bool {
    info.project_full_path.is_some()
}

#[derive(Default, Deserialize)]
struct Named {
    #[serde(default, deserialize_with = "value::text")]
    key: Option<String>,
}

/// Whether `GITLAB_CI` is among variables.
fn names_gitlab(variables: &RawValue) -> bool {
    let mut input = serde_json::Deserializer::from_str(variables.get());
    let list = value::list::<_, &RawValue>(&mut input).unwrap_or_default();
    let mut named = list.into_iter().flatten().map(lenient::<Named>);
    named.any(|variable| variable.key.as_deref() == Some("GITLAB_CI"))
}

#[cfg(test)]
mod tests {
    use super::{Found, Kind};

    fn read(body: &str) -> (Option<u64>, Kind, usize) {
        let mut found = Found::default();
        // It is torn here and there.
        let _ = found.read(body.as_bytes());
        let key = found.key();
        key.map_or((None, Kind::AlloyCi, 0), |key| {
            (Some(key.id), key.kind, key.features.failure_reasons.len())
        })
    }

    #[test]
    fn a_job_that_cannot_be_read_is_reported_to_the_coordinator_that_it_came_from() {
        const HEAD: &str = r#"{"id": 7, "token": "t", "job_info": {"name": "x"}"#;
        for (rest, kind, reasons) in [
            ("}", Kind::AlloyCi, 0),
            (r#", "variables": [{"key": "CI"}, null]}"#, Kind::AlloyCi, 0),
            (
                r#", "variables": [{"key": "CI"}, 7, {"key": "GITLAB_CI", "value": [1]}]}"#,
                Kind::GitLab,
                0,
            ),
            (
                r#", "variables": [{"key": "GITLAB_CI"}], "steps": [{"#,
                Kind::GitLab,
                0,
            ),
            (
                r#", "variables": 7, "features": {"failure_reasons": ["a", null]}}"#,
                Kind::AlloyCi,
                1,
            ),
            (r#", "features": ["x"]}"#, Kind::AlloyCi, 0),
            (r#", "features": null}"#, Kind::AlloyCi, 0),
        ] {
            assert_eq!(
                read(&format!("{HEAD}{rest}")),
                (Some(7), kind, reasons),
                "{rest}"
            );
        }
        let torn =
            r#"{"id": 7, "token": "t", "job_info": {"project_full_path": "a/b"}, "variables": [{"#;
        assert_eq!(read(torn), (Some(7), Kind::GitLab, 0));
        assert_eq!(read(r#"{"id": 7"#), (None, Kind::AlloyCi, 0));
    }
}
