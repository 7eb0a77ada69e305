//! What a process that holds keys gives up: dumps, cores, new privileges, capabilities.
//!
//! Capabilities and `no_new_privs` belong to a thread and pass to the threads it starts: call these
//! before the process starts its second one.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

/// Makes the memory of the process unreadable for others: no core dump, no ptrace, no
/// /proc/PID/mem. Programs it starts make no core dumps either.
///
/// # Errors
/// When the kernel refuses.
pub fn hide_memory() -> io::Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let no_core = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    rustix::process::setrlimit(Resource::Core, no_core)?;
    Ok(())
}

/// Hides the memory of the process and refuses privileges from programs it might start.
///
/// # Errors
/// When the kernel refuses.
pub fn deny_inspection() -> io::Result<()> {
    hide_memory()?;
    rustix::thread::set_no_new_privs(true)?;
    Ok(())
}

/// Drops every capability of the calling thread for good.
///
/// # Errors
/// When the kernel refuses.
pub fn drop_capabilities() -> io::Result<()> {
    rustix::thread::clear_ambient_capability_set()?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none)?;
    Ok(())
}

#[cfg(test)]
mod tests;
