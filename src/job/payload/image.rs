//! The images of a payload: the job's and its services'.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::value;
use crate::job::forms::{ImageForm, ImageTable};
use crate::job::{ImageSpec, OneOrMany};
use crate::outcome::InputError;

/// A name, or a table; a list is neither.
pub(super) struct PayloadImage(PayloadImageTable);

impl<'de> Deserialize<'de> for PayloadImage {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = PayloadImage;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string or an object with `name`")
            }

            fn visit_str<E>(self, name: &str) -> Result<PayloadImage, E> {
                Ok(PayloadImage(PayloadImageTable {
                    name: Some(name.to_owned()),
                    ..PayloadImageTable::default()
                }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PayloadImage, A::Error> {
                PayloadImageTable::deserialize(MapAccessDeserializer::new(map)).map(PayloadImage)
            }
        }
        input.deserialize_any(Forms)
    }
}

#[derive(Default, Deserialize)]
struct PayloadImageTable {
    name: Option<String>,
    #[serde(default, deserialize_with = "value::words")]
    alias: Option<Vec<String>>,
    #[serde(default, deserialize_with = "value::words")]
    entrypoint: Option<Vec<String>>,
    #[serde(default, deserialize_with = "value::words")]
    command: Option<Vec<String>>,
}

impl PayloadImage {
    /// `None` where none is named.
    pub fn into_spec(self) -> Option<ImageSpec> {
        let Self(table) = self;
        let form = ImageForm::Table(ImageTable {
            name: table.name.filter(|name| !name.trim().is_empty())?,
            alias: table.alias.map(OneOrMany::Many),
            entrypoint: table.entrypoint.map(OneOrMany::Many),
            command: table.command.map(OneOrMany::Many),
            environment: Vec::new(),
        });
        Some(form.into())
    }
}

/// The services. A job that wants one has nothing of a success without it.
pub(super) fn services(sent: Vec<PayloadImage>) -> Result<Vec<ImageSpec>, InputError> {
    let named = sent.into_iter().enumerate().map(|(index, service)| {
        let nameless = || {
            InputError::new(format!(
                "the job cannot be run: services[{index}] has no name; name its image"
            ))
        };
        service.into_spec().ok_or_else(nameless)
    });
    named.collect()
}
