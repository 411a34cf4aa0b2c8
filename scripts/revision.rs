//! Build script: the commit that the executable is built from.

use std::process::Command;

fn main() {
    let output = Command::new("git")
        .args(["rev-parse", "--short=8", "HEAD"])
        .output();
    let revision = output
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned());
    println!("cargo:rustc-env=ALLOY_RUNNER_REVISION={revision}");
    println!("cargo:rerun-if-changed=.git/HEAD");
    println!("cargo:rerun-if-changed=.git/logs/HEAD");
    println!("cargo:rerun-if-changed=scripts/revision.rs");
}
