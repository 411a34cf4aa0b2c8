//! `alloy-runner health-check`, which runs in the helper container.

use std::io;
use std::time::Duration;

use clap::Args;

use crate::helper::health_check::{Target, check};

/// Wait until services answer; prints a line `INDEX PROBLEM` for each that does not
#[derive(Args)]
pub(super) struct HealthCheck {
    /// How long to wait
    #[arg(long, value_name = "SECONDS", default_value = "30")]
    timeout: u64,
    /// The services, as HOST=PORTS
    #[arg(value_name = "HOST=PORTS", required = true)]
    targets: Vec<Target>,
}

impl HealthCheck {
    pub fn run(self) -> u8 {
        // This process may start before the services run. Its standard input ends when they do.
        drop(io::copy(&mut io::stdin(), &mut io::sink()));
        let problems = check(&self.targets, Duration::from_secs(self.timeout));
        for (index, problem) in problems.iter().enumerate() {
            if let Some(problem) = problem {
                println!("{index} {problem}");
            }
        }
        0
    }
}
