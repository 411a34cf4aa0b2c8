//! JSON: the tree, and where in the text its values stand.

use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::place::{Position, Unreadable, position as position_of, twice};
use crate::keypath::{KeyPath, Step};

pub(super) fn tree(text: &str) -> Result<Value, Unreadable> {
    serde_json::from_str(text)
        .map(|Tree(tree)| tree)
        .map_err(|error| {
            let what = error.to_string();
            let what = what.split(" at line ").next().unwrap_or_default();
            let (line, column) = (error.line(), error.column());
            if !error.is_data() {
                return Unreadable {
                    at: Some((line, column)),
                    what: format!("not JSON: {what}"),
                };
            }
            // It is said behind the key.
            let begin = text
                .split_inclusive('\n')
                .take(line - 1)
                .map(str::len)
                .sum::<usize>();
            let key = text.get(begin..begin + column).and_then(|line| {
                let quoted = line.strip_suffix('"')?;
                Some(begin + quoted.rfind('"')?)
            });
            Unreadable {
                at: Some(key.map_or((line, column), |offset| position_of(text, offset))),
                what: what.to_owned(),
            }
        })
}

/// A value in which no object has a key twice.
struct Tree(Value);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, on: bool) -> Result<Tree, E> {
        Ok(Tree(on.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Tree, E> {
        Ok(Tree(number.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree(text.into()))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut elements = Vec::new();
        while let Some(Tree(element)) = list.next_element()? {
            elements.push(element);
        }
        Ok(Tree(Value::Array(elements)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut members = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if members.contains_key(&key) {
                return Err(A::Error::custom(twice(&key)));
            }
            let Tree(value) = map.next_value()?;
            members.insert(key, value);
        }
        Ok(Tree(Value::Object(members)))
    }
}

/// Where a value, or the key before it, stands in a text that is JSON.
pub(super) fn position(text: &str, path: &KeyPath, of_key: bool) -> Option<Position> {
    let mut value = text;
    let mut key = None;
    for step in path.steps() {
        (key, value) = match step {
            Step::Key(name) => {
                let Members(members) = serde_json::from_str(value).ok()?;
                let is_it = |(key, _): &(&RawValue, &RawValue)| {
                    serde_json::from_str::<String>(key.get()).is_ok_and(|key| key == *name)
                };
                let (key, value) = members.into_iter().find(is_it)?;
                (Some(key.get()), value.get())
            }
            Step::Index(index) => {
                let elements: Vec<&RawValue> = serde_json::from_str(value).ok()?;
                (None, elements.get(*index)?.get())
            }
        };
    }
    let found = key.filter(|_| of_key).unwrap_or(value);
    let found = found.trim_start();
    // All are parts of the text.
    let offset = (found.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    Some(position_of(text, offset))
}

/// The members of an object, as they are written.
struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        input.deserialize_map(MembersVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::{position, tree};
    use crate::keypath::KeyPath;

    #[test]
    fn values_and_keys_have_places() {
        let text = "{\n  \"é\": {\"b\": [1,\n   {\"c\\u0064\": 2}]}}";
        let list = KeyPath::of("é").key("b");
        for (path, of_key, want) in [
            (KeyPath::default(), false, Some((1, 1))),
            (KeyPath::of("é"), true, Some((2, 3))),
            (list.clone(), true, Some((2, 9))),
            (list.clone(), false, Some((2, 14))),
            (list.index(0), false, Some((2, 15))),
            (list.index(1).key("cd"), true, Some((3, 5))),
            (list.index(1).key("cd"), false, Some((3, 16))),
            (list.index(2), false, None),
            (list.key("x"), false, None),
        ] {
            assert_eq!(position(text, &path, of_key), want, "{path}");
        }
    }

    #[test]
    fn a_key_that_comes_twice_is_named_where_it_comes_again() {
        let error = tree("{\"a\": {\"b\": 1,\n \"c\": 2, \"b\": 3}}").err();
        let error = error.expect("twice");
        assert_eq!(error.at, Some((2, 10)));
        assert!(error.what.contains("`b`"), "{}", error.what);
        let deep = "[".repeat(100_000);
        assert!(tree(&deep).is_err());
    }
}
