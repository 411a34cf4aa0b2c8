//! Services: their names, their containers, and how to ask whether they are up.

use super::chosen::{self, overriding_entrypoint, with_choice};
use super::containers::Builder;
use super::named::NamedBy;
use super::parts::Service;
use super::s3::Bucket;
use super::{allowed, options};
use crate::docker::{DockerCommand, Reference, Slot, Word};
use crate::job::{ImageSpec, Origin};
use crate::keypath::KeyPath;
use crate::outcome::InputError;

/// The host of an address, as names are compared: without case, and without a dot at the end.
fn host_of(address: &str) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = rest.split(':').next().unwrap_or_default();
    host.trim_end_matches('.').to_lowercase()
}

/// What a service is called.
struct Called {
    image: Reference,
    /// [`Service::name`].
    name: Word,
    /// [`Service::aliases`].
    aliases: Vec<String>,
    /// [`Service::from_image`].
    from_image: usize,
}

impl Called {
    fn hosts(&self) -> (Word, Vec<Word>) {
        let aliases = self.aliases.iter().map(Word::from);
        (self.name.clone(), aliases.collect())
    }
}

impl Builder<'_> {
    /// The hosts that the helper hands tokens or passwords to, from the network that it shares with services.
    fn hosts_of_secrets(&self) -> Vec<String> {
        let mut hosts = Vec::new();
        if let Some(coordinator) = &self.job.coordinator {
            hosts.push(host_of(&coordinator.api));
        }
        if let Origin::Remote { remote, .. } = &self.job.sources.origin {
            hosts.push(host_of(&remote.site));
        }
        if let Some(cache) = &self.config.cache {
            // Amazon's has a name of its own where the configuration has none.
            let planned = Bucket::new(cache, self.names, self.job, self.host);
            hosts.extend(planned.iter().map(|bucket| host_of(bucket.address())));
            let bucket = cache.bucket();
            hosts.extend(bucket.server_address.as_deref().map(host_of));
            if let (Some(name), Some(server)) = (&bucket.bucket_name, &bucket.server_address) {
                hosts.push(format!("{}.{}", name.to_lowercase(), host_of(server)));
            }
        }
        let proxies = self.host.proxies.iter();
        let proxies = proxies.filter(|(name, _)| !name.eq_ignore_ascii_case("NO_PROXY"));
        hosts.extend(proxies.map(|(_, address)| host_of(address)));
        hosts.retain(|host| !host.is_empty());
        hosts
    }

    /// The runner's own services and the job's.
    pub fn services(&self) -> Result<Vec<Service>, InputError> {
        let docker = &self.config.docker;
        let own = docker
            .services()
            .map(|spec| (NamedBy::Runner("docker.services".into()), spec));
        let job = self.job.services.iter().enumerate().map(|(index, spec)| {
            let path = KeyPath::of(&self.job.name).key("services").index(index);
            (NamedBy::Job(path), spec.clone())
        });
        let all: Vec<_> = own.chain(job).collect();
        let limit = docker
            .services_limit
            .and_then(|limit| usize::try_from(limit).ok());
        if let Some(limit) = limit.filter(|limit| all.len() > *limit) {
            return Err(InputError::new(format!(
                "the job `{}` has {} services, and docker.services_limit is {limit}",
                self.job.name,
                all.len()
            )));
        }
        let called = all.iter().enumerate();
        let called = called.map(|(index, (by, spec))| self.called(index, by, spec));
        let called = called.collect::<Result<Vec<_>, _>>()?;
        let hosts: Vec<_> = called.iter().map(Called::hosts).collect();
        let services = all.iter().zip(called).enumerate();
        let services = services
            .map(|(index, ((by, spec), called))| self.service(index, (by, spec), called, &hosts));
        let mut services = services.collect::<Result<Vec<_>, _>>()?;
        let images: Vec<Reference> = services.iter().map(|it| it.image.clone()).collect();
        for service in &mut services {
            let of_image = images.iter().filter(|image| **image == service.image);
            if let (2.., Some(alias)) = (of_image.count(), service.given().first()) {
                service.title = format!("{} ({alias})", service.image);
            }
        }
        Ok(services)
    }

    /// What a service is called.
    fn called(&self, index: usize, by: &NamedBy, spec: &ImageSpec) -> Result<Called, InputError> {
        let image = by.image(&spec.name, self.variables)?;
        allowed::service(by, &image, &self.config.docker, self.variables)?;
        let name = self.names.container(&format!(
            "{}-{index}",
            image.service_name().replace('/', "__")
        ));
        let mut aliases = image.aliases();
        let from_image = aliases.len();
        for alias in &spec.alias {
            let alias = by.key("alias").expand(alias, self.variables)?;
            check_hostname(&alias).map_err(|error| by.key("alias").error(error))?;
            aliases.push(alias);
        }
        aliases.dedup();
        // What the configuration runs is the operator's own doing.
        if let NamedBy::Job(_) = by {
            let taken = self.hosts_of_secrets();
            // A resolver that finds no host of a name may look for it in its search domains.
            let is_taken = |alias: &&String| {
                let alias = host_of(alias);
                let mut taken = taken.iter();
                taken.any(|host| {
                    let rest = alias.strip_prefix(host.as_str());
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                })
            };
            let alias = aliases.iter().find(is_taken);
            if let Some(alias) = alias {
                return Err(by.error(format_args!(
                    "no service can be called {alias}: the runner talks to that host, and the service would get \
                     the job's token or password; give it another alias, or its image another name"
                )));
            }
        }
        Ok(Called {
            image,
            name,
            aliases,
            from_image,
        })
    }

    /// A service. `all`: the hostnames of all of the job's.
    fn service(
        &self,
        index: usize,
        (by, spec): (&NamedBy, &ImageSpec),
        called: Called,
        all: &[(Word, Vec<Word>)],
    ) -> Result<Service, InputError> {
        let Called {
            image,
            name,
            aliases,
            from_image,
        } = called;
        let image_slot = Slot::new(format!("image_service_{index}"));
        let ports_slot = Slot::new(format!("ports_service_{index}"));
        let run = self.labelled(DockerCommand::run(&name).flag("--detach"), "service");
        let probe_alias = self.names.container(&format!("service-{index}"));
        let hosts: Vec<Word> = std::iter::once(probe_alias.clone())
            .chain(aliases.iter().map(Word::from))
            .collect();
        let run = self.network.connect_service(run, self.names, &hosts, all);
        let run = options::service(&self.config.docker, &image.to_string(), self.mounted(run));
        let docker = &self.config.docker;
        let pulling = chosen::pulling(by, spec, self.job, docker, self.variables)?;
        let user = chosen::user(by, spec, docker, self.variables)?;
        let run = with_choice(run, &pulling, user.as_deref());
        let own = self.own_variables(by, spec)?;
        let asked_on = own.port(by)?;
        let run = self.with_variables(run, &own);
        let command = spec.command.clone().unwrap_or_default();
        Ok(Service {
            ports: DockerCommand::image_inspect(
                [image_slot.clone()],
                "{{range $port, $_ := .Config.ExposedPorts}}{{$port}} {{end}}",
            ),
            run: overriding_entrypoint(run, self.entrypoint(spec), image_slot.clone(), command),
            title: image.to_string(),
            image,
            pulling,
            image_slot,
            asked_on: asked_on.unwrap_or_else(|| ports_slot.clone().into()),
            ports_slot,
            name,
            aliases,
            from_image,
            probe_alias,
        })
    }

    pub fn health_check(
        &self,
        services: &[Service],
        seconds: Option<u64>,
    ) -> Option<DockerCommand> {
        let seconds = seconds.filter(|_| !services.is_empty())?;
        let mut words: Vec<Word> = [
            "alloy-runner",
            "health-check",
            "--timeout",
            &seconds.to_string(),
            "--",
        ]
        .map(Word::from)
        .to_vec();
        for service in services {
            words.push(
                service
                    .probe_alias
                    .clone()
                    .then("=")
                    .then(service.asked_on.clone()),
            );
        }
        Some(DockerCommand::exec().operands(self.names.container("helper"), words))
    }
}

