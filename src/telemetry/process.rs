//! What the system says of this process, under the names that every Prometheus client library has.

use procfs::{
    ProcResult,
    process::{LimitValue, Process},
};

use super::scrape::{Scrape, ScrapeError};

/// Nothing where the system does not tell: no number is better than a wrong one.
pub(super) fn describe(scrape: &Scrape) -> Result<(), ScrapeError> {
    let Ok(numbers) = Numbers::read() else { return Ok(()) };
    let cpu = "Processor time used, in seconds";
    scrape.counter("process_cpu_seconds_total", cpu, numbers.cpu_seconds)?;
    for (name, help, value) in [
        ("process_open_fds", "File descriptors that are open", numbers.open_fds),
        ("process_max_fds", "File descriptors that may be open", numbers.max_fds),
        ("process_resident_memory_bytes", "Memory in use", numbers.resident_bytes),
        ("process_virtual_memory_bytes", "Address space in use", numbers.virtual_bytes),
        ("process_start_time_seconds", "When the process started, since 1970", numbers.started),
        ("process_threads", "Threads of the operating system", numbers.threads),
    ] {
        scrape.gauge(name, help, value)?;
    }
    Ok(())
}

struct Numbers {
    cpu_seconds: f64,
    open_fds: f64,
    max_fds: f64,
    resident_bytes: f64,
    virtual_bytes: f64,
    started: f64,
    threads: f64,
}

impl Numbers {
    fn read() -> ProcResult<Self> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let ticks = procfs::ticks_per_second() as f64;
        let max_fds = match process.limits()?.max_open_files.soft_limit {
            LimitValue::Value(limit) => limit as f64,
            LimitValue::Unlimited => f64::INFINITY,
        };
        Ok(Self {
            cpu_seconds: (stat.utime + stat.stime) as f64 / ticks,
            open_fds: process.fd_count()? as f64,
            max_fds,
            resident_bytes: (stat.rss * procfs::page_size()) as f64,
            virtual_bytes: stat.vsize as f64,
            started: procfs::boot_time_secs()? as f64 + stat.starttime as f64 / ticks,
            threads: stat.num_threads as f64,
        })
    }
}
