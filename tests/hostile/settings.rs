//! What jobs are planned with: configurations, a host, and what fills a plan.

use alloy_runner::config::RunnerConfig;
use alloy_runner::docker::{Bindings, Slot};
use alloy_runner::job::payload;
use alloy_runner::plan::helper_image::HelperImage;
use alloy_runner::plan::names::Names;
use alloy_runner::plan::{HOLD_SEAL, HOLD_VOLUME, Host, JOB_STATUS, Plan};
use serde_json::Value;

/// The coordinator that payloads come from.
pub const API: &str = "https://c/api/v4";

/// A configuration, and what it alone gives the containers.
pub struct Setting {
    pub text: &'static str,
    /// Options of build, helper and service containers, beside those of every container.
    pub build: &'static [(&'static str, &'static str)],
    pub helper: &'static [(&'static str, &'static str)],
    pub service: &'static [(&'static str, &'static str)],
    /// What is mounted beside the sources: source, target, mode. `cache:` stands for a volume that stays.
    pub mounts: &'static [(&'static str, &'static str, &'static str)],
    pub network: &'static str,
}

pub const SETTINGS: &[Setting] = &[
    Setting {
        text: "",
        build: &[],
        helper: &[],
        service: &[],
        mounts: &[],
        network: "",
    },
    Setting {
        text: r#"
            environment = ["FROM_RUNNER=1"]
            [runners.docker]
            privileged = true
            services_privileged = false
            volumes = ["/cache", "/srv/a,b:/host data:ro", "gems:/gems"]
            devices = ["/dev/kvm:/dev/kvm:rwm"]
            cap_add = ["SYS_PTRACE"]
            cap_drop = ["NET_RAW"]
            security_opt = ["no-new-privileges"]
            services_security_opt = ["seccomp=x.json"]
            user = "1000"
            memory = "512m"
            service_memory = "256m"
            cpus = "1.5"
            pid = "private"
            shm_size = 1000
            userns_mode = "host"
            hostname = "box"
            extra_hosts = ["a:10.0.0.1"]
            dns = ["10.0.0.2"]
            runtime = "runc"
            container_labels = { team = "a=b,c" }
            ulimit = { nofile = "10:20" }
            tmpfs = { "/t" = "rw" }
            services_tmpfs = { "/s" = "ro" }
        "#,
        build: &[
            ("--privileged", ""),
            ("--device", "/dev/kvm:/dev/kvm:rwm"),
            ("--cap-add", "SYS_PTRACE"),
            ("--cap-drop", "NET_RAW"),
            ("--security-opt", "no-new-privileges"),
            ("--user", "1000"),
            ("--memory", "512m"),
            ("--cpus", "1.5"),
            ("--shm-size", "1000"),
            ("--userns", "host"),
            ("--hostname", "box"),
            ("--add-host", "a:10.0.0.1"),
            ("--dns", "10.0.0.2"),
            ("--runtime", "runc"),
            ("--ulimit", "nofile=10:20"),
            ("--tmpfs", "/t:rw"),
        ],
        helper: &[
            ("--userns", "host"),
            ("--add-host", "a:10.0.0.1"),
            ("--dns", "10.0.0.2"),
            ("--runtime", "runc"),
        ],
        service: &[
            ("--userns", "host"),
            ("--add-host", "a:10.0.0.1"),
            ("--dns", "10.0.0.2"),
            ("--memory", "256m"),
            ("--shm-size", "1000"),
            ("--cap-drop", "NET_RAW"),
            ("--security-opt", "seccomp=x.json"),
            ("--tmpfs", "/s:ro"),
        ],
        mounts: &[
            ("cache:", "/cache", ""),
            ("/srv/a,b", "/host data", "ro"),
            ("gems", "/gems", ""),
        ],
        network: "",
    },
    Setting {
        text: "[runners.docker]\nnetwork_mode = \"bridge\"\nlinks = [\"db:db\"]\ncache_dir = \"/srv/cache\"\nvolumes = [\"/cache\"]",
        build: &[("--link", "db:db")],
        helper: &[],
        service: &[],
        mounts: &[("/srv/cache/", "/cache", "")],
        network: "bridge",
    },
    Setting {
        text: "[runners.docker]\nnetwork_mode = \"host\"\ndisable_entrypoint_overwrite = true\nprivileged = false",
        build: &[],
        helper: &[],
        service: &[],
        mounts: &[],
        network: "host",
    },
    Setting {
        text: "builds_dir = \"/b\"\n[runners.docker]\nnetwork_mode = \"shared-net\"\nvolumes = [\"/srv/builds:/b\", \"$CI_PROJECT_DIR/vendor\"]\nservices_limit = 3\nallowed_images = [\"ruby:*\", \"**\"]",
        build: &[],
        helper: &[],
        service: &[],
        mounts: &[("/srv/builds", "/b", ""), ("cache:", "", "")],
        network: "shared-net",
    },
];

impl Setting {
    pub fn config(&self) -> RunnerConfig {
        let text = format!(
            "[[runners]]\nname = \"r\"\nurl = \"https://c\"\ntoken = \"abcdefgh\"\nexecutor = \"docker\"\n{}",
            self.text
        );
        let config: alloy_runner::config::Config = toml::from_str(&text).expect("TOML");
        config.runners.into_iter().next().expect("a runner")
    }
}

pub fn host() -> Host {
    Host {
        version: "0.1.0".to_owned(),
        revision: "0".to_owned(),
        hostname: "box".to_owned(),
        process: "process-1".to_owned(),
        proxies: vec![("HTTPS_PROXY".to_owned(), "http://proxy:1".to_owned())],
        shares_files: true,
        helper_image: HelperImage {
            name: "alloy-runner-helper:0".to_owned(),
            ..HelperImage::default()
        },
        ..Host::default()
    }
}

/// The plan of a job, and what the payload says; an error where the job is refused.
pub fn plan(payload: &Value, setting: &Setting) -> Result<Plan, String> {
    let body = payload.to_string();
    let out = payload::read(body.as_bytes(), API).ok_or("no id and token")?;
    let job = out.job.map_err(|error| error.to_string())?;
    let names = Names::new("abcdefgh", 3, 0);
    Plan::new(&job, &setting.config(), &names, &host()).map_err(|error| error.to_string())
}

/// Every slot of a plan, filled.
/// The volume with the executable.
pub const HOLD: &str = "alloy-runner-hold-0123456789ab";

pub fn bindings(plan: &Plan) -> Bindings {
    let of_services = plan
        .services
        .iter()
        .map(|service| service.image_slot.clone());
    let slots = std::iter::once(Slot::new("image_build"))
        .chain(of_services)
        .chain([Slot::new("image_helper")]);
    let images = slots.enumerate();
    let images = images.map(|(index, slot)| (slot, format!("sha256:{index}")));
    let ports = plan.services.iter();
    let ports = ports.map(|service| (service.ports_slot.clone(), "5432/tcp".to_owned()));
    images
        .chain(ports)
        .chain([
            (Slot::new(JOB_STATUS), "failed".to_owned()),
            (Slot::new(HOLD_VOLUME), HOLD.to_owned()),
            (Slot::new(HOLD_SEAL), "0123456789abcdef".to_owned()),
        ])
        .collect()
}
