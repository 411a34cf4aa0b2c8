//! What may stand where in a file that a person wrote, and what to say where something else stands there.

use serde_json::{Map, Value};

use super::document::{Format, Problem};
use super::variables::{is_name, not_a_name};
use crate::keypath::KeyPath;
use crate::nearest::nearest_hint;

/// What a value has to look like. `null` is like a key that is not there.
pub(super) enum Shape {
    /// A string.
    Text,
    /// `true` or `false`, as a string too.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of such values.
    List(&'static Shape),
    /// The same, where one may stand by itself.
    OneOrMany(&'static Shape),
    /// A string, or the object that it is short for: it stands for the first key, which has to be there.
    TextOr(&'static Shape),
    /// An object with these keys.
    Table(&'static [(&'static str, Shape)]),
    /// Names of variables, and their values.
    Variables,
}

/// How many characters of a value a message shows.
const SHOWN: usize = 60;
/// Compares values with what they have to be.
pub(super) struct Checker<'a> {
    /// How the file is written.
    pub format: Format,
    /// What to say of a key that has no meaning, if there is more to say than that.
    pub foreign: &'a dyn Fn(&str) -> Option<String>,
    /// What looks wrong and stops nothing.
    pub doubts: Vec<Problem>,
}

impl Shape {
    /// What is expected, as the object of a sentence.
    fn words(&self) -> String {
        match self {
            Self::Text => "a string".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Word(words) => format!("one of {}", quoted(words.iter().copied())),
            Self::List(_) => "a list".to_owned(),
            Self::OneOrMany(Self::Text) => "a string or a list of strings".to_owned(),
            Self::OneOrMany(one) => format!("{}, or a list of them", one.words()),
            Self::TextOr(table) => format!("a string or {}", table.words()),
            Self::Table(keys) => {
                format!(
                    "an object with {}",
                    quoted(keys.iter().map(|(key, _)| *key))
                )
            }
            Self::Variables => "an object of names and values".to_owned(),
        }
    }
}

