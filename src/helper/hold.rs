//! Runs in a build container in place of its shell, until there is a script.
//!
//! A build container is started while the helper fetches the sources, to save time. Nothing that the job chose, not
//! even its image's shell, may run while the helper works on the same volume. So only this executable runs until then:
//! it is mounted from a read-only volume of the runner's, and is linked statically.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Access, access};

/// The exit status of a shell for a command that does not exist.
pub const NOT_FOUND: u8 = 127;

/// Waits until standard input has something to read, reads nothing, and becomes the command. Returns an exit status if
/// that fails, if standard input is closed, or at once if there is no such command.
#[must_use]
pub fn until_input(command: &[OsString]) -> u8 {
    let [program, arguments @ ..] = command else {
        return NOT_FOUND;
    };
    if !exists(program) {
        eprintln!("{}: not found", program.display());
        return NOT_FOUND;
    }
    let stdin = io::stdin();
    let mut waiting = [PollFd::new(&stdin, PollFlags::IN)];
    while poll(&mut waiting, None).is_err() {}
    if !waiting[0].revents().contains(PollFlags::IN) {
        return 0;
    }
    let error = Command::new(program).args(arguments).exec();
    eprintln!("{}: {error}", program.display());
    NOT_FOUND
}

/// Whether `execvp` would find this program.
fn exists(program: &OsStr) -> bool {
    let is_there = |path: &Path| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    if program.as_encoded_bytes().contains(&b'/') {
        return is_there(Path::new(program));
    }
    let path = env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    env::split_paths(&path).any(|directory| is_there(&directory.join(program)))
}

#[cfg(test)]
mod tests {
    use super::{NOT_FOUND, exists, until_input};
    use std::ffi::OsStr;

    #[test]
    fn a_command_is_looked_for_as_execvp_does() {
        for (program, there) in [
            ("sh", true),
            ("/bin/sh", true),
            ("no-such-program", false),
            ("/bin", false),
            ("/etc/passwd", false),
        ] {
            assert_eq!(exists(OsStr::new(program)), there, "{program}");
        }
        assert_eq!(until_input(&["no-such-program".into()]), NOT_FOUND);
        assert_eq!(until_input(&[]), NOT_FOUND);
    }
}
