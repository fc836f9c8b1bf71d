//! The machine under a comparison, for the record: numbers from different
//! machines do not compare.

use std::{fs, thread};

use serde::Serialize;

/// What is told of the machine. Nothing identifies it.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Model of the processor.
    pub processor: String,
    /// Processors that this process may use.
    pub processors: usize,
    /// Release of the kernel.
    pub kernel: String,
    /// Load average of the last minute, at the start.
    pub load_average: f64,
}

impl Machine {
    /// Reads `/proc`; what it does not tell is `unknown` or 0.
    pub fn read() -> Self {
        let file = |path| fs::read_to_string(path).unwrap_or_default();
        Self {
            processor: processor(&file("/proc/cpuinfo")),
            processors: thread::available_parallelism().map_or(0, usize::from),
            kernel: file("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_average: load_average(&file("/proc/loadavg")),
        }
    }

    /// Tells whether the machine had other work to do when the comparison began.
    pub fn is_busy(&self) -> bool {
        self.load_average > 0.5
    }
}

fn processor(cpuinfo: &str) -> String {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == "model name")
        .map_or("unknown", |(_, value)| value.trim())
        .to_owned()
}

fn load_average(loadavg: &str) -> f64 {
    let first = loadavg.split(' ').next();
    first
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Fast CPU @ 2.5GHz\nmodel name\t: other\n";
        assert_eq!(processor(cpuinfo), "Fast CPU @ 2.5GHz");
        assert_eq!(processor(""), "unknown");
        assert_eq!(load_average("1.25 0.50 0.10 2/345 678\n"), 1.25);
        assert_eq!(load_average(""), 0.0);
    }
}
