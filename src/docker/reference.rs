//! How images are named: `[registry[:port]/]path[:tag][@digest]`, after docker's reference grammar.

use std::fmt;

/// The registry of images whose name has none.
pub const DOCKER_HUB: &str = "docker.io";

/// An image's name, checked. `Display` prints it with `:latest` where it has neither tag nor digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Registry (with port) and path, as written.
    name: String,
    tag: Option<String>,
    digest: Option<String>,
}

fn is_component(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    ends(text.chars().next())
        && ends(text.chars().last())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
}

fn is_registry(text: &str) -> bool {
    let (host, port) = text
        .rsplit_once(':')
        .map_or((text, None), |(host, port)| (host, Some(port)));
    port.is_none_or(|port| {
        !port.is_empty() && port.len() <= 5 && port.chars().all(|c| c.is_ascii_digit())
    }) && host.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    })
}

fn is_tag(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
        && !text.starts_with(['.', '-'])
}

fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        algorithm.starts_with(|c: char| c.is_ascii_alphabetic())
            && algorithm
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+._-".contains(c))
            && hex.len() >= 32
            && hex.chars().all(|c| c.is_ascii_hexdigit())
    })
}

impl Reference {
    /// Reads an image's name.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no image name (like `ruby`, `ruby:2.1` or `my.registry.tld:5000/group/image:tag`)"
            )
        };
        let (rest, digest) = text
            .split_once('@')
            .map_or((text, None), |(rest, digest)| (rest, Some(digest)));
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        let (registry, path) = split_registry(name);
        let good = registry.is_none_or(is_registry)
            && path.split('/').all(is_component)
            && tag.is_none_or(is_tag)
            && digest.is_none_or(is_digest)
            && name.len() <= 255;
        if !good {
            return Err(wrong());
        }
        Ok(Self {
            name: name.to_owned(),
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }

    /// The registry that it comes from, with its port: [`DOCKER_HUB`] where the name has none.
    #[must_use]
    pub fn registry(&self) -> &str {
        match split_registry(&self.name).0 {
            None | Some("index.docker.io") => DOCKER_HUB,
            Some(registry) => registry,
        }
    }

    /// The name by which a service of this image goes in hostnames, slashes kept: without tag, digest and
    /// the registry's port (manual, "services").
    #[must_use]
    pub fn service_name(&self) -> String {
        let (registry, path) = split_registry(&self.name);
        match registry.map(|registry| registry.split(':').next().unwrap_or(registry)) {
            Some(registry) => format!("{registry}/{path}"),
            None => path.to_owned(),
        }
    }

    /// The hostnames of a service of this image: slashes as `__`, then as `-`, the same name once.
    #[must_use]
    pub fn aliases(&self) -> Vec<String> {
        let name = self.service_name();
        let mut aliases = vec![name.replace('/', "__"), name.replace('/', "-")];
        aliases.dedup();
        aliases
    }
}

/// As docker does it: the part before the first slash is a registry if it has a dot or a colon, or is
/// `localhost`.
fn split_registry(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => {
            (Some(first), path)
        }
        _ => (None, name),
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match (&self.tag, &self.digest) {
            (None, None) => f.write_str(":latest"),
            (tag, digest) => {
                tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
                digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Reference;

    #[test]
    fn names_are_printed_with_latest() {
        let digest = format!("ruby@sha256:{}", "a".repeat(64));
        for (text, printed) in [
            ("ruby", "ruby:latest"),
            ("ruby:2.1", "ruby:2.1"),
            (
                "my.registry.tld:5000/namespace/image",
                "my.registry.tld:5000/namespace/image:latest",
            ),
            (digest.as_str(), digest.as_str()),
        ] {
            assert_eq!(Reference::parse(text).expect(text).to_string(), printed);
        }
    }

    #[test]
    fn knows_the_registry() {
        for (text, registry) in [
            ("ruby", "docker.io"),
            ("library/ruby:2.1", "docker.io"),
            ("index.docker.io/library/ruby", "docker.io"),
            ("localhost/ruby", "localhost"),
            ("my.registry.tld:5000/a/b:c", "my.registry.tld:5000"),
        ] {
            assert_eq!(Reference::parse(text).expect(text).registry(), registry);
        }
    }

    #[test]
    fn what_is_no_image_name_is_refused() {
        for text in [
            "",
            "--privileged",
            "a b",
            "Ruby",
            "ruby:",
            "ruby:-x",
            "a//b",
            "x/../y",
            "ruby@sha256:1",
            "$IMAGE",
            "a\nb",
        ] {
            assert!(Reference::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn aliases_are_those_of_the_spec() {
        for (image, aliases) in [
            ("postgres:9.3", vec!["postgres"]),
            (
                "tutum/wordpress:latest",
                vec!["tutum__wordpress", "tutum-wordpress"],
            ),
            (
                "registry.alloy-wp.com:4999/tutum/wordpress",
                vec![
                    "registry.alloy-wp.com__tutum__wordpress",
                    "registry.alloy-wp.com-tutum-wordpress",
                ],
            ),
        ] {
            assert_eq!(Reference::parse(image).expect(image).aliases(), aliases);
        }
    }
}
