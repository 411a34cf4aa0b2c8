//! Values that may be written in two ways. Its first letter tells which one it is, so that what is wrong inside is
//! said of what is wrong there.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// An image as it is written: its name, or a table with its keys.
pub(super) enum ImageForm {
    Name(String),
    Table(ImageTable),
}

#[derive(Deserialize)]
pub(super) struct ImageTable {
    pub name: String,
    #[serde(default)]
    pub alias: Option<OneOrMany<String>>,
    #[serde(default)]
    pub entrypoint: Option<OneOrMany<String>>,
    #[serde(default)]
    pub command: Option<OneOrMany<String>>,
    #[serde(default)]
    pub environment: Vec<String>,
    #[serde(default)]
    pub pull_policy: Option<OneOrMany<String>>,
    #[serde(default)]
    pub docker: Option<DockerOptions>,
}

/// What a job may say to docker of a container, unexpanded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct DockerOptions {
    /// The image's, where it has several: `linux/arm64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Whom its processes run as: a name or a number, with a group behind a colon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

impl DockerOptions {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A list; where it has one element, that may stand by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OneOrMany<T> {
    /// An element by itself.
    One(T),
    /// A list.
    Many(Vec<T>),
}

impl<T> From<OneOrMany<T>> for Vec<T> {
    fn from(form: OneOrMany<T>) -> Self {
        match form {
            OneOrMany::One(element) => vec![element],
            OneOrMany::Many(elements) => elements,
        }
    }
}

impl<'de> Deserialize<'de> for ImageForm {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(ImageVisitor)
    }
}

struct ImageVisitor;

impl<'de> Visitor<'de> for ImageVisitor {
    type Value = ImageForm;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a string or an object with `name`, `alias`, `entrypoint`, `command`")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<ImageForm, E> {
        Ok(ImageForm::Name(name.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<ImageForm, A::Error> {
        ImageTable::deserialize(MapAccessDeserializer::new(members)).map(ImageForm::Table)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(OneOrManyVisitor(PhantomData))
    }
}

struct OneOrManyVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrManyVisitor<T> {
    type Value = OneOrMany<T>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a string or a list of strings")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<OneOrMany<T>, E> {
        T::deserialize(text.into_deserializer()).map(OneOrMany::One)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<OneOrMany<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members)).map(OneOrMany::One)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<OneOrMany<T>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(elements)).map(OneOrMany::Many)
    }
}
