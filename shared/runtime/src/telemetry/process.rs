//! What the operating system says of this process, under the names that Prometheus' own clients use. On Linux alone:
//! elsewhere nothing is shown.

use std::fs;

/// What `/proc` counts processor time and starts in, to the second.
const TICKS: f64 = 100.0;

/// Shows how it is now.
pub(super) fn show() {
    let Some(now) = Process::now() else { return };
    // A gauge, for a counter takes whole seconds only. It never falls.
    metrics::gauge!("process_cpu_seconds_total").set(now.cpu_seconds);
    if let Some(started) = now.started {
        metrics::gauge!("process_start_time_seconds").set(started);
    }
    if let Some(bytes) = fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| resident(&status))
    {
        metrics::gauge!("process_resident_memory_bytes").set(bytes);
    }
    if let (Some(open), Some(limit)) = (open_files(), most_files()) {
        metrics::gauge!("process_open_fds").set(open);
        metrics::gauge!("process_max_fds").set(limit);
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Process {
    cpu_seconds: f64,
    /// In Unix time.
    started: Option<f64>,
}

impl Process {
    fn now() -> Option<Self> {
        let booted = fs::read_to_string("/proc/stat").ok().and_then(|stat| booted(&stat));
        Self::read(&fs::read_to_string("/proc/self/stat").ok()?, booted)
    }

    /// Reads `/proc/self/stat`, whose second field is the program's name and may hold anything.
    fn read(stat: &str, booted: Option<f64>) -> Option<Self> {
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<_> = fields.split_whitespace().collect();
        // Counted from the third field on, as proc(5) numbers them.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / TICKS,
            started: booted.zip(field(22)).map(|(booted, ticks)| booted + ticks / TICKS),
        })
    }
}

/// When the machine was started, in Unix time.
fn booted(stat: &str) -> Option<f64> {
    stat.lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()
}

/// Memory in use, in bytes.
fn resident(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024.0)
}

fn open_files() -> Option<f64> {
    // One of them is the folder that is being read.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

fn most_files() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernel_is_read_whatever_the_program_is_called() {
        let line = "1234 (a (b) c) S 1 1234 1234 0 -1 4194560 5 0 0 0 250 50 0 0 20 0 9 0 4200 1000000 2560";
        let expected = Process {
            cpu_seconds: 3.0,
            started: Some(1_700_000_042.0),
        };
        assert_eq!(
            Process::read(line, booted("cpu 1 2\nbtime 1700000000\n")),
            Some(expected)
        );
        assert_eq!(Process::read("1234 (x) S 1", None), None);
        assert_eq!(resident("Name:\ta\nVmRSS:\t    2560 kB\n"), Some(2560.0 * 1024.0));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_memory_files_and_a_start() {
        let now = Process::now().unwrap();
        assert!(now.started.is_some_and(|started| started > 1_500_000_000.0));
        assert!(resident(&fs::read_to_string("/proc/self/status").unwrap()).unwrap() > 1_000_000.0);
        assert!(open_files().unwrap() >= 3.0 && most_files().unwrap() > 3.0);
    }
}
