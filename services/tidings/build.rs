//! Tells the binary what it was built from.

use std::process::Command;

fn main() {
    // Not called TIDINGS_…: `cargo run` passes these on to the program, which refuses settings that it does not know.
    let given = std::env::var("BUILD_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = given.or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
    println!("cargo::rerun-if-env-changed=BUILD_COMMIT");
    println!(
        "cargo::rustc-env=BUILD_COMMIT={}",
        commit.unwrap_or_else(|| "unknown".to_owned())
    );
    println!("cargo::rustc-env=BUILD_TIME={}", built_at());
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    // Changes with every commit and every change of branch.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    println!("cargo::rerun-if-changed=build.rs");
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .args(arguments)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// RFC 3339. A build that is to be reproducible says when it is.
fn built_at() -> String {
    let given = std::env::var("SOURCE_DATE_EPOCH")
        .ok()
        .and_then(|seconds| seconds.parse().ok());
    #[allow(clippy::disallowed_methods, reason = "no one passes time to a build script")]
    let now = chrono::Utc::now();
    let time = given
        .and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0))
        .unwrap_or(now);
    time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
