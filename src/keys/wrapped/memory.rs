//! Keeps what this process holds out of swap and core files.
//!
//! In: nothing. Out: the whole process sealed, or why it cannot be. For good: keys stay until the
//! process ends.
//!
//! All of it is locked, and not the pages of one key: the key lies where the cryptography library
//! puts it, and passes through buffers on its way.

use std::io;

use rustix::{
    io::Errno,
    mm::{MlockAllFlags, mlockall},
    process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit},
    thread::{CapabilitySet, capabilities},
};

/// Why the memory of this process cannot be kept to itself.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    #[error(
        "memory cannot be locked, so that the decrypted key could end up in swap: this process \
         may lock no more than {limit_bytes} bytes. Lift it (systemd: LimitMEMLOCK=infinity; \
         Docker: --ulimit memlock=-1; a shell: ulimit -l unlimited), or give it CAP_IPC_LOCK"
    )]
    Limit { limit_bytes: u64 },
    #[error("memory cannot be locked, so that the decrypted key could end up in swap: {source}")]
    Locking { source: io::Error },
    #[error("core dumps cannot be switched off, so that the key could end up in one: {source}")]
    CoreDumps { source: io::Error },
}

/// Locks all memory, present and future, and switches core dumps off. Doing it again changes
/// nothing.
pub(super) fn seal() -> Result<(), MemoryError> {
    let cores_off = |source: Errno| MemoryError::CoreDumps { source: source.into() };
    // Two ways, because each misses one: a limit of 0 does not hold where the kernel pipes dumps
    // to a program (core(5)), and what is not dumpable becomes so again by execve.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(cores_off)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(cores_off)?;
    lift_limit()?;
    // Pages are locked as they are first used: the stacks of idle threads cost nothing.
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    mlockall(flags).map_err(|source| MemoryError::Locking { source: source.into() })
}

/// A limit that suffices now would let allocations fail later, in the middle of the work: so there
/// must be none, or none that holds for this process.
fn lift_limit() -> Result<(), MemoryError> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Memlock);
    let bound_by_limits = !capabilities(None)
        .is_ok_and(|capabilities| capabilities.effective.contains(CapabilitySet::IPC_LOCK));
    match maximum {
        Some(limit_bytes) if bound_by_limits => Err(MemoryError::Limit { limit_bytes }),
        Some(_) => Ok(()),
        None => setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None })
            .map_err(|source| MemoryError::Locking { source: source.into() }),
    }
}
