//! A repository that a job is fetched from over the network.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gix::url::Scheme;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::outcome::InputError;
use crate::secret::Secret;

/// The longest path of a repository, in bytes. It is a part of the directory that the sources go to, which on Linux has
/// no more than 4096, and of the names of all directories above that.
const LONGEST_PATH: usize = 1024;

/// Its address, and whom to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Without user and password, `https://host/acme/site.git`.
    pub address: String,
    /// The scheme, host and port of it, `https://host`: what credentials are for.
    pub site: String,
    /// User and password, if the address had any.
    pub login: Option<(String, Secret)>,
    /// The path of it, `/acme/site.git`.
    pub path: String,
}

impl Remote {
    /// Reads an address. Only what fetches over the network is one: `ext::` and the like would run programs.
    ///
    /// # Errors
    /// [`InputError`] that does not show the address, which may hold a password.
    pub fn parse(address: &str) -> Result<Self, InputError> {
        let wrong = |what: &str| InputError::new(format!("the repository's address {what}"));
        if address.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(wrong("has spaces or control characters"));
        }
        if !address.contains("://") {
            return Err(wrong("is no address like https://host/group/project.git"));
        }
        let mut url = gix::url::parse(address)
            .map_err(|_| wrong("is no address like https://host/group/project.git"))?;
        let known = matches!(
            url.scheme,
            Scheme::Http | Scheme::Https | Scheme::Ssh | Scheme::Git
        );
        let host = url.host().unwrap_or_default().to_owned();
        if !known || !is_host(&host) {
            return Err(wrong(
                "must begin with http://, https://, ssh:// or git:// and a host",
            ));
        }
        // ssh would take it for an option, though git itself refuses that.
        if url.user().is_some_and(|user| user.starts_with('-')) {
            return Err(wrong("has a user that begins with a dash"));
        }
        let password = url.password().filter(|password| !password.is_empty());
        let login = password.map(|password| {
            let user = url.user().unwrap_or_default().to_owned();
            (user, Secret::new(password))
        });
        url.set_password(None);
        if url.scheme != Scheme::Ssh {
            url.set_user(None);
        }
        let port = url.port.map(|port| format!(":{port}")).unwrap_or_default();
        let (path, address) = (url.path.to_string(), url.to_bstring().to_string());
        // What was escaped may not be any more.
        if [&path, &address]
            .iter()
            .any(|text| text.chars().any(char::is_control))
        {
            return Err(wrong("has control characters"));
        }
        if path.len() > LONGEST_PATH {
            return Err(wrong(&format!(
                "has a path of {} bytes, and no more than {LONGEST_PATH} are taken",
                path.len()
            )));
        }
        Ok(Self {
            site: format!("{}://{host}{port}", url.scheme.as_str()),
            path,
            address,
            login,
        })
    }

    /// The address with user and password: a secret, if there are any.
    #[must_use]
    pub fn with_login(&self) -> String {
        match (&self.login, self.address.split_once("://")) {
            (Some((user, password)), Some((scheme, rest))) => {
                let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
                let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
                format!(
                    "{scheme}://{}:{}@{rest}",
                    encoded(user),
                    encoded(password.expose())
                )
            }
            _ => self.address.clone(),
        }
    }

    /// What must not be shown of it: the password, also as it stands in an address, and user and password as HTTP has
    /// them.
    #[must_use]
    pub fn secrets(&self) -> Vec<Secret> {
        let password = self.login.iter().flat_map(|(_, password)| {
            let encoded = utf8_percent_encode(password.expose(), NON_ALPHANUMERIC).to_string();
            [Secret::new(encoded), password.clone()]
        });
        password.chain(self.authorization()).collect()
    }

    /// User and password as HTTP has them (basic authentication): the base64 of `user:password`.
    #[must_use]
    pub fn authorization(&self) -> Option<Secret> {
        let (user, password) = self.login.as_ref()?;
        let text = format!("{user}:{}", password.expose());
        Some(Secret::new(STANDARD.encode(text)))
    }

    /// The same path and user at another place (configuration, `clone_url`).
    ///
    /// # Errors
    /// [`InputError`] if `base` is no address.
    pub fn moved_to(&self, base: &str) -> Result<Self, InputError> {
        let address = format!(
            "{}/{}",
            base.trim_end_matches('/'),
            self.path.trim_start_matches('/')
        );
        let moved = Self::parse(&address)
            .map_err(|error| InputError::new(format!("clone_url `{base}`: {error}")))?;
        Ok(Self {
            login: moved.login.or_else(|| self.login.clone()),
            ..moved
        })
    }
}

