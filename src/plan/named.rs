//! Names of images, and who named them: that is what an error begins with.

use std::borrow::Cow;
use std::fmt;

use crate::docker::Reference;
use crate::job::variables::Variables;
use crate::keypath::KeyPath;
use crate::outcome::InputError;

/// Where a name stands.
#[derive(Clone)]
pub(super) enum NamedBy {
    /// In a job: `test.image`.
    Job(KeyPath),
    /// In the runner's settings: `docker.image`.
    Runner(Cow<'static, str>),
}

impl NamedBy {
    /// An error about it.
    pub fn error(&self, what: impl fmt::Display) -> InputError {
        match self {
            Self::Job(path) => InputError::at(path, what),
            Self::Runner(key) => InputError::new(format!("{key}: {what}")),
        }
    }

    /// A value below it.
    pub fn key(&self, key: &str) -> Self {
        match self {
            Self::Job(path) => Self::Job(path.key(key)),
            Self::Runner(above) => Self::Runner(format!("{above}.{key}").into()),
        }
    }

    /// Expands a text that all users of the host and of the engine can see.
    ///
    /// # Errors
    /// [`InputError`] that names the variable, where the text refers to a secret.
    pub fn expand(&self, text: &str, variables: &Variables) -> Result<String, InputError> {
        match variables.secret_in(text) {
            None => Ok(variables.expand(text)),
            Some(name) => Err(self.error(format_args!(
                "it refers to the secret variable {name}, and everybody sees names of images and services; if it is no \
                 secret, say so: `variables` of the job file are public, and so is --env {name}=VALUE of exec; in GitLab, \
                 one that is not masked is none"
            ))),
        }
    }

    /// Reads an image's name, references to variables expanded.
    ///
    /// # Errors
    /// As [`NamedBy::expand`], and [`InputError`] that names the variables which are empty, where it is no name.
    pub fn image(&self, text: &str, variables: &Variables) -> Result<Reference, InputError> {
        let name = self.expand(text, variables)?;
        Reference::parse(&name).map_err(|what| {
            let blanks = variables.blanks(text);
            match &blanks[..] {
                [] => self.error(what),
                [one] => self.error(format_args!(
                    "`{text}` comes to `{name}`, which is no image name: the variable {one} is empty or not set"
                )),
                several => self.error(format_args!(
                    "`{text}` comes to `{name}`, which is no image name: the variables {} are empty or not set",
                    several.join(", ")
                )),
            }
        })
    }
}
