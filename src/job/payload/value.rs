//! The value of a variable, whatever JSON it is, times, and lists that are no longer than anybody means them. An entry of a list
//! that is `null` is none: a coordinator sends that for what is not set.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// What a variable is without one.
#[allow(
    clippy::unnecessary_wraps,
    reason = "a default has the type of its field"
)]
pub(super) fn empty() -> Option<String> {
    Some(String::new())
}

/// A time limit; 0 is none.
pub(super) fn seconds(number: Option<u64>) -> Option<Duration> {
    number.filter(|number| *number > 0).map(Duration::from_secs)
}

/// A value as JSON has it: numbers and booleans as they are written, `null` is empty. `None` for lists and objects,
/// which are passed over without keeping them: a list in memory is twenty times what it is in JSON.
pub(super) fn text<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    struct Text;
    impl<'de> Visitor<'de> for Text {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a value")
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Some(text.to_owned()))
        }

        fn visit_bool<E>(self, on: bool) -> Result<Self::Value, E> {
            Ok(Some(on.to_string()))
        }

        fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
            Ok(Some(number.to_string()))
        }

        fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
            Ok(Some(number.to_string()))
        }

        fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
            Ok(Some(serde_json::Value::from(number).to_string()))
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(empty())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(None)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(None)
        }
    }
    input.deserialize_any(Text)
}

/// The longest list: of what it has a few letters for in JSON, each element takes hundreds of bytes in memory.
const MOST: usize = 10_000;

/// A string or a list of them, or `null` for none.
pub(super) fn words<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Vec<String>>, D::Error> {
    struct Words;
    impl<'de> Visitor<'de> for Words {
        type Value = Option<Vec<String>>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a string or a list of strings")
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Some(vec![text.to_owned()]))
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut words = Vec::new();
            while let Some(word) = list.next_element::<Option<String>>()? {
                words.extend(word);
            }
            Ok(Some(words))
        }
    }
    input.deserialize_any(Words)
}

/// The names in an object, whatever they stand for. Something else has none.
pub(super) fn names<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    struct Names;
    impl<'de> Visitor<'de> for Names {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut names = Vec::new();
            while let Some((name, _)) = map.next_entry::<String, IgnoredAny>()? {
                names.push(name);
            }
            Ok(names)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Vec::new())
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }
    }
    input.deserialize_any(Names)
}

/// A list, or `null` for none.
pub(super) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    input: D,
) -> Result<Option<Vec<T>>, D::Error> {
    struct List<T>(Vec<T>);
    struct Elements<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
        type Value = List<T>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut elements = Vec::new();
            while let Some(element) = list.next_element::<Option<T>>()? {
                let Some(element) = element else {
                    continue;
                };
                if elements.len() == MOST {
                    let what = format!("a list of more than {MOST} elements");
                    return Err(serde::de::Error::custom(what));
                }
                elements.push(element);
            }
            Ok(List(elements))
        }
    }
    impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
        fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
            input.deserialize_seq(Elements(PhantomData))
        }
    }
    Ok(Option::<List<T>>::deserialize(input)?.map(|List(elements)| elements))
}
