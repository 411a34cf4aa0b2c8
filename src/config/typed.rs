//! Reads TOML into the tables of a configuration, as a serde deserializer whose errors know the path of the wrong
//! value. Place and words of a message are made from this path, in the same way for every key.

use std::fmt;

use serde::Deserializer;
use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Error, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use toml::de::{DeInteger, DeTable, DeValue};

use crate::keypath::{KeyPath, Step};
use crate::nearest::nearest_hint;

/// The error about a wrong value.
#[derive(Debug)]
pub(super) struct Wrong {
    /// The path of the value, the innermost step first.
    steps: Vec<Step>,
    /// What is wrong with it.
    pub why: Why,
}

/// What is wrong with a value.
#[derive(Debug)]
pub(super) enum Why {
    /// Its type is not the one that is expected here, in serde's words.
    Kind(String),
    /// Anything else, as a sentence.
    Said(String),
}

impl Wrong {
    fn new(why: Why) -> Self {
        Self {
            steps: Vec::new(),
            why,
        }
    }

    fn below(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// The path of the value.
    pub fn path(&self) -> KeyPath {
        let steps = self.steps.iter().rev();
        steps.fold(KeyPath::default(), |path, step| match step {
            Step::Key(key) => path.key(key),
            Step::Index(index) => path.index(*index),
        })
    }
}

impl Error for Wrong {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self::new(Why::Said(what.to_string()))
    }

    fn invalid_type(_: Unexpected, expected: &dyn Expected) -> Self {
        Self::new(Why::Kind(expected.to_string()))
    }

    fn invalid_value(_: Unexpected, expected: &dyn Expected) -> Self {
        Self::new(Why::Kind(expected.to_string()))
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        Self::custom(no_such_word(found, known))
    }

    fn missing_field(key: &'static str) -> Self {
        Self::custom(format_args!("it has no `{key}`; write {key} = \"…\""))
    }

    fn duplicate_field(key: &'static str) -> Self {
        Self::custom(format_args!(
            "`{key}` is there twice, by two names; keep one"
        ))
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Why::Kind(expected) => write!(f, "{}: expected {expected}", self.path()),
            Why::Said(what) => write!(f, "{}: {what}", self.path()),
        }
    }
}

impl std::error::Error for Wrong {}

/// A TOML value as a deserializer.
#[derive(Clone, Copy)]
pub(super) struct Input<'a, 'i>(pub &'a DeValue<'i>);

impl<'de> Deserializer<'de> for Input<'_, '_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.0 {
            DeValue::String(text) => visitor.visit_str(text),
            DeValue::Integer(number) => match (integer(number), natural(number)) {
                (Some(number), _) => visitor.visit_i64(number),
                (None, Some(number)) => visitor.visit_u64(number),
                (None, None) => Err(Wrong::custom("the number is too large")),
            },
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => visitor.visit_f64(number),
                Err(_) => Err(Wrong::custom("it is no number")),
            },
            DeValue::Boolean(on) => visitor.visit_bool(*on),
            DeValue::Datetime(_) => Err(Wrong::invalid_type(Unexpected::Other("a date"), &visitor)),
            DeValue::Array(list) => visitor.visit_seq(Elements(list.iter().enumerate())),
            DeValue::Table(table) => visitor.visit_map(Members {
                rest: table.iter(),
                next: None,
            }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match self.0 {
            DeValue::String(text) => {
                let text: StrDeserializer<Wrong> = text.as_ref().into_deserializer();
                visitor.visit_enum(text)
            }
            _ => Err(Wrong::new(Why::Kind(format!(
                "one of \"{}\"",
                words.join("\", \"")
            )))),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier
    }
}

fn integer(number: &DeInteger) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn natural(number: &DeInteger) -> Option<u64> {
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

type Value<'i> = toml::Spanned<DeValue<'i>>;

struct Elements<'a, 'i>(std::iter::Enumerate<std::slice::Iter<'a, Value<'i>>>);

impl<'de> SeqAccess<'de> for Elements<'_, '_> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Wrong> {
        let Some((index, value)) = self.0.next() else {
            return Ok(None);
        };
        seed.deserialize(Input(value.get_ref()))
            .map(Some)
            .map_err(|wrong| wrong.below(Step::Index(index)))
    }
}

struct Members<
    'a,
    'i,
    I: Iterator<Item = (&'a toml::Spanned<toml::de::DeString<'i>>, &'a Value<'i>)>,