/// A name or a number of a host, and nothing that git's settings for a site (`http.<site>.extraHeader`) could take
/// for many of them.
pub(crate) fn is_host(host: &str) -> bool {
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let numbered = bracketed
        .unwrap_or(host)
        .parse::<std::net::Ipv6Addr>()
        .is_ok();
    let good = |c: char| c.is_alphanumeric() || "._-".contains(c);
    numbered || !host.is_empty() && !host.starts_with('-') && host.chars().all(good)
}

/// The passwords of addresses in a text, as they stand there: the part between the last `:` and the `@` of
/// `scheme://user:password@host`.
pub fn passwords_in(text: &str) -> impl Iterator<Item = Secret> {
    text.split("://").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| c == '/' || c == '?' || c == '#' || c.is_whitespace());
        let authority = &rest[..end.unwrap_or(rest.len())];
        let (login, _) = authority.rsplit_once('@')?;
        let (_, password) = login.split_once(':')?;
        (!password.is_empty()).then(|| Secret::new(password))
    })
}

#[cfg(test)]
mod tests {
    use super::{Remote, passwords_in};

    #[test]
    fn user_and_password_are_taken_out() {
        let remote = Remote::parse("https://x-access-token:a%2Fb@host.tld:8443/acme/site.git");
        let remote = remote.expect("good");
        assert_eq!(remote.address, "https://host.tld:8443/acme/site.git");
        assert_eq!(remote.site, "https://host.tld:8443");
        let (user, password) = remote.login.clone().expect("both");
        assert_eq!(
            (user.as_str(), password.expose()),
            ("x-access-token", "a/b")
        );
        let whole = "https://x%2Daccess%2Dtoken:a%2Fb@host.tld:8443/acme/site.git";
        assert_eq!(remote.with_login(), whole);
        assert_eq!(Remote::parse(whole).expect("good"), remote);
        let moved = remote.moved_to("http://10.0.0.1/git/").expect("good");
        assert_eq!(moved.address, "http://10.0.0.1/git/acme/site.git");
        assert_eq!(moved.login, remote.login);
        let authorization = remote.authorization().expect("a login");
        assert_eq!(authorization.expose(), "eC1hY2Nlc3MtdG9rZW46YS9i");
    }

    #[test]
    fn what_an_address_hides_or_what_fits_nowhere_is_refused() {
        let long = |length: usize| format!("https://host/{}", "p".repeat(length - 1));
        assert!(Remote::parse(&long(1024)).is_ok());
        for (address, what) in [
            (long(1025), "has a path of 1025 bytes"),
            (
                "ssh://git@host/a%0d%0aHost:evil/site.git".to_owned(),
                "has control characters",
            ),
        ] {
            let error = Remote::parse(&address).expect_err(&address).to_string();
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn what_runs_programs_or_reads_files_is_refused_without_showing_it() {
        for address in [
            "",
            "/etc",
            "file:///etc",
            "ext::sh -c 'hunter2'",
            "ext::hunter2",
            "--upload-pack=hunter2",
            "https:///hunter2",
            "https://host/a\nb",
            "ssh://-oProxyCommand=hunter2/x",
        ] {
            let error = Remote::parse(address).expect_err(address).to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn passwords_of_addresses_are_found() {
        let text = "a https://u:p1@h/x b://u@h http://:p:2@h ssh://u:@h mailto:u:x@h";
        let found: Vec<String> = passwords_in(text).map(|p| p.expose().to_owned()).collect();
        assert_eq!(found, ["p1", "p:2"]);
    }
}
