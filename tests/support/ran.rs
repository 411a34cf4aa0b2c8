//! What a run left, and what a test expects of it or of what a coordinator heard, in words that read as a sentence:
//! `project.exec("test").fails(1).says("exit code 7")`. What is not met shows all there is.

use std::fmt::Display;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use super::Running;
use super::api::Heard;

/// Arguments: a list, or a text with blanks between them.
pub trait Words {
    fn words(&self) -> Vec<String>;
}

impl Words for str {
    fn words(&self) -> Vec<String> {
        self.split_whitespace().map(str::to_owned).collect()
    }
}

impl Words for [&str] {
    fn words(&self) -> Vec<String> {
        self.iter().map(ToString::to_string).collect()
    }
}

impl<const N: usize> Words for [&str; N] {
    fn words(&self) -> Vec<String> {
        self.as_slice().words()
    }
}

impl Words for Vec<&str> {
    fn words(&self) -> Vec<String> {
        self.as_slice().words()
    }
}

impl<T: Words + ?Sized> Words for &T {
    fn words(&self) -> Vec<String> {
        (*self).words()
    }
}

/// The result of a run of the executable.
#[derive(Debug, Default)]
pub struct Ran {
    /// The arguments.
    pub command: String,
    pub stdout: String,
    pub stderr: String,
    pub status: Option<i32>,
}

impl Ran {
    /// The job's log from its first command on.
    pub fn build_output(&self) -> &str {
        self.stdout
            .find("\n$ ")
            .map_or("", |at| &self.stdout[at + 1..])
    }
}

impl Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}: status {:?}\n--- stdout\n{}--- stderr\n{}",
            self.command, self.status, self.stdout, self.stderr
        )
    }
}

pub fn run(command: &mut Command) -> Ran {
    let arguments = command
        .get_args()
        .map(|argument| argument.to_string_lossy());
    let arguments = arguments.collect::<Vec<_>>().join(" ");
    Ran {
        command: arguments,
        ..command.output().map(Ran::from).expect("started")
    }
}

/// Starts a program in a process group of its own, as a shell would, with pipes for what it prints.
pub fn spawn(command: &mut Command) -> Running {
    command.process_group(0);
    Running::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Self {
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            status: output.status.code(),
            ..Self::default()
        }
    }
}

/// Expectations of a log, which is a field of the type.
macro_rules! of_a_log {
    ($type:ty, $log:ident) => {
        impl $type {
            /// The text stands in the log.
            #[track_caller]
            pub fn says(&self, text: impl AsRef<str>) -> &Self {
                let text = text.as_ref();
                assert!(self.$log.contains(text), "not said: {text:?}\n{self}");
                self
            }

            /// The text does not stand in the log.
            #[track_caller]
            pub fn says_nothing_of(&self, text: impl AsRef<str>) -> &Self {
                let text = text.as_ref();
                assert!(!self.$log.contains(text), "said: {text:?}\n{self}");
                self
            }

            /// The text stands so many times in the log.
            #[track_caller]
            pub fn says_times(&self, times: usize, text: impl AsRef<str>) -> &Self {
                let text = text.as_ref();
                let said = self.$log.matches(text).count();
                assert_eq!(said, times, "of {text:?}\n{self}");
                self
            }

            /// The log begins with the text.
            #[track_caller]
            pub fn begins(&self, text: impl AsRef<str>) -> &Self {
                let text = text.as_ref();
                assert!(
                    self.$log.starts_with(text),
                    "does not begin with {text:?}\n{self}"
                );
                self
            }

            /// The log ends with the text.
            #[track_caller]
            pub fn ends(&self, text: impl AsRef<str>) -> &Self {
                let text = text.as_ref();
                assert!(
                    self.$log.ends_with(text),
                    "does not end with {text:?}\n{self}"
                );
                self
            }

            /// The texts stand in the log, the first time each in this order.
            #[track_caller]
            pub fn says_in_order(&self, texts: &[&str]) -> &Self {
                let find = |text: &&str| {
                    let found = self.$log.find(text);
                    found.unwrap_or_else(|| panic!("not said: {text:?}\n{self}"))
                };
                let order: Vec<usize> = texts.iter().map(find).collect();
                assert!(order.is_sorted(), "not in order: {texts:?}\n{self}");
                self
            }
        }
    };
}

of_a_log!(Ran, stdout);
of_a_log!(Heard, log);

impl Ran {
    /// It ended with this status.
    #[track_caller]
    pub fn exits(&self, status: i32) -> &Self {
        assert_eq!(self.status, Some(status), "{self}");
        self
    }

    /// Its job succeeded.
    #[track_caller]
    pub fn succeeds(&self) -> &Self {
        self.exits(0).ends("\nJob succeeded\n")
    }

    /// It failed, with this status.
    #[track_caller]
    pub fn fails(&self, status: i32) -> &Self {
        assert_ne!(status, 0, "that is no failure");
        self.exits(status)
    }

    /// It said this on stderr.
    #[track_caller]
    pub fn on_stderr(&self, text: impl AsRef<str>) -> &Self {
        let text = text.as_ref();
        assert!(
            self.stderr.contains(text),
            "not on stderr: {text:?}\n{self}"
        );
        self
    }

    /// It did not say this on stderr.
    #[track_caller]
    pub fn not_on_stderr(&self, text: impl AsRef<str>) -> &Self {
        let text = text.as_ref();
        assert!(!self.stderr.contains(text), "on stderr: {text:?}\n{self}");
        self
    }

    /// It said nothing on stderr.
    #[track_caller]
    pub fn is_quiet(&self) -> &Self {
        assert_eq!(self.stderr, "", "{self}");
        self
    }

    /// It failed with this status, and all that it said is one line on stderr, with these parts.
    #[track_caller]
    pub fn fails_in_one_line(&self, status: i32, parts: &[&str]) -> &Self {
        self.fails(status);
        assert_eq!(self.stdout, "", "{self}");
        assert_eq!(self.stderr.lines().count(), 1, "{self}");
        for part in parts {
            self.on_stderr(part);
        }
        self
    }
}

impl Heard {
    /// The job succeeded.
    #[track_caller]
    pub fn succeeds(&self) -> &Self {
        assert_eq!(self.state.as_deref(), Some("success"), "{self}");
        self
    }

    /// The job failed.
    #[track_caller]
    pub fn fails(&self) -> &Self {
        assert_eq!(self.state.as_deref(), Some("failed"), "{self}");
        self
    }

    /// The job failed, for this reason in the API's words.
    #[track_caller]
    pub fn fails_by(&self, reason: &str) -> &Self {
        assert_eq!(self.failure_reason.as_deref(), Some(reason), "{self}");
        self.fails()
    }
}