> where
    'i: 'a,
{
    rest: I,
    next: Option<(&'a str, &'a Value<'i>)>,
}

impl<'de, 'a, 'i, I> MapAccess<'de> for Members<'a, 'i, I>
where
    I: Iterator<Item = (&'a toml::Spanned<toml::de::DeString<'i>>, &'a Value<'i>)>,
{
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Wrong> {
        self.next = self
            .rest
            .next()
            .map(|(key, value)| (key.get_ref().as_ref(), value));
        let Some((key, _)) = self.next else {
            return Ok(None);
        };
        let key: StrDeserializer<Wrong> = key.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Wrong> {
        let Some((key, value)) = self.next.take() else {
            return Err(Wrong::custom("a value without a key"));
        };
        seed.deserialize(Input(value.get_ref()))
            .map_err(|wrong| wrong.below(Step::Key(key.to_owned())))
    }
}

/// The message that a word is not one of those that are known.
pub(super) fn no_such_word(found: &str, known: &[&str]) -> String {
    let words: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
    format!(
        "there is no `{found}`{}; there are {}",
        nearest_hint(found, known),
        words.join(", ")
    )
}

/// The value at a path, or at as much of the path as exists.
pub(super) fn at<'a, 'i>(table: &'a DeTable<'i>, path: &KeyPath) -> Option<&'a Value<'i>> {
    let mut found: Option<&Value> = None;
    for step in path.steps() {
        let next = match (step, found.map(toml::Spanned::get_ref)) {
            (Step::Key(key), None) => table.get(key.as_str()),
            (Step::Key(key), Some(DeValue::Table(table))) => table.get(key.as_str()),
            (Step::Index(index), Some(DeValue::Array(list))) => list.get(*index),
            _ => None,
        };
        match next {
            Some(next) => found = Some(next),
            None => break,
        }
    }
    found
}

/// The message about a value of a wrong type: what was expected, what was found, and what to write.
pub(super) fn sentence(expected: &str, path: &KeyPath, found: Option<&DeValue>) -> String {
    let words = match expected {
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "path string" => "a string",
        "a sequence" => "a list",
        "a map" => "a table",
        other if other.starts_with("struct ") => "a table",
        other => other,
    };
    let Some(found) = found else {
        return format!("expected {words}");
    };
    let keys = path.steps().iter().filter_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Index(_) => None,
    });
    let keys: Vec<&str> = keys.collect();
    let key = keys.last().copied().unwrap_or_default();
    let remedy =
        remedy(words, &keys, found).map_or_else(String::new, |what| format!("; write {what}"));
    format!("expected {words}, not {}{remedy}", described(key, found))
}

/// Keys whose values are not shown, because they may be secrets.
const HIDDEN: &[&str] = &[
    "token",
    "environment",
    "AccessKey",
    "SecretKey",
    "SessionToken",
];
/// Longer strings are not shown.
const SHOWN: usize = 60;

fn described(key: &str, found: &DeValue) -> String {
    match found {
        DeValue::String(_) if HIDDEN.contains(&key) => "a string".to_owned(),
        DeValue::String(text) if text.chars().count() > SHOWN => "a long string".to_owned(),
        DeValue::String(text) => format!("the string \"{text}\""),
        DeValue::Integer(number) => format!("the number {}", number.as_str()),
        DeValue::Float(number) => format!("the number {}", number.as_str()),
        DeValue::Boolean(on) => on.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// What to write, if the wrong value shows what was meant.
fn remedy(expected: &str, keys: &[&str], found: &DeValue) -> Option<String> {
    let key = keys.last().copied().unwrap_or_default();
    let text = match found {
        DeValue::String(_) if HIDDEN.contains(&key) => Some("…"),
        DeValue::String(text) => Some(text.as_ref()),
        DeValue::Integer(number) => Some(number.as_str()),
        DeValue::Float(number) => Some(number.as_str()),
        DeValue::Boolean(on) => Some(if *on { "true" } else { "false" }),
        _ => None,
    };
    let lists = expected.contains("a list");
    match (expected, found) {
        ("a whole number" | "a whole number from 0", DeValue::String(text)) => number(key, text),
        ("true or false", _) => match text?.to_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some("true".to_owned()),
            "false" | "no" | "off" | "0" => Some("false".to_owned()),
            _ => None,
        },
        (_, DeValue::Array(list)) if expected.starts_with("a table") => {
            let tables = list.iter().all(|entry| entry.get_ref().is_table());
            tables.then(|| format!("[{}] in single brackets", keys.join(".")))
        }
        (_, DeValue::Table(_)) if lists => {
            Some(format!("[[{}]] in double brackets", keys.join(".")))
        }
        (_, DeValue::String(_)) if lists => Some(format!("{key} = [\"{}\"]", text?)),
        ("a table", _) => Some(format!("{key} = {{ \"NAME\" = \"VALUE\" }}")),
        (_, DeValue::Array(list)) if expected.starts_with("a string") => match &list[..] {
            [one] => one
                .get_ref()
                .as_str()
                .map(|one| format!("{key} = \"{one}\"")),
            _ => None,
        },
        _ if expected.starts_with("a string") => Some(format!("\"{}\"", text?)),
        _ => None,
    }
}

/// The number that a string contains, perhaps with a unit.
fn number(key: &str, text: &str) -> Option<String> {
    let digits = text
        .trim()
        .trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: i64 = digits.trim().parse().ok()?;
    let unit = text.trim()[digits.len()..].to_ascii_lowercase();
    let seconds = key.ends_with("timeout") || key.ends_with("interval");
    let (factor, of) = match unit.as_str() {
        "" => (1, ""),
        "s" | "sec" if seconds => (1, " (seconds)"),
        "m" | "min" if seconds => (60, " (seconds)"),
        "h" if seconds => (3600, " (seconds)"),
        "k" | "kb" | "kib" if key == "shm_size" => (1 << 10, " (bytes)"),
        "m" | "mb" | "mib" if key == "shm_size" => (1 << 20, " (bytes)"),
        "g" | "gb" | "gib" if key == "shm_size" => (1 << 30, " (bytes)"),
        _ => return Some("the number alone, without a unit".to_owned()),
    };
    Some(format!("{}{of}", number.checked_mul(factor)?))
}
