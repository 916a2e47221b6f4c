//! A thread that stands still while the others of its process run, as one that is stuck does.

use std::fs;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::wait::PATIENCE;

/// How often the tracer looks whether the process was killed.
const LOOK: Duration = Duration::from_millis(20);
/// How long a thread runs on that was not waiting when it was to be stopped.
const AGAIN: Duration = Duration::from_millis(1);

/// A stopped thread of another process. Dropping this lets it go on.
#[derive(Debug)]
pub struct StoppedThread {
    release: Option<Sender<()>>,
    /// Only the thread that began to trace another one may let it go.
    tracer: Option<JoinHandle<()>>,
}

impl StoppedThread {
    /// Stops the only thread of this name at a moment when it waits for input, so that it holds no
    /// lock that other threads need. Returns once it has stopped.
    ///
    /// # Panics
    ///
    /// If there is no such thread, or more than one, or if this process may not trace the other.
    pub fn stop(process: u32, name: &str) -> Self {
        let thread = find(process, name);
        let (release, released) = mpsc::channel();
        let (stopped, is_stopped) = mpsc::channel();
        let tracer = std::thread::spawn(move || {
            ptrace::seize(thread, Options::empty()).expect("ptrace is allowed for a child");
            interrupt_while_waiting(process, thread);
            let _ = stopped.send(());
            while released.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                // A process that was killed has ended only when its tracer has noticed.
                if has_ended(thread) {
                    return;
                }
            }
            let _killed_meanwhile = ptrace::detach(thread, None);
        });
        let stopped = is_stopped.recv_timeout(PATIENCE);
        assert!(stopped.is_ok(), "the thread {name} of process {process} was not stopped");
        Self { release: Some(release), tracer: Some(tracer) }
    }
}

impl Drop for StoppedThread {
    fn drop(&mut self) {
        self.release.take();
        if let Some(tracer) = self.tracer.take() {
            let _ = tracer.join();
        }
    }
}

/// The thread of this name. Waits for it: a thread has the name of the one that began it until it
/// has set its own.
fn find(process: u32, name: &str) -> Pid {
    let begun = Instant::now();
    loop {
        let found = threads(process, name);
        match found.as_slice() {
            [thread] => return *thread,
            _ if begun.elapsed() < PATIENCE => std::thread::sleep(LOOK),
            _ => panic!("threads of process {process} with the name {name}: {found:?}"),
        }
    }
}

fn threads(process: u32, name: &str) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("the process runs");
    let ids = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let is_named = |id: &i32| {
        let comm = fs::read_to_string(format!("/proc/{process}/task/{id}/comm"));
        comm.is_ok_and(|comm| comm.trim_end() == name)
    };
    ids.filter(is_named).map(Pid::from_raw).collect()
}

/// Stops a thread that this one traces, again and again until that happens while it waits.
fn interrupt_while_waiting(process: u32, thread: Pid) {
    let begun = Instant::now();
    loop {
        ptrace::interrupt(thread).expect("the thread runs");
        let signal = match waitpid(thread, Some(WaitPidFlag::__WALL)).expect("a traced thread") {
            WaitStatus::PtraceEvent(..) if is_waiting(process, thread) => return,
            WaitStatus::Stopped(_, signal) => Some(signal),
            WaitStatus::PtraceEvent(..) => None,
            other => panic!("the thread did not stop: {other:?}"),
        };
        assert!(begun.elapsed() < PATIENCE, "the thread never waits");
        ptrace::cont(thread, signal).expect("a stopped thread");
        std::thread::sleep(AGAIN);
    }
}

/// Whether a thread is in `epoll_wait`, by whichever of its names.
fn is_waiting(process: u32, thread: Pid) -> bool {
    let call = fs::read_to_string(format!("/proc/{process}/task/{thread}/syscall"));
    let number = call.ok().and_then(|call| call.split(' ').next()?.parse::<i64>().ok());
    number.is_some_and(|number| EPOLL_WAITS.contains(&number))
}

#[cfg(target_arch = "x86_64")]
const EPOLL_WAITS: [i64; 3] = [232, 281, 441];
/// Of the architectures whose numbers are those of `asm-generic/unistd.h`.
#[cfg(not(target_arch = "x86_64"))]
const EPOLL_WAITS: [i64; 2] = [22, 441];

fn has_ended(thread: Pid) -> bool {
    let flags = WaitPidFlag::__WALL | WaitPidFlag::WNOHANG;
    !matches!(waitpid(thread, Some(flags)), Ok(WaitStatus::StillAlive))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::process::Process;

    /// The state of a thread, as `ps` shows it.
    fn state(process: u32) -> char {
        let stat = fs::read_to_string(format!("/proc/{process}/task/{process}/stat")).unwrap();
        stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
    }

    /// A program with one thread that waits by `epoll`.
    fn waiting() -> Process {
        let port = crate::port::Port::free();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.number().to_string(), "--save", ""]);
        Process::start(command.stdout(Stdio::null()))
    }

    fn main_thread(process: &Process) -> StoppedThread {
        let begun = Instant::now();
        let name = || fs::read_to_string(format!("/proc/{0}/task/{0}/comm", process.id()));
        while !name().unwrap().starts_with("redis") && begun.elapsed() < PATIENCE {
            std::thread::sleep(LOOK);
        }
        StoppedThread::stop(process.id(), name().unwrap().trim_end())
    }

    #[test]
    fn it_stands_still_until_it_is_let_go() {
        let process = waiting();
        let stopped = main_thread(&process);
        assert_eq!(state(process.id()), 't');
        drop(stopped);
        assert_ne!(state(process.id()), 't');
    }

    #[test]
    fn its_process_can_be_killed_meanwhile() {
        let mut process = waiting();
        let stopped = main_thread(&process);
        process.kill();
        drop(stopped);
    }
}
