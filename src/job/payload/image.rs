//! The images of a payload: the job's and its services'. Nothing in it has to be set: coordinators send `null` or an
//! empty name for what is not. In a job file that is a mistake, so its images are read by `job::forms`.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::value;
use crate::job::forms::{ImageForm, ImageTable};
use crate::job::variables::Variable;
use crate::job::{DockerOptions, ImageSpec, OneOrMany};
use crate::outcome::InputError;

/// An image as it is sent: its name as a string, or an object. A list is refused: serde would take its elements for the
/// values of the object's keys, in their order.
pub(super) struct PayloadImage(PayloadImageObject);

impl<'de> Deserialize<'de> for PayloadImage {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct StringOrObject;
        impl<'de> Visitor<'de> for StringOrObject {
            type Value = PayloadImage;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string or an object with `name`")
            }

            fn visit_str<E>(self, name: &str) -> Result<PayloadImage, E> {
                Ok(PayloadImage(PayloadImageObject {
                    name: Some(name.to_owned()),
                    ..PayloadImageObject::default()
                }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PayloadImage, A::Error> {
                PayloadImageObject::deserialize(MapAccessDeserializer::new(map)).map(PayloadImage)
            }
        }
        input.deserialize_any(StringOrObject)
    }
}

/// The keys are those of an [`ImageSpec`]; the lists may also be single strings.
#[derive(Default, Deserialize)]
struct PayloadImageObject {
    name: Option<String>,
    #[serde(default, deserialize_with = "value::words")]
    alias: Option<Vec<String>>,
    #[serde(default, deserialize_with = "value::words")]
    entrypoint: Option<Vec<String>>,
    #[serde(default, deserialize_with = "value::words")]
    command: Option<Vec<String>>,
    #[serde(default, deserialize_with = "value::words")]
    pull_policy: Option<Vec<String>>,
    executor_opts: Option<ExecutorOptions>,
    #[serde(default, deserialize_with = "value::list")]
    variables: Option<Vec<ServiceVariable>>,
}

/// What is told to executors, by their names; those of others are not for this runner.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ExecutorOptions {
    docker: Option<SentDockerOptions>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SentDockerOptions {
    platform: Option<String>,
    /// A number, too.
    #[serde(deserialize_with = "value::text")]
    user: Option<String>,
}

/// A variable of one service. Unlike those of the job it is written in the job file, where everybody can read it.
#[derive(Deserialize)]
struct ServiceVariable {
    key: String,
    #[serde(default = "value::empty", deserialize_with = "value::text")]
    value: Option<String>,
    public: Option<bool>,
    masked: Option<bool>,
    raw: Option<bool>,
}

impl ServiceVariable {
    /// `None` for a value that is none.
    fn into_variable(self) -> Option<Variable> {
        let masked = self.masked.unwrap_or_default();
        Some(Variable {
            public: self.public.unwrap_or(true) && !masked,
            secret: masked,
            raw: self.raw.unwrap_or_default(),
            ..Variable::public(self.key, self.value?)
        })
    }
}

impl PayloadImage {
    /// The image to use; `None` if it has no name. A job then runs in the default image of the runner.
    pub fn into_spec(self) -> Option<ImageSpec> {
        let Self(sent) = self;
        let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        let options = sent.executor_opts.and_then(|options| options.docker);
        let options = options.unwrap_or_default();
        let options = DockerOptions {
            platform: given(options.platform),
            user: given(options.user),
        };
        let form = ImageForm::Table(ImageTable {
            name: sent.name.filter(|name| !name.trim().is_empty())?,
            alias: sent.alias.map(OneOrMany::Many),
            entrypoint: sent.entrypoint.map(OneOrMany::Many),
            command: sent.command.map(OneOrMany::Many),
            // Only services of the configuration have one.
            environment: Vec::new(),
            pull_policy: sent.pull_policy.map(OneOrMany::Many),
            docker: Some(options),
        });
        let variables = sent.variables.into_iter().flatten();
        Some(ImageSpec {
            variables: variables
                .filter_map(ServiceVariable::into_variable)
                .collect(),
            ..form.into()
        })
    }
}

/// The services. One without a name is an error: without it, the job might succeed and have tested nothing.
pub(super) fn services(sent: Vec<PayloadImage>) -> Result<Vec<ImageSpec>, InputError> {
    let specs = sent.into_iter().enumerate().map(|(index, service)| {
        let nameless = || {
            InputError::new(format!(
                "the job cannot be run: services[{index}] has no name; name its image"
            ))
        };
        service.into_spec().ok_or_else(nameless)
    });
    specs.collect()
}
