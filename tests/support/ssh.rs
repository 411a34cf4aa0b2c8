//! A way to an engine over ssh, as an operator has it: a host in ssh's configuration, whose sessions share a connection.
//! The connection has an sshd of its own, without a port.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{path_with, program, run};

/// A host of ssh, until this is dropped.
pub struct Ssh(TempDir);

impl Ssh {
    /// The engine's address.
    pub const HOST: &str = "ssh://root@engine";

    /// Leads to the engine with this socket.
    pub fn to(socket: &str) -> Self {
        let ssh = Self(TempDir::with_prefix("alloy-ssh-").expect("a directory"));
        let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/packages");
        ssh.make(Command::new(packages).args(["sshd:openssh-server", "ssh:openssh-client"]));
        for key in ["client", "server"] {
            let mut command = Command::new("ssh-keygen");
            command.args(["-q", "-t", "ed25519", "-N", "", "-f"]);
            ssh.make(command.arg(ssh.file(key)));
        }
        let server_key = fs::read_to_string(ssh.file("server.pub")).expect("made");
        ssh.write("known_hosts", &format!("engine {server_key}"));
        let path = |name: &str| ssh.file(name).display().to_string();
        ssh.write(
            "sshd_config",
            &format!(
                "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\n\
                 PermitRootLogin prohibit-password\nSetEnv DOCKER_HOST={socket}\n",
                path("server"),
                path("client.pub")
            ),
        );
        // Where sshd keeps nothing, but wants a directory for it.
        fs::create_dir_all("/run/sshd").expect("made");
        ssh.write(
            "config",
            &format!(
                "Host engine\nIdentityFile {}\nIdentitiesOnly yes\nUserKnownHostsFile {}\nStrictHostKeyChecking yes\n\
                 LogLevel ERROR\nControlMaster auto\nControlPath {}\nControlPersist yes\n\
                 ProxyCommand /usr/sbin/sshd -i -f {} 2>/dev/null\n",
                path("client"),
                path("known_hosts"),
                path("%C"),
                path("sshd_config")
            ),
        );
        fs::create_dir(ssh.file("bin")).expect("made");
        // Of a test, ssh would read the configuration of the user, wherever HOME is.
        let wrapper = format!(
            "#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n",
            path("config")
        );
        program(&ssh.file("bin/ssh"), &wrapper);
        ssh
    }

    /// A `PATH` whose `ssh` knows the host.
    pub fn path(&self) -> String {
        path_with(&self.file("bin"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).expect("written");
    }

    fn make(&self, command: &mut Command) {
        run(command.current_dir(self.0.path())).exits(0);
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        // There may have been no session; and no host, where something was missing.
        let ssh = self.file("bin/ssh");
        if ssh.exists() {
            run(Command::new(ssh).args(["-O", "exit", "root@engine"]));
        }
    }
}
