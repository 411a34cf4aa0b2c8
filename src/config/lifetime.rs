//! How long a runner's token is good: `token_obtained_at` and `token_expires_at` of `[[runners]]`, which commands write
//! where the coordinator says that a token expires.

use std::fs;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use toml_edit::{DocumentMut, Item, Table, Value};

use super::edit::{identity, set};

const OBTAINED: &str = "token_obtained_at";
const EXPIRES: &str = "token_expires_at";
/// The year in which GitLab's times lie that mean "never".
const NEVER: i16 = 1;

/// When a token was made, and when it is good no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    obtained: Timestamp,
    expires: Timestamp,
}

impl Lifetime {
    /// From now on until this time, as coordinators write times. `None` for one that never comes, or is none.
    #[must_use]
    pub fn until(expires: &str) -> Option<Self> {
        Self::between(Timestamp::now(), expires.parse().ok()?)
    }

    fn between(obtained: Timestamp, expires: Timestamp) -> Option<Self> {
        let year = expires.to_zoned(jiff::tz::TimeZone::UTC).year();
        (year > NEVER).then_some(Self { obtained, expires })
    }

    /// When the token is to be replaced: at three quarters of its lifetime.
    #[must_use]
    pub fn renewal(&self) -> Timestamp {
        let lifetime = self.expires.duration_since(self.obtained);
        let quarters = lifetime
            .checked_mul(3)
            .map_or(SignedDuration::ZERO, |three| three / 4);
        self.obtained.checked_add(quarters).unwrap_or(self.expires)
    }

    /// Whether this is the same end, to the second.
    #[must_use]
    pub fn ends_with(&self, other: &Self) -> bool {
        self.expires.as_second() == other.expires.as_second()
    }

    /// What the table of a runner says.
    #[must_use]
    pub fn of(table: &Table) -> Option<Self> {
        let time = |key| -> Option<Timestamp> {
            let time = table.get(key).and_then(Item::as_datetime)?;
            time.to_string().parse().ok()
        };
        Self::between(time(OBTAINED)?, time(EXPIRES)?)
    }

    /// Takes it out of the table of a runner whose token never expires.
    pub fn remove(table: &mut Table) {
        table.remove(OBTAINED);
        table.remove(EXPIRES);
    }

    /// Writes it into the table of a runner.
    pub fn write(&self, table: &mut Table) {
        for (key, time) in [(OBTAINED, self.obtained), (EXPIRES, self.expires)] {
            let time = Timestamp::from_second(time.as_second()).unwrap_or(time);
            if let Ok(value) = time.to_string().parse::<Value>() {
                set(table, key, value);
            }
        }
    }
}

/// The runners of a file whose tokens expire: their identities, with what the file says of the token. None where the
/// file cannot be read, about which those complain that read its settings.
#[must_use]
pub fn lifetimes(file: &Path) -> Vec<(String, Lifetime)> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let document: DocumentMut = text.parse().unwrap_or_default();
    let runners = document.get("runners").and_then(Item::as_array_of_tables);
    let runners = runners.into_iter().flatten();
    runners
        .filter_map(|table| Some((identity(table), Lifetime::of(table)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Lifetime, lifetimes};
    use std::fs;

    fn between(obtained: &str, expires: &str) -> Option<Lifetime> {
        Lifetime::between(
            obtained.parse().expect("a time"),
            expires.parse().expect("a time"),
        )
    }

    #[test]
    fn a_token_is_renewed_at_three_quarters_of_its_lifetime() {
        let lifetime = between("2026-01-01T00:00:00Z", "2026-01-05T00:00:00.000Z");
        let renewal = lifetime.expect("it ends").renewal();
        assert_eq!(renewal.to_string(), "2026-01-04T00:00:00Z");
        assert_eq!(
            between("2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            None
        );
        assert_eq!(Lifetime::until("soon"), None);
    }

    #[test]
    fn the_times_are_read_as_gitlabs_tools_write_them() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let runner = |token: &str, expires: &str| {
            format!(
                "[[runners]]\nurl = \"https://c\"\ntoken = \"{token}\"\ntoken_obtained_at = 2026-05-21T10:01:17Z\n\
                 token_expires_at = {expires}\n"
            )
        };
        let text = [
            runner("a", "2027-05-21T10:01:17Z"),
            runner("b", "0001-01-01T00:00:00Z"),
        ];
        fs::write(file.path(), text.concat()).expect("written");
        let found = lifetimes(file.path());
        let want = between("2026-05-21T10:01:17Z", "2027-05-21T10:01:17Z");
        assert_eq!(found.len(), 1);
        assert_eq!(Some(found[0].1), want);
        fs::write(file.path(), "no TOML").expect("written");
        assert_eq!(lifetimes(file.path()), []);
    }
}
