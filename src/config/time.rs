//! Times as Go writes them, in configurations of GitLab's runner and in variables: `1h30m`.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};

/// A time in seconds, or as Go writes it: `1h30m`, `1.5h`, `90s`. Not 0.
#[must_use]
pub fn time(text: &str) -> Option<Duration> {
    duration(text).filter(|time| !time.is_zero())
}

fn duration(text: &str) -> Option<Duration> {
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().ok()?;
        let unit_end = rest[end..]
            .find(|c: char| !c.is_ascii_lowercase())
            .map_or(rest.len(), |at| end + at);
        total += number
            * match &rest[end..unit_end] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 0.001,
                // A number by itself.
                "" if end == text.len() => 1.0,
                _ => return None,
            };
        rest = &rest[unit_end..];
    }
    Duration::try_from_secs_f64(total).ok()
}

/// Reads a time of a configuration. 0 is none.
///
/// # Errors
/// For what is no time.
pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Duration>, D::Error> {
    input.deserialize_any(Time)
}

/// Writes a time of a configuration.
///
/// # Errors
/// Those of the format.
pub fn serialize<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    let text = time.map(|time| format!("{}ms", time.as_millis()));
    text.serialize(to)
}

struct Time;

impl Visitor<'_> for Time {
    type Value = Option<Duration>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a string with a time like \"90s\" or \"1h30m\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        match duration(text) {
            Some(time) => Ok(Some(time).filter(|time| !time.is_zero())),
            None => Err(E::custom(format_args!(
                "`{text}` is no time; write one like \"90s\" or \"1h30m\""
            ))),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        if number == 0 {
            return Ok(None);
        }
        Err(E::invalid_type(
            serde::de::Unexpected::Signed(number),
            &self,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::time;
    use std::time::Duration;

    #[test]
    fn times_are_seconds_or_as_go_writes_them() {
        for (text, seconds) in [
            ("90", Some(90.0)),
            ("90s", Some(90.0)),
            ("10m", Some(600.0)),
            ("1h30m", Some(5400.0)),
            ("1.5h", Some(5400.0)),
            ("1m0.5s", Some(60.5)),
            ("15m0s", Some(900.0)),
            ("1500ms", Some(1.5)),
            ("0", None),
            ("0s", None),
            ("-5m", None),
            ("5 m", None),
            ("5x", None),
            ("m", None),
            ("1h30", None),
            ("soon", None),
            ("99999999999999999999999h", None),
        ] {
            assert_eq!(time(text), seconds.map(Duration::from_secs_f64), "{text}");
        }
    }
}
