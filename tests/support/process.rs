//! Processes of others and of ours: started, waited for, and ended with the test.
//!
//! In: a command. Out: a running process with its log in a file, or what a finished one said.
//! Knows nothing of what runs. Every wait has a deadline.
use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::http;

/// A server that a test started; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output in `directory/name.log`, and an open standard input whose
    /// closing tells the peers of tests/peers to end.
    pub(crate) fn start(name: &str, command: &mut Command, directory: &Path) -> Self {
        let log = directory.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log).unwrap();
        let child = command
            .stdin(Stdio::piped())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}; {INSTALL_HINT}"));
        Self { name: name.to_owned(), child, log }
    }

    /// The rest of the first line that starts with `prefix`.
    pub(crate) fn wait_for_line(&mut self, prefix: &str) -> String {
        self.wait_for(&format!("a line '{prefix}…'"), |log| {
            // Only whole lines: the last one may still be on its way.
            let whole = &log[..=log.rfind('\n')?];
            whole.lines().find_map(|line| line.strip_prefix(prefix)).map(str::to_owned)
        })
    }

    /// Until `url` answers 200.
    pub(crate) fn wait_for_answer(&mut self, url: &str) {
        self.wait_for(url, |_| http::get(url).filter(|answer| answer.status == 200).map(drop));
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGHUP.
    pub(crate) fn hang_up(&self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::HUP).unwrap();
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn terminate(&mut self) -> std::process::ExitStatus {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        self.ended()
    }

    /// Waits for the end.
    pub(crate) fn ended(&mut self) -> std::process::ExitStatus {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "{} does not end: {}", self.name, self.log());
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Sends SIGKILL and waits for the end: a crash.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Everything the process has written so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn wait_for<T>(&mut self, what: &str, mut look: impl FnMut(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            // Asked before the log is read, so that the last words of a dead process are seen.
            let ended = self.child.try_wait().unwrap();
            if let Some(found) = look(&self.log()) {
                return found;
            }
            let (name, log) = (&self.name, self.log());
            assert!(ended.is_none(), "{name} ended ({ended:?}) before {what}:\n{log}");
            assert!(Instant::now() < deadline, "{name}: no {what} in {START_TIMEOUT:?}:\n{log}");
            thread::sleep(POLL_INTERVAL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing can be done about a process that is gone already.
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            eprintln!(
                "--- {}\n{}---",
                self.name,
                fs::read_to_string(&self.log).unwrap_or_default()
            );
        }
    }
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) succeeded: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Its standard output; the test fails if the command did.
    #[track_caller]
    pub(crate) fn success(self) -> String {
        assert!(self.succeeded, "failed:\n{}\n{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Everything it said; the test fails if the command did not.
    #[track_caller]
    pub(crate) fn failure(self) -> String {
        assert!(!self.succeeded, "succeeded:\n{}\n{}", self.stdout, self.stderr);
        self.stdout + &self.stderr
    }
}

/// Runs `program` to its end, or kills it after a while.
pub(crate) fn run<S: AsRef<std::ffi::OsStr>>(
    program: impl AsRef<Path>,
    arguments: &[S],
) -> Outcome {
    finish(Command::new("timeout").arg(RUN_TIMEOUT).arg(program.as_ref()).args(arguments))
}

/// As [`run`], with no environment but `environment`.
pub(crate) fn run_in<S: AsRef<std::ffi::OsStr>>(
    environment: &[(&str, &str)],
    program: impl AsRef<Path>,
    arguments: &[S],
) -> Outcome {
    finish(
        Command::new("timeout")
            .arg(RUN_TIMEOUT)
            .arg(program.as_ref())
            .args(arguments)
            .env_clear()
            .envs(environment.iter().copied()),
    )
}

/// As [`run`], with a standard input.
pub(crate) fn run_with_input<S: AsRef<std::ffi::OsStr>>(
    program: impl AsRef<Path>,
    arguments: &[S],
    input: &Path,
) -> Outcome {
    finish(
        Command::new("timeout")
            .arg(RUN_TIMEOUT)
            .arg(program.as_ref())
            .args(arguments)
            .stdin(File::open(input).unwrap()),
    )
}

fn finish(command: &mut Command) -> Outcome {
    let output = command
        // sigstore-python breaks its lines where the terminal ends.
        .env("COLUMNS", "1000")
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Outcome {
        succeeded: output.status.success(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// A port of 127.0.0.1 that is free, and stays free while its server is down: it lies below those
/// that the kernel gives to outgoing connections, and no other test of this process gets it.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let ports = u32::from(PORTS.end - PORTS.start);
    for _ in 0..ports {
        // Two test runs at once begin at different places.
        let step =
            std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + u16::try_from(step % ports).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port of {PORTS:?} is free");
}

/// Linux gives 32768 and up to outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
const INSTALL_HINT: &str = "tests/run installs what the tests need";
const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Seconds, as coreutils' `timeout` takes it.
const RUN_TIMEOUT: &str = "120";
