//! A job's variables: what a value may refer to, and who may see it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::outcome::InputError;
use crate::secret::{Secret, is_maskable};

/// The longest argument, and the longest `NAME=value`, that Linux gives to a program, in bytes (`MAX_ARG_STRLEN` without
/// the closing NUL).
pub const LONGEST_ARGUMENT: usize = 128 * 1024 - 1;

/// How many references it may take to expand one value, those in what it refers to counted.
const MAX_REFERENCES: u32 = 10_000;

/// A variable as it was defined.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own in the payload"
)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value, references unexpanded.
    pub value: Secret,
    /// Whether the value may be shown.
    pub public: bool,
    /// It was called a secret: masked, given as one, or not public where nothing is said of masking. What is not public
    /// and not masked need not be one, as GitLab's settings of projects.
    pub secret: bool,
    /// The value goes to a file, and the variable holds its path.
    pub file: bool,
    /// A `$` in the value means nothing.
    pub raw: bool,
}

impl Variable {
    /// A variable that everybody may see.
    pub fn public(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: Secret::new(value),
            public: true,
            secret: false,
            file: false,
            raw: false,
        }
    }

    /// The same, but nothing in its value is a reference.
    #[must_use]
    pub fn raw(mut self) -> Self {
        self.raw = true;
        self
    }

    /// A variable that only the build may see; its value is taken as it is.
    pub fn secret(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            public: false,
            secret: true,
            ..Self::public(name, value).raw()
        }
    }
}

/// A job's variables, each name once, references expanded.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    all: BTreeMap<String, Variable>,
    /// The directory of the files with the values of those that have one.
    files: String,
}

impl Variables {
    /// Expands the references in the values, the later ones of `variables` winning over earlier ones of the
    /// same name. A value that refers to a secret is a secret.
    ///
    /// # Errors
    /// [`InputError`] for a name that no environment can hold, or a value too long or with a NUL.
    pub fn resolve(variables: impl IntoIterator<Item = Variable>) -> Result<Self, InputError> {
        Self::with_files(variables, "")
    }

    /// The same where some have [files](Variable::file), in this directory: who refers to one gets the path.
    ///
    /// # Errors
    /// As [`Variables::resolve`].
    pub fn with_files(
        variables: impl IntoIterator<Item = Variable>,
        files: &str,
    ) -> Result<Self, InputError> {
        let mut defined = BTreeMap::new();
        for variable in variables {
            check_name(&variable.name)?;
            defined.insert(variable.name.clone(), variable);
        }
        let mut resolved = BTreeMap::new();
        for variable in defined.values() {
            let mut expansion = Expansion {
                defined: &defined,
                files,
                path: vec![variable.name.as_str()],
                public: variable.public,
                secret: variable.secret,
                references: 0,
            };
            let value = expansion.value_of(variable);
            if expansion.references > MAX_REFERENCES {
                return Err(InputError::new(format!(
                    "the variable {} refers to others more than {MAX_REFERENCES} times",
                    variable.name
                )));
            }
            check_value(&variable.name, &value)?;
            let (public, secret) = (expansion.public, expansion.secret);
            let value = Secret::new(value);
            let variable = Variable {
                value,
                public,
                secret,
                ..variable.clone()
            };
            resolved.insert(variable.name.clone(), variable);
        }
        Ok(Self {
            all: resolved,
            files: files.to_owned(),
        })
    }

    /// A variable's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all.get(name).map(|variable| variable.value.expose())
    }

    /// Takes a variable out, so that no container gets it.
    pub fn remove(&mut self, name: &str) -> Option<Variable> {
        self.all.remove(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Variable> {
        self.all.values()
    }

    /// A text with its references to these variables expanded.
    #[must_use]
    pub fn expand(&self, text: &str) -> String {
        substitute(text, &mut |name| self.referred(name))
    }

    /// What takes the place of a reference.
    fn referred(&self, name: &str) -> String {
        match self.all.get(name) {
            Some(variable) if variable.file => path(&self.files, name),
            Some(variable) => variable.value.expose().to_owned(),
            None => String::new(),
        }
    }

    /// The variable whose value takes the place of a reference.
    fn shown(&self, name: &str) -> Option<&Variable> {
        self.all.get(name).filter(|variable| !variable.file)
    }

    /// Whether [`Variables::expand`] makes of a text what everybody may see.
    #[must_use]
    pub fn shows_no_secret(&self, text: &str) -> bool {
        let mut public = true;
        substitute(text, &mut |name| {
            public &= self.shown(name).is_none_or(|variable| variable.public);
            String::new()
        });
        public
    }

    /// The first variable that a text refers to and that says a secret. Values too short to be one are none.
    #[must_use]
    pub fn secret_in(&self, text: &str) -> Option<String> {
        let mut found = None;
        substitute(text, &mut |name| {
            let variable = self.shown(name).filter(|variable| variable.secret);
            if variable.is_some_and(|variable| is_maskable(variable.value.expose())) {
                found.get_or_insert_with(|| name.to_owned());
            }
            String::new()
        });
        found
    }

    /// The variables that a text refers to and that are empty, or are not there.
    #[must_use]
    pub fn blanks(&self, text: &str) -> Vec<String> {
        let mut blanks = Vec::new();
        substitute(text, &mut |name| {
            let value = self.referred(name);
            if value.is_empty() && !blanks.iter().any(|known| known == name) {
                blanks.push(name.to_owned());
            }
            value
        });
        blanks
    }

    /// Whether a variable is there and says yes.
    #[must_use]
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name).and_then(switch) == Some(true)
    }
}

