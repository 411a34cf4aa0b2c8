//! The way to a value in a file that a person wrote, as messages show it: `test.services[0].alias`.

use std::fmt;

/// A way through objects and lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPath(Vec<Step>);

/// A step of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// To a member of an object.
    Key(String),
    /// To an element of a list, from 0.
    Index(usize),
}

impl KeyPath {
    /// To a key of the whole file.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self::default().key(key)
    }

    /// One step further, to a member.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    /// One step further, to an element.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    fn with(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    /// Its steps, from the outside in.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The same without its first step: where a job has a keyword from that is said for all jobs.
    #[must_use]
    pub fn below_first(&self) -> Self {
        Self(self.0.iter().skip(1).cloned().collect())
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if at == 0 => write!(f, "{key}")?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}
