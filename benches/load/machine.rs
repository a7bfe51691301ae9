//! What the machine is, and what a process takes of it. Linux only: it reads `/proc`.

use std::fs::read_to_string;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// One line that names the machine.
pub fn describe() -> String {
    let field = |file: &str, key: &str| {
        let text = read_to_string(file).unwrap_or_default();
        let line = text
            .lines()
            .find(|line| line.starts_with(key))
            .unwrap_or_default()
            .to_owned();
        line.split_once(':')
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZeroUsize::get);
    let memory = field("/proc/meminfo", "MemTotal")
        .trim_end_matches(" kB")
        .parse()
        .unwrap_or(0_u64)
        / 1_048_576;
    let kernel = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{}, {cores} cores, {memory} GiB, Linux {}",
        field("/proc/cpuinfo", "model name"),
        kernel.trim()
    )
}

/// Load average of the last minute.
pub fn load() -> String {
    read_to_string("/proc/loadavg")
        .unwrap_or_default()
        .split(' ')
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Resident memory of a process in MB (10⁶ bytes).
pub fn resident(process: u32) -> f64 {
    let status = read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse::<f64>().ok())
        .unwrap_or(0.0)
        * 1_024.0
        / 1e6
}

/// Processor time that a process has used, user and system, in seconds. The kernel counts in hundredths.
pub fn processor_time(process: u32) -> f64 {
    let stat = read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name in brackets may hold spaces; fields 14 and 15 of the line are times.
    let after = stat
        .rsplit_once(')')
        .map(|(_, after)| after)
        .unwrap_or_default();
    let ticks: f64 = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    ticks / 100.0
}

/// Watches the resident memory of a process and keeps the largest figure.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<f64>,
}

impl Watch {
    /// Looks every 50 ms.
    pub fn start(process: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut largest = 0.0_f64;
            while !stopped.load(Ordering::Relaxed) {
                largest = largest.max(resident(process));
                std::thread::sleep(Duration::from_millis(50));
            }
            largest
        });
        Self { stop, thread }
    }

    /// The largest figure, in MB.
    pub fn stop(self) -> f64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or(0.0)
    }
}
