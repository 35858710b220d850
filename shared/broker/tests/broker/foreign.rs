//! Clients of other makes, which users will point at the broker.
//!
//! They have to be installed, so these tests run only where `TIDINGS_TEST_BACKENDS` contains `foreign`;
//! a client that is missing there is a failure. `kcat` is a package of Debian and others; kafka-python
//! is looked for by `TIDINGS_TEST_PYTHON`, or `python3` if that is not set.

use std::ffi::OsStr;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::{DEADLINE, Running};

fn wanted() -> bool {
    let backends = std::env::var("TIDINGS_TEST_BACKENDS").unwrap_or_default();
    let wanted = backends.split([',', ' ']).any(|backend| backend == "foreign");
    if !wanted {
        println!("skipped: TIDINGS_TEST_BACKENDS does not contain `foreign`");
    }
    wanted
}

/// Runs a program to its end and answers what it printed.
async fn run(program: impl AsRef<OsStr>, arguments: &[&str], input: &str) -> String {
    let name = program.as_ref().display().to_string();
    let mut child = Command::new(&program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {name}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = timeout(DEADLINE, child.wait_with_output())
        .await
        .expect("it ends")
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{name}: {}\n{printed}",
        String::from_utf8_lossy(&output.stderr)
    );
    printed
}

#[tokio::test(flavor = "multi_thread")]
async fn kcat_produces_consumes_and_shares() {
    if !wanted() {
        return;
    }
    let broker = Running::with(|config| config.default_partitions = 2).await;
    let addr = broker.broker.addr().to_string();
    let kcat = async |arguments: &[&str], input: &str| run("kcat", &[&["-b", &addr], arguments].concat(), input).await;

    for codec in ["none", "gzip", "snappy", "lz4"] {
        let numbers: Vec<String> = (0..100).map(|i| format!("k{}:{i}", i % 5)).collect();
        let idempotent = ["-X", "enable.idempotence=true"];
        let produce = [
            &["-P", "-t", codec, "-K:", "-z", codec, "-H", "source=kcat"][..],
            &idempotent,
        ]
        .concat();
        kcat(&produce, &(numbers.join("\n") + "\n")).await;
        let consumed = kcat(
            &["-C", "-t", codec, "-o", "beginning", "-e", "-q", "-f", "%h %k:%s\n"],
            "",
        )
        .await;
        let mut lines: Vec<&str> = consumed
            .lines()
            .map(|l| l.strip_prefix("source=kcat ").unwrap())
            .collect();
        lines.sort_by_key(|line| line.split_once(':').unwrap().1.parse::<u32>().unwrap());
        assert_eq!(lines, numbers, "{codec}");
    }

    let listed = kcat(&["-L"], "").await;
    assert!(listed.contains("topic \"gzip\" with 2 partitions"), "{listed}");
    let latest = kcat(&["-Q", "-t", "gzip:0:-1", "-t", "gzip:1:-1"], "").await;
    let ends = latest
        .lines()
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap());
    assert_eq!(ends.sum::<u32>(), 100, "{latest}");

    let group = [
        "-G",
        "kcat",
        "-e",
        "-q",
        "-X",
        "auto.offset.reset=earliest",
        "-f",
        "%s\n",
        "gzip",
    ];
    assert_eq!(kcat(&group, "").await.lines().count(), 100);
    kcat(&["-P", "-t", "gzip"], "more\n").await;
    assert_eq!(kcat(&group, "").await, "more\n", "it goes on where it was");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_python_administers_produces_and_consumes() {
    if !wanted() {
        return;
    }
    let broker = Running::start().await;
    let python = std::env::var_os("TIDINGS_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let addr = broker.broker.addr().to_string();
    let printed = run(python, &["-c", include_str!("kafka_python.py"), &addr], "").await;
    assert_eq!(printed.trim(), "done");
    broker.stop().await;
}
