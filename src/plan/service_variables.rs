//! The variables of a service: those of the job that everybody may see, and its own.

use super::containers::{Builder, must_rename};
use super::named::NamedBy;
use crate::docker::{DockerCommand, Word};
use crate::job::ImageSpec;
use crate::job::variables::{Variable, assignment, check_value, is_name, not_a_name};
use crate::outcome::InputError;
use crate::secret::Secret;

/// The variable with the port that a service is asked on.
const PORT: &str = "HEALTHCHECK_TCP_PORT";

/// Variables of one service alone.
pub(super) struct OwnVariables(Vec<Variable>);

impl Builder<'_> {
    /// A service with its own variables, and what it gets of the job's.
    pub fn with_variables(&self, run: DockerCommand, own: &OwnVariables) -> DockerCommand {
        let is_own = |name: &str| own.0.iter().any(|own| own.name == name);
        let shared = self.variables.iter();
        let shared = shared.filter(|it| it.public && !it.file && !is_own(&it.name));
        shared.chain(&own.0).fold(run, |run, variable| {
            if variable.public {
                run.env(&variable.name, variable.value.expose())
            } else {
                run.secret_env(&variable.name, &variable.value)
            }
        })
    }

    /// What a service alone gets: its `environment` in the configuration, or the `variables` that a coordinator sends for
    /// it, which may refer to those of the job.
    ///
    /// # Errors
    /// [`InputError`] where no container can get one of them.
    pub fn own_variables(
        &self,
        by: &NamedBy,
        spec: &ImageSpec,
    ) -> Result<OwnVariables, InputError> {
        let mut own = Vec::new();
        for entry in &spec.environment {
            let (name, value) =
                assignment(entry).map_err(|what| by.key("environment").error(what))?;
            own.push(Variable::public(name, value));
        }
        let by = by.key("variables");
        for variable in &spec.variables {
            let name = &variable.name;
            if !is_name(name) {
                return Err(by.error(not_a_name(name)));
            }
            let text = variable.value.expose();
            let (value, refers) = if variable.raw {
                (text.to_owned(), false)
            } else {
                let shows = self.variables.shows_no_secret(text);
                (self.variables.expand(text), !shows)
            };
            check_value(name, &value)?;
            let variable = Variable {
                value: Secret::new(value),
                public: variable.public && !refers,
                ..variable.clone()
            };
            // A service runs no script of ours, which could give it its name back.
            if must_rename(&variable) {
                return Err(by.error(format_args!(
                    "{} leads docker itself: no long secret, nor one of several lines, can be given by that name",
                    variable.name
                )));
            }
            own.push(variable);
        }
        Ok(OwnVariables(own))
    }
}

impl OwnVariables {
    /// The port that they say the service is to be asked on, in place of those of its image.
    ///
    /// # Errors
    /// [`InputError`] where that is none.
    pub fn port(&self, by: &NamedBy) -> Result<Option<Word>, InputError> {
        let Some(own) = self.0.iter().rev().find(|own| own.name == PORT) else {
            return Ok(None);
        };
        let text = own.value.expose().trim();
        if text.is_empty() {
            return Ok(None);
        }
        let port = text.parse().ok().filter(|port: &u16| *port > 0);
        let shown = if own.public { text } else { "(a secret)" };
        let port = port.ok_or_else(|| {
            by.key("variables").error(format_args!(
                "{PORT} is `{}`, which is no port: a number from 1 to 65535",
                shown.escape_debug()
            ))
        })?;
        Ok(Some(format!("{port}/tcp").into()))
    }
}
