//! Credentials for the git of the job itself. Its script writes them to a file that only the user of the script can read,
//! and git asks for them by a command that prints the file. So they are in no argument, in no variable of the
//! environment and in no repository; they are not shown as a part of an address, and a user who may not read the file
//! is no worse off than without it.

use std::fmt::Write as _;

use super::quote::{quote, quote_secret};
use crate::docker::Word;
use crate::secret::Secret;

/// The script's variable with the password, before it is written.
const PASSWORD: &str = "ALLOY_GIT_PASSWORD";
/// The name of the file. No variable that has a file is called so.
const FILE: &str = "git-credentials";

/// Credentials for the git of the job itself.
#[derive(Clone, Debug)]
pub struct GitLogin {
    /// The directory of the file.
    pub directory: String,
    /// The user.
    pub user: String,
    /// The user's password.
    pub password: Secret,
}

impl GitLogin {
    fn file(&self) -> String {
        format!("{}/{FILE}", self.directory)
    }

    /// The command that git asks, as the value of its setting `credential.helper`.
    #[must_use]
    pub fn helper(&self) -> String {
        let file = quote(&self.file());
        format!("!f() {{ [ \"$1\" != get ] || cat {file} 2>/dev/null; }}; f")
    }

    /// Sets the password's variable.
    pub(super) fn secret(&self) -> Word {
        let value = quote_secret(PASSWORD, &self.password);
        Word::from(format!("{PASSWORD}=")).then(value).then("\n")
    }

    /// Writes the file, where none is by then. A job that wants no credentials does not fail for want of them.
    pub(super) fn writing(&self) -> String {
        let (directory, file) = (quote(&self.directory), quote(&self.file()));
        let user = quote(&format!("username={}", self.user));
        let mut text = String::new();
        let _ = writeln!(
            text,
            "{{ mkdir -p {directory} && rm -f {file} && \
             (umask 077; set -C; printf '%s\\n' {user} \"password=${PASSWORD}\" >{file}); }} 2>/dev/null || :\n\
             unset {PASSWORD}"
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Stdio};

    use super::GitLogin;
    use crate::docker::Bindings;
    use crate::script::BuildScript;
    use crate::secret::Secret;

    #[test]
    fn only_the_scripts_user_can_read_them_and_the_script_does_not_know_them() {
        let root = tempfile::tempdir().expect("a directory");
        let directory = root.path().join("it's").display().to_string();
        let login = GitLogin {
            directory,
            user: "gitlab-ci-token".to_owned(),
            password: Secret::new("it's $x"),
        };
        let helper = login.helper();
        let file = login.file();
        let commands = ["echo \"[$ALLOY_GIT_PASSWORD]\"; env; set".to_owned()];
        for shell in ["sh", "bash"] {
            let script = BuildScript {
                commands: &commands,
                directory: "/",
                login: Some(login.clone()),
                ..BuildScript::default()
            };
            let text = script.text().expose(&Bindings::new()).expect("no slots");
            let mut child = Command::new(shell)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("a shell");
            let mut stdin = child.stdin.take().expect("piped");
            stdin.write_all(text.as_bytes()).expect("written");
            drop(stdin);
            let output = child.wait_with_output().expect("ended");
            let output = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.contains("\n[]\n"), "{shell}: {output}");
            assert!(!output.contains("it's $x"), "{shell}: {output}");
            let mode = std::fs::metadata(&file)
                .expect("there")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{shell}");
        }
        // As git runs it.
        let snippet = helper.strip_prefix('!').expect("a command of a shell");
        let asked = |operation: &str| {
            let command = format!("{snippet} \"$@\"");
            let output = Command::new("sh")
                .args(["-c", &command, snippet, operation])
                .output()
                .expect("a shell");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        assert_eq!(asked("get"), "username=gitlab-ci-token\npassword=it's $x\n");
        assert_eq!([asked("store"), asked("erase")], ["", ""]);
    }
}