impl Checker<'_> {
    /// Checks a value.
    ///
    /// # Errors
    /// The first value of another shape. Keys that mean nothing are doubts.
    pub fn check(&mut self, shape: &Shape, value: &Value, path: &KeyPath) -> Result<(), Problem> {
        match (shape, value) {
            (_, Value::Null)
            | (Shape::Text | Shape::TextOr(_) | Shape::OneOrMany(Shape::Text), Value::String(_))
            | (Shape::Flag, Value::Bool(_)) => Ok(()),
            (Shape::Flag, Value::String(text)) if ["true", "false", ""].contains(&&**text) => {
                Ok(())
            }
            (Shape::Word(words), Value::String(text)) if words.contains(&&**text) => Ok(()),
            (Shape::Word(words), Value::String(text)) => {
                let what = format!("there is no `{}`{}", shown(text), nearest_hint(text, words));
                let others = quoted(words.iter().copied());
                Err(Problem::value(
                    path.clone(),
                    format!("{what}; there are {others}"),
                ))
            }
            (Shape::List(shape) | Shape::OneOrMany(shape), Value::Array(elements)) => {
                for (index, element) in elements.iter().enumerate() {
                    let path = path.index(index);
                    if element.is_null() {
                        return Err(self.other(shape, element, path));
                    }
                    self.check(shape, element, &path)?;
                }
                Ok(())
            }
            (Shape::TextOr(Shape::Table(keys)), Value::Object(members)) => {
                self.members(keys, members, path)?;
                match keys.first() {
                    Some((key, _)) if members.get(*key).is_none_or(Value::is_null) => {
                        let what = format!("the object has no `{key}`");
                        Err(Problem::value(path.clone(), what))
                    }
                    _ => Ok(()),
                }
            }
            (Shape::OneOrMany(shape @ Shape::Table(_)), Value::Object(_)) => {
                self.check(shape, value, path)
            }
            (Shape::Table(keys), Value::Object(members)) => self.members(keys, members, path),
            (Shape::Variables, Value::Object(members)) => Self::variables(members, path),
            _ => Err(self.other(shape, value, path.clone())),
        }
    }

    fn members(
        &mut self,
        keys: &[(&'static str, Shape)],
        members: &Map<String, Value>,
        path: &KeyPath,
    ) -> Result<(), Problem> {
        for (key, value) in members {
            let path = path.key(key);
            if let Some((_, shape)) = keys.iter().find(|(known, _)| known == key) {
                self.check(shape, value, &path)?;
                continue;
            }
            let known: Vec<&str> = keys.iter().map(|(key, _)| *key).collect();
            let what = (self.foreign)(key).unwrap_or_else(|| {
                let meant = nearest_hint(key, &known);
                let others = if meant.is_empty() {
                    format!("; there are {}", quoted(known.iter().copied()))
                } else {
                    meant
                };
                format!("unknown keyword, passed over{others}")
            });
            self.doubts.push(Problem::key(path, what));
        }
        Ok(())
    }

    fn variables(members: &Map<String, Value>, path: &KeyPath) -> Result<(), Problem> {
        for (name, value) in members {
            let path = path.key(name);
            if !is_name(name) {
                return Err(Problem::key(path, not_a_name(name)));
            }
            if matches!(value, Value::Array(_) | Value::Object(_)) {
                // As GitLab has it beside a description.
                let remedy = value.get("value").map_or_else(String::new, |value| {
                    format!("; write the value alone: {}", shown(&value.to_string()))
                });
                let what = format!(
                    "expected a string, a number or a boolean, not {}{remedy}",
                    described(value)
                );
                return Err(Problem::value(path, what));
            }
        }
        Ok(())
    }

    fn other(&self, shape: &Shape, value: &Value, path: KeyPath) -> Problem {
        let remedy = self.remedy(shape, value);
        let remedy = remedy.map_or_else(String::new, |remedy| format!("; {remedy}"));
        let what = format!(
            "expected {}, not {}{remedy}",
            shape.words(),
            described(value)
        );
        Problem::value(path, what)
    }

    /// What to write in place of a value of another shape, where that can be told. JSON is YAML too.
    fn remedy(&self, shape: &Shape, value: &Value) -> Option<String> {
        let write = |value: &Value| {
            let text = value.to_string();
            (text.chars().count() <= SHOWN).then(|| format!("write {text}"))
        };
        match (shape, value) {
            (Shape::Text | Shape::OneOrMany(Shape::Text), Value::Object(members))
                if self.format == Format::Yaml && members.len() == 1 =>
            {
                let (key, value) = members.iter().next()?;
                let value = super::variables::scalar(value)?;
                let whole = Value::String(format!("{key}: {value}").trim_end().to_owned());
                let write = write(&whole).unwrap_or_else(|| "put all of it in quotes".to_owned());
                Some(format!(
                    "the `: ` in it makes a key and a value of it: {write}"
                ))
            }
            (
                Shape::Text | Shape::OneOrMany(Shape::Text) | Shape::TextOr(_),
                Value::Array(list),
            ) => match &list[..] {
                [one] if one.is_string() => write(one),
                _ => None,
            },
            (
                Shape::Text | Shape::OneOrMany(Shape::Text) | Shape::TextOr(_),
                Value::Bool(_) | Value::Number(_),
            ) => write(&Value::String(value.to_string())),
            (Shape::Text, Value::Null) => Some("take it out, or write a string".to_owned()),
            (Shape::Flag, _) => {
                let text = super::variables::scalar(value)?.to_lowercase();
                match text.as_str() {
                    "true" | "yes" | "on" | "y" | "1" => Some("write true".to_owned()),
                    "false" | "no" | "off" | "n" | "0" => Some("write false".to_owned()),
                    _ => None,
                }
            }
            (Shape::List(_), Value::String(_) | Value::Object(_)) => {
                write(&Value::Array(vec![value.clone()]))
            }
            (Shape::Table(keys) | Shape::OneOrMany(Shape::Table(keys)), _)
                if keys.iter().any(|(key, _)| *key == "paths") =>
            {
                let paths = match value {
                    Value::String(_) => Value::Array(vec![value.clone()]),
                    Value::Array(list) if list.iter().all(Value::is_string) => value.clone(),
                    _ => return None,
                };
                write(&Value::Object(Map::from_iter([(
                    "paths".to_owned(),
                    paths,
                )])))
            }
            (Shape::Variables, Value::Array(list)) => {
                let pair = |text: &Value| {
                    let (name, value) = text.as_str()?.split_once('=')?;
                    Some((name.to_owned(), value.into()))
                };
                write(&Value::Object(
                    list.iter().map(pair).collect::<Option<_>>()?,
                ))
            }
            _ => None,
        }
    }
}

/// A value, as the end of "expected …, not".
fn described(value: &Value) -> String {
    match value {
        Value::Null => "nothing (null)".to_owned(),
        Value::Bool(on) => on.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the string \"{}\"", shown(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// The begin of a text.
fn shown(text: &str) -> String {
    let mut begin: String = text.chars().take(SHOWN).collect();
    if begin.len() < text.len() {
        begin.push('…');
    }
    begin
}

/// Words in backquotes, with commas.
fn quoted<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.map(|word| format!("`{word}`")).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Checker, Format, KeyPath, Shape};

    const PATHS: Shape = Shape::Table(&[
        ("paths", Shape::List(&Shape::Text)),
        ("untracked", Shape::Flag),
    ]);

    fn said(shape: &Shape, value: &serde_json::Value) -> String {
        let mut checker = Checker {
            format: Format::Yaml,
            foreign: &|key| (key == "needs").then(|| "not here".to_owned()),
            doubts: Vec::new(),
        };
        let result = checker.check(shape, value, &KeyPath::of("x"));
        let all = result.err().into_iter().chain(checker.doubts);
        let all: Vec<String> = all
            .map(|problem| format!("{}: {}", problem.path, problem.what))
            .collect();
        all.join("\n")
    }

    #[test]
    fn what_is_expected_what_is_there_and_what_to_write() {
        for (shape, value, want) in [
            (&PATHS, json!({"paths": ["a"], "untracked": "true"}), ""),
            (&Shape::Text, json!(null), ""),
            (
                &Shape::Text,
                json!(3),
                "x: expected a string, not the number 3; write \"3\"",
            ),
            (
                &Shape::Flag,
                json!("yes"),
                "x: expected true or false, not the string \"yes\"; write true",
            ),
            (
                &Shape::List(&Shape::Text),
                json!("a"),
                "x: expected a list, not the string \"a\"; write [\"a\"]",
            ),
            (
                &Shape::List(&Shape::Text),
                json!(["a", null]),
                "x[1]: expected a string, not nothing (null); take it out, or write a string",
            ),
            (
                &Shape::OneOrMany(&Shape::Text),
                json!([{"echo a": "b"}]),
                "x[0]: expected a string, not an object; the `: ` in it makes a key and a value of it: write \"echo a: b\"",
            ),
            (
                &Shape::OneOrMany(&PATHS),
                json!("a"),
                "x: expected an object with `paths`, `untracked`, or a list of them, not the string \"a\"; write {\"paths\":[\"a\"]}",
            ),
            (
                &PATHS,
                json!(["a"]),
                "x: expected an object with `paths`, `untracked`, not a list; write {\"paths\":[\"a\"]}",
            ),
            (
                &PATHS,
                json!({"path": []}),
                "x.path: unknown keyword, passed over (did you mean `paths`?)",
            ),
            (
                &PATHS,
                json!({"zz": 1, "needs": 2}),
                "x.zz: unknown keyword, passed over; there are `paths`, `untracked`\nx.needs: not here",
            ),
            (
                &Shape::Word(&["pull", "push"]),
                json!("pul"),
                "x: there is no `pul` (did you mean `pull`?); there are `pull`, `push`",
            ),
            (
                &Shape::Variables,
                json!(["A=1"]),
                "x: expected an object of names and values, not a list; write {\"A\":\"1\"}",
            ),
            (
                &Shape::Variables,
                json!({"A-B": 1}),
                "x.A-B: `A-B` is no name for a variable: letters, digits and underscores, no digit first; write `A_B`",
            ),
            (
                &Shape::Variables,
                json!({"A": {"value": 1, "description": "x"}}),
                "x.A: expected a string, a number or a boolean, not an object; write the value alone: 1",
            ),
            (
                &Shape::TextOr(&PATHS),
                json!(true),
                "x: expected a string or an object with `paths`, `untracked`, not true; write \"true\"",
            ),
        ] {
            assert_eq!(said(shape, &value), want, "{value}");
        }
    }
}
