//! Caches: what is restored before a build and kept after it, and where (manual, "volumes").
//!
//! Nothing that is wrong with a cache is worth a job: it costs a warning, and the cache.

use std::path::{Path, PathBuf};

use super::containers::Builder;
use super::s3::Bucket;
use super::stage::{Failure, HelperStage, StageKind, When};
use super::volumes::{Made, Mount};
use crate::config::absolute;
use crate::helper::task;
use crate::job::files::{Cache, CachePolicy};
use crate::outcome::InputError;
use crate::secret::Secret;

/// What the file of a cache is called in its directory.
const FILE: &str = "cache.tar.zst";

/// What is to be done for the caches of a job.
#[derive(Default)]
pub(super) struct Caches {
    pub restore: Option<HelperStage>,
    /// By their conditions.
    pub archive: Vec<HelperStage>,
    pub warnings: Vec<String>,
    /// What the helper needs for that, and no other container.
    pub mount: Option<Mount>,
    /// What must not be shown of them.
    pub secrets: Vec<Secret>,
}

/// The variable with the key of a cache that is restored where there is no other.
const FALLBACK_KEY: &str = "CACHE_FALLBACK_KEY";

/// Where the helper finds the volume of a project's archives.
const ARCHIVES_DIR: &str = "/alloy/caches";

/// Where the caches of a job are.
enum Store {
    /// Below this directory of the helper.
    Directory(task::Within),
    /// In the project's own volume.
    Volume,
    Bucket(Box<Bucket>),
}

impl Store {
    /// Where a cache is read and where it is written. Addresses are secrets.
    fn places(&self, key: &str, secrets: &mut Vec<Secret>) -> (task::Place, task::Place) {
        let file = |volume: &Path, directory: &Path| {
            let volume = volume.to_owned();
            let path = directory.join(key).join(FILE);
            let file = task::Place::File(task::Within { volume, path });
            (file.clone(), file)
        };
        match self {
            Self::Directory(directory) => file(&directory.volume, &directory.path),
            Self::Volume => file(Path::new(ARCHIVES_DIR), Path::new("")),
            Self::Bucket(bucket) => {
                let (get, put) = bucket.signed(key);
                secrets.extend([&get, &put].map(Secret::new));
                (task::Place::Url(get), task::Place::Url(put))
            }
        }
    }
}

/// What is to be done for the caches, as it is gathered from one after the other.
#[derive(Default)]
struct Gathered {
    keys: Vec<String>,
    pulled: Vec<task::Cache>,
    pushed: Vec<(When, task::Cache)>,
    warnings: Vec<String>,
    secrets: Vec<Secret>,
}

impl Gathered {
    /// A key for a cache of its own: the next one with the same key is another cache all the same.
    fn numbered(&mut self, key: String) -> String {
        let same = self.keys.iter().filter(|other| **other == key).count();
        self.keys.push(key.clone());
        if same == 0 {
            key
        } else {
            format!("{key}-{}", same + 1)
        }
    }
}

