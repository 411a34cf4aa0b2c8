//! Keeps the place of a build's shell until there is a script for it.
//!
//! A build container is started before the sources are there, since that takes longer than to fetch them. What its image
//! calls a shell is the job's, and the helper works on the same volume meanwhile: until then this executable, which
//! comes from a volume of ours and is linked statically, is all that runs in there.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Access, access};

/// What a shell ends with that finds no such command.
pub const NOT_FOUND: u8 = 127;

/// Waits for standard input, of which nothing is read, and becomes a command then. Returns if it cannot, or if there is
/// no input any more; where there is no such command, at once.
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

/// Whether there is such a program, as an `execvp` would look for it.
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