/// Yes or no, in the words that runners of this family know.
#[must_use]
pub fn switch(text: &str) -> Option<bool> {
    match text.trim() {
        "true" | "TRUE" | "True" | "t" | "T" | "1" | "yes" | "on" => Some(true),
        "false" | "FALSE" | "False" | "f" | "F" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A value as JSON has it: numbers and booleans as they are written, `null` is empty. `None` for lists and
/// objects.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Null => Some(String::new()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// What a variable's name is made of.
const NAME: &str = "letters, digits and underscores, no digit first";

/// Whether a variable can be called so.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(good) && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// How many characters of a name are shown.
const SHOWN: usize = 60;

/// That a name is none for a variable, and which would be one.
#[must_use]
pub fn not_a_name(name: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let likely: String = name.trim().chars().map(kept).collect();
    let long = name.chars().count() > SHOWN;
    let write = if is_name(&likely) && !long {
        format!("; write `{likely}`")
    } else {
        String::new()
    };
    let shown: String = name.chars().take(SHOWN).collect();
    let end = if long { "…" } else { "" };
    format!(
        "`{}{end}` is no name for a variable: {NAME}{write}",
        shown.escape_debug()
    )
}

/// A variable as `KEY=value`. The value may be a secret, and is not shown.
///
/// # Errors
/// What is wrong, and what to write.
pub fn assignment(entry: &str) -> Result<(&str, &str), String> {
    match entry.split_once('=') {
        Some((name, value)) if is_name(name) => Ok((name, value)),
        Some((name, _)) => Err(not_a_name(name)),
        None => {
            let name = entry.split_once(':').map_or(entry, |(name, _)| name).trim();
            let meant = if is_name(name) {
                format!("; write `{name}=…`")
            } else {
                String::new()
            };
            Err(format!("expected KEY=value, and there is no `=`{meant}"))
        }
    }
}

fn check_name(name: &str) -> Result<(), InputError> {
    if is_name(name) {
        return Ok(());
    }
    Err(InputError::new(not_a_name(name)))
}

/// Whether a program can get a variable.
///
/// # Errors
/// [`InputError`] that says why not.
pub fn check_value(name: &str, value: &str) -> Result<(), InputError> {
    if value.contains('\0') {
        return Err(InputError::new(format!(
            "the variable {name} has a NUL character, which no environment can hold"
        )));
    }
    if name.len() + 1 + value.len() > LONGEST_ARGUMENT {
        return Err(InputError::new(format!(
            "the variable {name} has {} bytes, and Linux gives no program one of more than {LONGEST_ARGUMENT}: put it into a \
             file of the repository",
            value.len()
        )));
    }
    Ok(())
}

/// The file of a variable that has one.
fn path(files: &str, name: &str) -> String {
    format!("{files}/{name}")
}

/// A value on its way to being free of references.
struct Expansion<'a> {
    defined: &'a BTreeMap<String, Variable>,
    files: &'a str,
    /// The names on the way to where we are: one that refers to itself is empty there.
    path: Vec<&'a str>,
    /// Whether no secret took part.
    public: bool,
    /// Whether one that was called a secret did.
    secret: bool,
    references: u32,
}

impl<'a> Expansion<'a> {
    fn value_of(&mut self, variable: &'a Variable) -> String {
        if variable.raw {
            return variable.value.expose().to_owned();
        }
        substitute(
            variable.value.expose(),
            &mut |name| match self.defined.get(name) {
                Some(other) if !self.path.contains(&other.name.as_str()) => {
                    self.references += 1;
                    // A few variables that refer to each other twice would otherwise take forever.
                    if self.references > MAX_REFERENCES {
                        return String::new();
                    }
                    // Whose contents are a secret, its path is none.
                    if other.file {
                        return path(self.files, name);
                    }
                    self.public &= other.public;
                    self.secret |= other.secret;
                    self.path.push(&other.name);
                    let value = self.value_of(other);
                    self.path.pop();
                    value
                }
                _ => String::new(),
            },
        )
    }
}

/// Replaces `$NAME` and `${NAME}`; `$$` is a dollar, and a dollar before anything else stays.
fn substitute(text: &str, value_of: &mut dyn FnMut(&str) -> String) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let braced = after
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'));
        let name_length = |text: &str| {
            text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(text.len())
        };
        if let Some(dollar) = after.strip_prefix('$') {
            result.push('$');
            rest = dollar;
        } else if let Some((name, behind)) = braced.filter(|(name, _)| is_name(name)) {
            result.push_str(&value_of(name));
            rest = behind;
        } else if is_name(&after[..name_length(after)]) {
            let (name, behind) = after.split_at(name_length(after));
            result.push_str(&value_of(name));
            rest = behind;
        } else {
            result.push('$');
            rest = after;
        }
    }
    result + rest
}

#[cfg(test)]
mod tests;
