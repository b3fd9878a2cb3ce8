//! What the kernel knows of a process: CPU time and memory.

use std::{fs, io, time::Duration};

/// User and system time that the process `pid` has used.
pub(crate) fn cpu_time(pid: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // proc(5): the command in parentheses may hold anything, so count from its end. State is
    // field 3; utime and stime are fields 14 and 15, in clock ticks.
    let after_command = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let mut ticks = after_command.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    match (ticks.next(), ticks.next()) {
        (Some(Ok(user)), Some(Ok(system))) => {
            Ok(Duration::from_millis((user + system) * MS_PER_TICK))
        }
        _ => Err(io::Error::other("/proc/PID/stat has another form")),
    }
}

/// Resident memory now and at its peak, in KiB (`VmRSS`, `VmHWM`).
pub(crate) fn memory_kib(pid: u32) -> io::Result<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    match (field("VmRSS:"), field("VmHWM:")) {
        (Some(now), Some(peak)) => Ok((now, peak)),
        _ => Err(io::Error::other("/proc/PID/status has another form")),
    }
}

/// USER_HZ is 100 on every architecture that Linux runs on but Alpha.
const MS_PER_TICK: u64 = 10;
