//! What to do where a user may not talk to the engine.

use std::fs;
use std::os::unix::fs::MetadataExt;

/// The socket that a client was refused: in its message stands `unix:///var/run/docker.sock`, perhaps with a colon.
fn socket(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("unix://")?;
    let end = rest.find(|c: char| c.is_whitespace() || ":;\"".contains(c));
    Some(&rest[..end.unwrap_or(rest.len())])
}

/// The name of a group, if it has one here.
fn group_name(number: u32) -> Option<String> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id.parse() == Ok(number)).then(|| name.to_owned())
    })
}

/// That the user may not, and how to get there.
pub(super) fn refusal(message: &str) -> String {
    let elsewhere = "or name another engine with --docker-host or DOCKER_HOST";
    let Some(socket) = socket(message) else {
        return format!("no rights on the docker socket; {elsewhere}");
    };
    // Root's group is no group to be in.
    let group = fs::metadata(socket).ok().map(|data| data.gid());
    let group = group.filter(|group| *group != 0).and_then(group_name);
    let group = group.unwrap_or_else(|| "docker".to_owned());
    format!(
        "no rights on the docker socket {socket}, which is for root and the group `{group}`: \
         sudo usermod -aG {group} $USER, then log in again; {elsewhere}"
    )
}

#[cfg(test)]
mod tests {
    use super::refusal;

    #[test]
    fn the_socket_is_found_in_what_clients_say() {
        for said in [
            "Got permission denied while trying to connect to the Docker daemon socket at unix:///no/docker.sock: Get \"x\"",
            "permission denied while trying to connect to the docker API at unix:///no/docker.sock",
        ] {
            let text = refusal(said);
            assert!(
                text.starts_with("no rights on the docker socket /no/docker.sock, which is for root and the group `docker`: "),
                "{text}"
            );
        }
    }
}
