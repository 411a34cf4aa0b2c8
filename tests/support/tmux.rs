//! A terminal that a test types on and reads.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{Project, RUNNER, Ran, eventually, run};

/// A tmux of a test's own. It ends with this value.
pub struct Terminal {
    socket: String,
}

impl Terminal {
    /// A terminal with a line of a shell on it, which runs in the checkout. `$RUNNER` is the executable. When the
    /// line has ended, the terminal shows `status=` and its status.
    pub fn run(project: &Project, line: &str) -> Self {
        let text = format!("trap : INT; {line}; echo status=$?; exec sleep 600");
        Self::start(project, &["sh", "-c", &text])
    }

    /// A terminal with a command on it.
    pub fn start(project: &Project, command: &[&str]) -> Self {
        // The server of the terminal before may still be about to end.
        static TERMINALS: AtomicU32 = AtomicU32::new(0);
        let number = TERMINALS.fetch_add(1, Ordering::Relaxed);
        let socket = project.beside(&format!("tmux-{number}"));
        let socket = socket.display().to_string();
        let terminal = Self { socket };
        let state = project.beside("state");
        let environment = [
            format!("ALLOY_RUNNER_STATE_DIR={}", state.display()),
            format!("RUNNER={RUNNER}"),
            format!("ZDOTDIR={}", project.root().display()),
            format!("HOME={}", project.root().display()),
        ];
        let place = project.directory.to_str().expect("UTF-8");
        let mut arguments = vec!["new-session", "-d", "-x", "120", "-y", "50", "-c", place];
        arguments.extend(environment.iter().flat_map(|entry| ["-e", entry.as_str()]));
        arguments.extend(command);
        terminal.tmux(&arguments);
        terminal
    }

    fn command(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new("tmux");
        command.env_remove("TMUX").env_remove("NO_COLOR");
        // The panes have the client's own.
        let directory = Path::new(RUNNER).parent().expect("a directory");
        command.env("PATH", super::path_with(directory));
        run(command
            .args(["-f", "/dev/null", "-S", &self.socket])
            .args(arguments))
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let ran = self.command(arguments);
        assert_eq!(ran.status, Some(0), "tmux {arguments:?}: {ran}");
        ran.stdout
    }

    /// Types a text, letter by letter.
    pub fn type_text(&self, text: &str) {
        self.tmux(&["send-keys", "-l", "--", text]);
    }

    /// Presses a key by its name: `Enter`, `C-c`, `Tab`.
    pub fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// What the terminal has shown, without colours.
    pub fn shown(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-J", "-S", "-500"])
    }

    /// The same with colours.
    pub fn coloured(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e", "-S", "-500"])
    }

    /// Waits until the terminal has shown something, and returns all that it has shown.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, |shown| shown.contains(text))
    }

    /// Waits until what the terminal has shown is as it is to be.
    pub fn wait_until(&self, what: &str, condition: impl Fn(&str) -> bool) -> String {
        let mut shown = String::new();
        let limit = Duration::from_mins(1);
        let end = std::time::Instant::now() + limit;
        eventually(limit + Duration::from_secs(1), what, || {
            shown = self.shown();
            assert!(
                condition(&shown) || std::time::Instant::now() < end,
                "{what} is not on the terminal:\n{shown}"
            );
            condition(&shown)
        });
        shown
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.command(&["kill-server"]));
    }
}