impl Builder<'_> {
    /// Plans the caches.
    ///
    /// # Errors
    /// [`InputError`] where the configuration or a variable says something that cannot be meant.
    pub fn caches(&self) -> Result<Caches, InputError> {
        let mut planned = Caches::default();
        let used = |cache: &&Cache| !cache.paths.is_empty() || cache.untracked;
        let caches: Vec<&Cache> = self.job.caches.iter().filter(used).collect();
        if caches.is_empty() {
            return Ok(planned);
        }
        let store = match self.store()? {
            Ok(store) => store,
            Err(warning) => {
                planned.warnings.push(warning);
                return Ok(planned);
            }
        };
        match &store {
            Store::Directory(_) => {}
            Store::Volume => {
                let made = Made::Project;
                planned.mount = Some(
                    self.layout
                        .kept(self.config, self.names, made, ARCHIVES_DIR),
                );
            }
            Store::Bucket(bucket) => planned.secrets.extend(bucket.secrets()),
        }
        let upload_headers = match &store {
            Store::Bucket(bucket) => bucket.upload_headers().to_vec(),
            _ => Vec::new(),
        };
        let mut gathered = Gathered::default();
        for cache in caches {
            self.gather(cache, &store, &mut gathered);
        }
        let Gathered { pulled, pushed, .. } = gathered;
        planned.warnings.extend(gathered.warnings);
        planned.secrets.extend(gathered.secrets);
        planned.restore =
            self.cache_stage(StageKind::RestoreCache, "cache-extractor", (pulled, vec![]))?;
        for when in [When::OnSuccess, When::OnFailure, When::Always] {
            let caches = pushed.iter().filter(|(of, _)| *of == when);
            let caches = caches.map(|(_, cache)| cache.clone()).collect();
            let caches = (caches, upload_headers.clone());
            let stage = self.cache_stage(StageKind::ArchiveCache, "cache-archiver", caches)?;
            planned
                .archive
                .extend(stage.map(|stage| HelperStage { when, ..stage }));
        }
        Ok(planned)
    }

    /// Adds what is to be done for a cache.
    fn gather(&self, cache: &Cache, store: &Store, all: &mut Gathered) {
        let key = match self.key(cache) {
            Ok(key) => all.numbered(key),
            Err(warning) => return all.warnings.push(warning),
        };
        let shown = key.escape_debug();
        let policy = self.policy(cache).unwrap_or_else(|said| {
            all.warnings.push(format!(
                "the policy of the cache `{shown}` is {said}; it can be pull-push, pull, push: `pull-push` is taken"
            ));
            CachePolicy::PullPush
        });
        let when = when_to_write(cache).unwrap_or_else(|said| {
            all.warnings.push(format!(
                "`when` of the cache `{shown}` is `{said}`; it can be on_success, on_failure, always: `on_success` is taken"
            ));
            When::OnSuccess
        });
        let (get, put) = store.places(&key, &mut all.secrets);
        let files = self.files(&cache.paths, cache.untracked, &[]);
        let at = |place, fallbacks| task::Cache {
            key: key.clone(),
            files: files.clone(),
            place,
            fallbacks,
        };
        if policy != CachePolicy::Push {
            let fallbacks = self.fallbacks(cache, store, all);
            all.pulled.push(at(get, fallbacks));
        }
        if policy != CachePolicy::Pull {
            all.pushed.push((when, at(put, Vec::new())));
        }
    }

    /// What is restored in place of a cache that is not there.
    fn fallbacks(&self, cache: &Cache, store: &Store, all: &mut Gathered) -> Vec<task::Fallback> {
        let mut keys = Vec::new();
        let given = cache.fallback_keys.iter();
        for given in given.map(|key| self.variables.expand(key)) {
            match checked(given.trim()) {
                Ok(key) => keys.extend(key),
                Err(warning) => all.warnings.push(warning),
            }
        }
        let of_all = self.variables.get(FALLBACK_KEY).unwrap_or_default().trim();
        // It would be that of jobs of protected refs, as GitLab calls them.
        if of_all.trim_end_matches(['.', ' ']).ends_with("-protected") {
            let warning = format!(
                "{FALLBACK_KEY} is not used: it ends with `-protected`, as keys of protected refs do; name another"
            );
            if !all.warnings.contains(&warning) {
                all.warnings.push(warning);
            }
        } else {
            match checked(of_all) {
                Ok(key) => keys.extend(key),
                Err(warning) => all.warnings.push(warning),
            }
        }
        let fallbacks = keys.into_iter().map(|key| {
            let (place, _) = store.places(&key, &mut all.secrets);
            task::Fallback { key, place }
        });
        fallbacks.collect()
    }

    fn cache_stage(
        &self,
        kind: StageKind,
        command: &'static str,
        (caches, upload_headers): (Vec<task::Cache>, Vec<(String, String)>),
    ) -> Result<Option<HelperStage>, InputError> {
        if caches.is_empty() {
            return Ok(None);
        }
        let is_sent = |cache: &task::Cache| matches!(cache.place, task::Place::Url(_));
        let sends = caches.iter().any(is_sent);
        let shows = |cache: &task::Cache| {
            let fallbacks = cache.fallbacks.iter().map(|fallback| &fallback.key);
            let texts = cache.files.paths.iter().chain(fallbacks);
            self.shows_secret(texts.chain([&cache.key]).map(String::as_str))
        };
        let secret = sends || caches.iter().any(shows);
        let task = task::Caches {
            project: self.layout.project(),
            attempts: self.settings.restore_cache_attempts,
            minutes: self.settings.cache_minutes,
            most_sent: self.most_sent(),
            level: self.settings.cache_level,
            limit: self.settings.unpack_limit,
            upload_headers,
            certificates: self.host.certificates.clone(),
            proxies: self.proxies(sends),
            caches,
        };
        let (command, script) = self.tool(command, &task, secret)?;
        Ok(Some(HelperStage {
            failure: Failure::Warning,
            ..HelperStage::new(kind, command, script)
        }))
    }

    /// How many bytes the archive of a cache may have that is sent: as the job says, and never more than the runner lets it.
    fn most_sent(&self) -> Option<u64> {
        let cache = self.config.cache.as_ref();
        let of_runner = cache.and_then(|cache| cache.max_uploaded_archive_size);
        let of_runner = of_runner.filter(|most| *most > 0);
        of_runner
            .into_iter()
            .chain(self.settings.cache_most_sent)
            .min()
    }

    /// Where caches are kept, or why they are not.
    fn store(&self) -> Result<Result<Store, String>, InputError> {
        if let Some(config) = &self.config.cache
            && config.r#type.is_some()
        {
            let bucket = Bucket::new(config, self.names, self.job, self.host);
            return Ok(bucket.map(|bucket| Store::Bucket(Box::new(bucket))));
        }
        let directory = self.config.cache_dir.as_deref().unwrap_or("/cache");
        let directory =
            absolute(directory).map_err(|what| InputError::new(format!("cache_dir: {what}")))?;
        let below = |target: &str| {
            directory
                .strip_prefix(target)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        // Where one is mounted below another, the deepest is what it is on.
        let mounts = self.mounts.iter();
        let on = mounts.filter(|mount| below(&mount.target));
        let on = on.max_by_key(|mount| mount.target.len());
        if let Some(on) = on.filter(|mount| mount.bound) {
            let project = &self.job.project;
            let rest = directory.strip_prefix(&on.target).unwrap_or_default();
            let path = Path::new(rest.trim_start_matches('/'))
                .join(&project.namespace)
                .join(&project.name);
            return Ok(Ok(Store::Directory(task::Within {
                volume: PathBuf::from(&on.target),
                path,
            })));
        }
        if self.config.docker.disable_cache == Some(true) {
            return Ok(Err(format!(
                "caches are not kept: docker.disable_cache is on, and docker.volumes binds {directory} to no directory \
                 of the host"
            )));
        }
        Ok(Ok(Store::Volume))
    }

    /// The policy of a cache, or what it is that is none.
    fn policy(&self, cache: &Cache) -> Result<CachePolicy, String> {
        let CachePolicy::Expanded(text) = &cache.policy else {
            return Ok(cache.policy.clone());
        };
        let value = self.variables.expand(text);
        match value.trim() {
            "" => Ok(CachePolicy::PullPush),
            word => CachePolicy::of(word).ok_or_else(|| {
                format!(
                    "`{}`, which is `{}`",
                    text.escape_debug(),
                    word.escape_debug()
                )
            }),
        }
    }

    /// The key of a cache.
    fn key(&self, cache: &Cache) -> Result<String, String> {
        let given = cache.key.as_deref().map(|key| self.variables.expand(key));
        if let Some(key) = checked(given.unwrap_or_default().trim())? {
            return Ok(key);
        }
        let parts = [&self.job.name, &self.job.sources.ref_name];
        let parts = parts.iter().flat_map(|part| part.split('/'));
        let parts = parts.filter(|part| !["", ".", ".."].contains(part));
        let key = parts.collect::<Vec<_>>().join("/");
        Ok(key.replace(char::is_control, "_"))
    }
}

/// A key. It becomes a path, and must not lead out of its project's directory. `None` where it is empty.
fn checked(key: &str) -> Result<Option<String>, String> {
    let wrong = |part: &str| ["", ".", ".."].contains(&part);
    if key.is_empty() {
        return Ok(None);
    }
    if key.split('/').any(wrong) || key.contains(char::is_control) {
        return Err(format!(
            "the cache `{}` is left out: a key is a name, or several with single slashes between them, \
             and none of them `.` or `..`",
            key.escape_debug()
        ));
    }
    Ok(Some(key.to_owned()))
}

/// After which ends of the job a cache is written, or what it says in place of that.
fn when_to_write(cache: &Cache) -> Result<When, String> {
    match cache.when.as_deref().unwrap_or_default() {
        "" | "on_success" => Ok(When::OnSuccess),
        "on_failure" => Ok(When::OnFailure),
        "always" => Ok(When::Always),
        word => Err(word.escape_debug().to_string()),
    }
}