/// As many lines of a service's log are shown where it does not answer.
const LOG_LINES: u32 = 30;

impl Service {
    /// Asks whether a service's container runs, and for its exit status: `false 1`.
    pub fn state(container: impl Into<Word>) -> DockerCommand {
        DockerCommand::inspect(container, "{{.State.Running}} {{.State.ExitCode}}")
    }

    /// Asks for the end of a service's log.
    pub fn end_of_log(container: impl Into<Word>) -> DockerCommand {
        DockerCommand::logs(container, LOG_LINES)
    }

    /// The aliases that the job gave it.
    fn given(&self) -> &[String] {
        self.aliases.get(self.from_image..).unwrap_or_default()
    }
}

/// Two services of one name are answered in changing order: worth a word, unless each has a name of its own too.
pub(super) fn warnings(services: &[Service]) -> Vec<String> {
    let sharing = |alias: &String| -> Vec<&Service> {
        let all = services.iter();
        all.filter(|service| service.aliases.contains(alias))
            .collect()
    };
    let has_its_own = |service: &Service| service.given().iter().any(|own| sharing(own).len() == 1);
    // Those that share one name often share another: a line for each group.
    let mut groups: Vec<(Vec<&Service>, Vec<&str>)> = Vec::new();
    for alias in services.iter().flat_map(|service| &service.aliases) {
        let sharing = sharing(alias);
        if sharing.len() < 2 || sharing.iter().all(|service| has_its_own(service)) {
            continue;
        }
        let same = |group: &&mut (Vec<&Service>, Vec<&str>)| {
            let ends = group.0.iter().zip(&sharing);
            group.0.len() == sharing.len() && ends.into_iter().all(|(a, b)| a.name == b.name)
        };
        match groups.iter_mut().find(same) {
            Some((_, aliases)) if aliases.contains(&alias.as_str()) => {}
            Some((_, aliases)) => aliases.push(alias),
            None => groups.push((sharing, vec![alias])),
        }
    }
    let warnings = groups.into_iter().map(|(services, aliases)| {
        let mut titles: Vec<&str> = services.iter().map(|it| it.title.as_str()).collect();
        titles.dedup();
        format!(
            "{} services share the hostname{} `{}`: {}; give each an `alias` of its own",
            services.len(),
            if aliases.len() == 1 { "" } else { "s" },
            aliases.join("` and `"),
            titles.join(", ")
        )
    });
    warnings.collect()
}

fn check_hostname(name: &str) -> Result<(), String> {
    let good = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() <= 253 && name.split('.').all(good) {
        Ok(())
    } else {
        Err(format!(
            "`{}` is no hostname: letters, digits, dashes and dots",
            name.escape_debug()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::host_of;

    #[test]
    fn hosts_are_compared_without_case_port_user_and_last_dot() {
        for address in [
            "https://ci.example.org/api/v4",
            "http://user:pass@CI.example.org:8080",
            "ci.example.org.",
            "CI.EXAMPLE.ORG",
        ] {
            assert_eq!(host_of(address), "ci.example.org", "{address}");
        }
    }
}
