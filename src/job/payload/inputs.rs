//! The inputs of a job: `${{ job.inputs.NAME }}` stands for one in its scripts, images, services, artifacts and caches.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::value;
use crate::job::Job;
use crate::job::files::CachePolicy;
use crate::outcome::InputError;

const BEGIN: &str = "${{";
const END: &str = "}}";
/// What an input's name stands behind.
const OWNER: &str = "job.inputs.";
/// How many bytes inputs may become in all of a job.
const MOST: usize = 4 << 20;
/// How many characters of an expression are shown.
const SHOWN: usize = 60;

/// An input as it is sent.
#[derive(Deserialize)]
pub(super) struct Input {
    key: String,
    value: InputValue,
}

#[derive(Deserialize)]
struct InputValue {
    /// A list or an object has no text.
    #[serde(default, deserialize_with = "value::text")]
    content: Option<String>,
    #[serde(default)]
    sensitive: Option<bool>,
}

/// The inputs by their names, and what takes the place of each: nothing can take that of a list, an object, or a secret.
pub(super) struct Inputs(BTreeMap<String, Option<String>>);

impl Inputs {
    pub fn new(sent: Vec<Input>) -> Self {
        let inputs = sent.into_iter().map(|Input { key, value }| {
            let is_secret = value.sensitive.unwrap_or_default();
            (key, value.content.filter(|_| !is_secret))
        });
        Self(inputs.collect())
    }

    /// Puts them in their places. A job without inputs may mean something else by such a text.
    ///
    /// # Errors
    /// [`InputError`] for an expression that is no input.
    pub fn fill(&self, job: &mut Job) -> Result<(), InputError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut texts: Vec<&mut String> = Vec::new();
        texts.extend(job.script.iter_mut().chain(&mut job.after_script));
        texts.extend(job.releases.iter_mut().flat_map(|step| &mut step.script));
        for image in job.image.iter_mut().chain(&mut job.services) {
            texts.push(&mut image.name);
            texts.extend(image.entrypoint.iter_mut().flatten());
            texts.extend(image.command.iter_mut().flatten());
            texts.extend(&mut image.pull_policy);
            texts.extend(&mut image.docker.platform);
            texts.extend(&mut image.docker.user);
        }
        for artifacts in &mut job.artifacts {
            texts.extend(&mut artifacts.name);
            texts.extend(artifacts.paths.iter_mut().chain(&mut artifacts.exclude));
            texts.extend(&mut artifacts.expire_in);
        }
        for cache in &mut job.caches {
            texts.extend(&mut cache.key);
            texts.extend(cache.paths.iter_mut().chain(&mut cache.fallback_keys));
            texts.extend(&mut cache.when);
            if let CachePolicy::Expanded(policy) = &mut cache.policy {
                texts.push(policy);
            }
        }
        let mut room = MOST;
        for text in texts {
            if text.contains(BEGIN) {
                *text = self.filled(text, &mut room)?;
            }
        }
        Ok(())
    }

    /// A text with its inputs, which take of `room`.
    fn filled(&self, text: &str, room: &mut usize) -> Result<String, InputError> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(BEGIN) {
            filled.push_str(before);
            let (inside, behind) = after
                .split_once(END)
                .ok_or_else(|| wrong(after, &format!("does not end with `{END}`")))?;
            let value = self.value(inside.trim())?;
            *room = room.checked_sub(value.len()).ok_or_else(|| {
                wrong(
                    inside,
                    &format!("is one too many: inputs have {MOST} bytes in all"),
                )
            })?;
            filled.push_str(value);
            rest = behind;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn value(&self, expression: &str) -> Result<&str, InputError> {
        let name = expression.strip_prefix(OWNER).unwrap_or_default();
        match self.0.get(name) {
            Some(Some(value)) => Ok(value),
            Some(None) => Err(wrong(
                expression,
                "is a list, an object or a secret, which this runner puts into no text",
            )),
            None => {
                let names: Vec<String> =
                    self.0.keys().map(|name| format!("{OWNER}{name}")).collect();
                let what = format!("is no input of the job; it has {}", names.join(", "));
                Err(wrong(expression, &what))
            }
        }
    }
}

fn wrong(expression: &str, what: &str) -> InputError {
    let shown: String = expression.chars().take(SHOWN).collect();
    InputError::new(format!(
        "the job cannot be run: `{BEGIN} {} {END}` {what}",
        shown.trim().escape_debug()
    ))
}
