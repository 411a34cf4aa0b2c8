//! How long something took, in words.

use std::time::Duration;

/// A time as people say it: `0.4 s`, `1 min 5 s`, `2 h 3 min`.
#[must_use]
pub fn time(took: Duration) -> String {
    let seconds = took.as_secs();
    match seconds {
        0..60 => format!("{seconds}.{} s", took.subsec_millis() / 100),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}
