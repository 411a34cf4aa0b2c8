//! Keys of GitLab's runner that say nothing here, or have no effect.

/// Keys that registering tools write, with any value.
pub(super) const SILENT: &[&str] = &[
    "runners.id",
    "runners.token_obtained_at",
    "runners.token_expires_at",
];
/// Keys that say nothing with these values, which are what happens here in any case. Switches among them say something
/// with the other one.
pub(super) const DEFAULTS: &[(&str, &str)] = &[
    ("connection_max_age", "15m0s"),
    ("session_server.session_timeout", "1800"),
    ("runners.clean_git_config", "true"),
    ("runners.ssh.port", "22"),
    ("runners.safe_directory_checkout", "true"),
    ("runners.docker.isolation", "default"),
    ("runners.cache.s3.DualStack", "true"),
];
/// Keys of GitLab's runner without effect here, and why, where there is a reason that helps.
pub(super) const ELSEWHERE: &[(&str, &str)] = &[
    ("session_server", "there is no web terminal"),
    ("user", "jobs run in containers"),
    ("sentry_dsn", "errors are in the log"),
    ("experimental", "GitLab's runner alone has it"),
    ("machine", "of the executor docker+machine"),
    (
        "runners.artifact",
        "an upload goes on as long as bytes flow",
    ),
    (
        "runners.clean_git_config",
        "git's settings never stay for the next job",
    ),
    ("runners.experimental", "GitLab's runner alone has it"),
    ("runners.kubernetes", "of the executor kubernetes"),
    ("runners.machine", "of the executor docker+machine"),
    ("runners.autoscaler", "of the executor docker-autoscaler"),
    ("runners.instance", "of the executor instance"),
    ("runners.ssh", "of the executor ssh"),
    ("runners.parallels", "of the executor parallels"),
    ("runners.virtualbox", "of the executor virtualbox"),
    ("runners.custom", "of the executor custom"),
    (
        "runners.monitoring",
        "metrics_server shows the metrics there are",
    ),
    ("runners.referees", "GitLab's runner alone has it"),
    (
        "runners.labels",
        "labels of containers are docker.container_labels",
    ),
    (
        "runners.job_status_final_update_retry_limit",
        "a job's end is reported until it is taken",
    ),
    ("runners.proxy_exec", "GitLab's runner alone has it"),
    (
        "runners.safe_directory_checkout",
        "git trusts the checkout in any case",
    ),
    ("runners.step_runner_image", "there are no steps of `run:`"),
    (
        "runners.slot_cgroup_template",
        "docker.cgroup_parent names a control group",
    ),
    (
        "runners.use_slot_cgroups",
        "docker.cgroup_parent names a control group",
    ),
    (
        "runners.cache.gcs",
        "caches are in a bucket of S3 or in volumes",
    ),
    (
        "runners.cache.azure",
        "caches are in a bucket of S3 or in volumes",
    ),
    (
        "runners.cache.s3.RoleARN",
        "no roles are assumed: write keys",
    ),
    (
        "runners.cache.s3.UploadRoleARN",
        "no roles are assumed: write keys",
    ),
    (
        "runners.docker.helper_image_flavor",
        "the helper image is the runner's own",
    ),
    (
        "runners.docker.helper_image_autoset_arch_and_os",
        "the helper image is made for its engine",
    ),
    ("runners.docker.isolation", "containers of Linux have none"),
    (
        "runners.docker.service_slot_cgroup_template",
        "service_cgroup_parent names a control group",
    ),
];
/// Keys that look as if they restricted something, and do not.
pub(super) const FREEING: &[&str] = &["runners.cache.s3.DisableAssumeRoleCredentialsCaching"];

/// The key of the helper image.
pub(super) const HELPER_IMAGE: &str = "runners.docker.helper_image";
/// Why GitLab's own is not taken for it.
pub(super) const NOT_THAT_HELPER: &str = "it is that of GitLab's runner; this one takes its own";

/// Whether an image is the helper of GitLab's runner, which this one cannot work with.
pub(super) fn is_helper(image: &str) -> bool {
    let name = image.split('@').next().unwrap_or(image);
    let name = name.rsplit('/').next().unwrap_or(name);
    name.split(':').next() == Some("gitlab-runner-helper")
}

#[cfg(test)]
mod tests {
    use super::is_helper;

    #[test]
    fn the_helper_image_of_gitlabs_runner_is_known_by_its_name() {
        for (image, is) in [
            ("gitlab/gitlab-runner-helper:x86_64-latest", true),
            (
                "registry.example.org:5000/group/gitlab-runner-helper:x86_64-v17.0.0",
                true,
            ),
            ("gitlab-runner-helper@sha256:0123", true),
            ("registry.example.org/alloy-runner-helper:1", false),
            ("gitlab-runner-helper/mine", false),
        ] {
            assert_eq!(is_helper(image), is, "{image}");
        }
    }
}
