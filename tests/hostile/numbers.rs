//! Numbers from outside, each as large as its type: payloads, variables and configurations with them are run or refused,
//! and no arithmetic on them overflows, which a test build notices.

use std::time::{Duration, Instant};

use alloy_runner::cancel::Cancel;
use alloy_runner::config::Config;
use alloy_runner::docker::Words;
use alloy_runner::helper::archive::limit::Limit;
use alloy_runner::helper::archive::select::Selected;
use alloy_runner::helper::archive::{Entry, Kind, Stat};
use alloy_runner::job::payload;
use alloy_runner::plan::names::Names;
use alloy_runner::plan::{Host, Plan};
use alloy_runner::printer;
use alloy_runner::retry::Backoff;
use alloy_runner::service::config_file::Settings;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::settings::{API, host};
use super::tries::{assert_told, tried};
use super::words::good;

/// The edges of the types that numbers are read into, of what a duration or a clock holds, and any number.
fn number() -> BoxedStrategy<u64> {
    const WEEK: u64 = 7 * 24 * 3600;
    let edges = [
        0,
        1,
        WEEK,
        i32::MAX as u64,
        u32::MAX.into(),
        i64::MAX as u64,
        i64::MAX as u64 + 1,
        u64::MAX / 1000,
        u64::MAX / 60,
        u64::MAX,
    ];
    let near = (select(edges.to_vec()), -3601..=3601_i64);
    prop_oneof![
        4 => near.prop_map(|(edge, by)| edge.saturating_add_signed(by)),
        1 => any::<u64>(),
    ]
    .boxed()
}

/// A number as JSON may have it.
fn value() -> BoxedStrategy<Value> {
    prop_oneof![
        6 => number().prop_map(|number| json!(number)),
        1 => any::<i64>().prop_map(|number| json!(number)),
        1 => any::<f64>().prop_map(|number| json!(number)),
        1 => number().prop_map(|number| json!(number.to_string())),
    ]
    .boxed()
}

/// What in a payload is a number.
const PLACES: &[&str] = &[
    "/id",
    "/job_info/project_id",
    "/git_info/depth",
    "/runner_info/timeout",
    "/steps/0/timeout",
    "/steps/1/timeout",
];

/// The job's variables that are numbers, some with units behind them.
const VARIABLES: &[&str] = &[
    "GIT_DEPTH",
    "GET_SOURCES_ATTEMPTS",
    "ARTIFACT_DOWNLOAD_ATTEMPTS",
    "RESTORE_CACHE_ATTEMPTS",
    "RUNNER_AFTER_SCRIPT_TIMEOUT",
    "RUNNER_UNPACK_LIMIT",
];

/// A configuration with an S3 cache, and numbers wherever one can be.
fn config(numbers: &[u64]) -> Result<Config, String> {
    let signed: Vec<i64> = numbers.iter().map(|number| number.cast_signed()).collect();
    let short: Vec<u32> = numbers
        .iter()
        .map(|number| u32::try_from(*number).unwrap_or(u32::MAX))
        .collect();
    let text = format!(
        "concurrent = {}\ncheck_interval = {}\nshutdown_timeout = {}\n\
         [[runners]]\nname = \"r\"\nurl = \"https://c\"\ntoken = \"abcdefgh\"\nlimit = {}\noutput_limit = {}\n\
         request_concurrency = {}\n\
         [runners.docker]\nimage = \"ruby\"\nwait_for_services_timeout = {}\nshm_size = {}\ncpu_shares = {}\nservices_limit = {}\n\
         [runners.cache]\nType = \"s3\"\nServerAddress = \"s3.tld\"\nAccessKey = \"key-of-bucket\"\n\
         SecretKey = \"secret-of-bucket\"\nBucketName = \"b\"\n",
        short[0],
        signed[1].saturating_abs(),
        signed[2].saturating_abs(),
        short[3],
        signed[4].saturating_abs(),
        short[5],
        signed[6],
        signed[7],
        signed[8],
        signed[9],
    );
    toml::from_str(&text).map_err(|error| error.to_string())
}

#[test]
fn the_largest_numbers_of_a_payload_and_a_configuration_are_planned_or_refused() {
    let case = (
        vec((select(PLACES), value()), 1..4),
        vec(
            (
                select(VARIABLES),
                number(),
                select(&["", "s", "m", "h"][..]),
            ),
            0..4,
        ),
        vec(number(), 10),
        number(),
    );
    tried(5000, &case, |(places, variables, numbers, now)| {
        let Ok(config) = config(&numbers) else {
            return Ok(());
        };
        let settings = Settings::from(&config);
        // What the scheduler adds to its clock.
        let _ = Instant::now() + settings.check_interval + settings.shutdown_timeout;
        let mut payload = good();
        payload["cache"] = json!([{"key": "k", "paths": ["x"]}]);
        for (place, value) in places {
            let (parent, key) = place.rsplit_once('/').expect("a path");
            if let Some(parent) = payload.pointer_mut(parent)
                && parent.is_object()
            {
                parent[key] = value;
            }
        }
        let list = payload["variables"].as_array_mut().expect("a list");
        for (name, number, unit) in variables {
            list.push(json!({"key": name, "value": format!("{number}{unit}")}));
        }
        let body = payload.to_string();
        let Some(out) = payload::read(body.as_bytes(), API) else {
            return Ok(());
        };
        let job = match out.job {
            Ok(job) => job,
            Err(error) => {
                assert_told(&error.to_string(), &[]);
                return Ok(());
            }
        };
        let host = Host {
            now: now.cast_signed(),
            ..host()
        };
        let names = Names::new("abcdefgh", job.project.id, 0);
        match Plan::new(&job, &config.runners[0], &names, &host) {
            Ok(plan) => {
                let words = Words(vec!["docker".to_owned()]);
                let _ = printer::script(&plan, &words, &job.name, "x");
                // The limit is not over at once, whatever it is.
                if plan
                    .timeout
                    .is_some_and(|limit| limit > Duration::from_hours(1))
                {
                    let limited = Cancel::new().child(plan.timeout);
                    assert_eq!(limited.reason(), None);
                }
            }
            Err(error) => assert_told(&error.to_string(), &[]),
        }
        Ok(())
    });
}

#[test]
fn what_is_counted_does_not_overflow() {
    let case = (vec(number(), 1..5), number(), number());
    tried(2000, &case, |(sizes, said, seconds)| {
        let entries = sizes.iter().map(|size| Entry {
            path: "x".into(),
            kind: Kind::File(*size),
            stat: Stat::default(),
        });
        let selected = Selected {
            entries: entries.collect(),
            ..Selected::default()
        };
        assert!(sizes.iter().all(|size| selected.bytes() >= *size));
        drop(Limit::new(Some(said), sizes[0]).check(seconds, said));
        drop(Limit::new(None, said).check(seconds, said));
        let pause = Backoff::new(Duration::from_mins(1)).pause(Some(Duration::from_secs(seconds)));
        assert!(pause <= Duration::from_mins(5));
        Ok(())
    });
}
