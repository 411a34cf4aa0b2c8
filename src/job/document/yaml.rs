//! YAML: the tree, and where in the text its values stand.

use std::fmt;

use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_saphyr::{Error, Spanned};

use super::place::{Position, Unreadable, twice};
use crate::keypath::{KeyPath, Step};

pub(super) fn tree(text: &str) -> Result<Value, Unreadable> {
    read(text).map_err(|error: Error| {
        let at = error
            .location()
            .map(|at| (count(at.line()), count(at.column())));
        let what = match error.without_snippet() {
            Error::DuplicateMappingKey { key, .. } => twice(key.as_deref().unwrap_or_default()),
            error => {
                let what = error.to_string();
                let what = what.lines().next().unwrap_or_default();
                let what = what.split(" at line ").next().unwrap_or_default();
                format!("not YAML: {what}")
            }
        };
        Unreadable { at, what }
    })
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    // As YAML 1.2 has it: `y` and `on` are words, as they are in commands, and `0644` is one too.
    let options = serde_saphyr::options! {
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
    };
    serde_saphyr::from_str_with_options(text, options)
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Where a value, or the key before it, stands in a text that is YAML. What an alias brings stands where it is defined.
pub(super) fn position(text: &str, path: &KeyPath, of_key: bool) -> Option<Position> {
    let whole: Spanned<Node> = read(text).ok()?;
    let mut value = &whole;
    let mut key = None;
    for step in path.steps() {
        (key, value) = match (step, &value.value) {
            (Step::Key(name), Node::Members(members)) => {
                let (key, value) = members.iter().find(|(key, _)| key.value == *name)?;
                (Some(key.defined), value)
            }
            (Step::Index(index), Node::Elements(elements)) => (None, elements.get(*index)?),
            _ => return None,
        };
    }
    let found = key.filter(|_| of_key).unwrap_or(value.defined);
    Some((count(found.line()), count(found.column())))
}

/// A value, as far as others stand in it.
enum Node {
    Members(Vec<(Spanned<String>, Spanned<Node>)>),
    Elements(Vec<Spanned<Node>>),
    Leaf,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_str<E>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_some<D: Deserializer<'de>>(self, input: D) -> Result<Node, D::Error> {
        IgnoredAny::deserialize(input).map(|_| Node::Leaf)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element()? {
            elements.push(element);
        }
        Ok(Node::Elements(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Node::Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::{position, tree};
    use crate::keypath::KeyPath;

    #[test]
    fn values_and_keys_have_places() {
        let text =
            ".t: &t\n  image: x\n\"a é\":\n  <<: *t\n  script:\n    - y\n    - echo a: b\n  n: ~\n";
        let job = KeyPath::of("a é");
        let script = job.key("script");
        for (path, of_key, want) in [
            (job.clone(), true, Some((3, 1))),
            (job.clone(), false, Some((4, 3))),
            (script.clone(), true, Some((5, 3))),
            (script.index(0), false, Some((6, 7))),
            (script.index(1).key("echo a"), true, Some((7, 7))),
            (job.key("image"), false, Some((2, 10))),
            (job.key("n"), false, Some((8, 6))),
            (job.key("x"), false, None),
        ] {
            assert_eq!(position(text, &path, of_key), want, "{path}");
        }
    }

    #[test]
    fn a_key_that_comes_twice_is_named_where_it_comes_again() {
        let error = tree("a:\n  b: 1\n  b: 2\n").expect_err("twice");
        assert_eq!(error.at, Some((3, 3)));
        assert!(error.what.starts_with("the key `b`"), "{}", error.what);
    }
}
