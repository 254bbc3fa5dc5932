//! `peel supervise -- peel serve …`: holder and restarter in one small process.
//!
//! For tests, and for nodes without systemd. It starts the command, starts it again whenever it ends, without limit,
//! and keeps its FUSE connections in between. Its own end is the end of those connections, so containers must be gone
//! first: no upgrade replaces it, and it is not for a pod, whose update would end every container on the node.
//!
//! | signal | what happens |
//! |---|---|
//! | TERM, INT | the command gets TERM and is waited for; then this ends, and with it the connections |
//! | USR1 | the command gets TERM and is started again: from the file that is there now, so this is the upgrade |
//! | HUP | the command gets it |

use std::{
    ffi::OsString,
    path::PathBuf,
    process::ExitStatus,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    signal::unix::{Signal as Signals, SignalKind, signal},
};

use crate::hold::{Held, hold};

/// A command that lived shorter than this cannot even have started to serve: its next start waits.
const AT_ONCE: Duration = Duration::from_millis(100);
/// The first such wait; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Between TERM and KILL.
const GRACE: Duration = Duration::from_secs(10);

/// What the command line says.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Where the holder listens; the command finds it in $PEEL_HOLDER
    #[arg(long, default_value = "/run/peel/hold.sock")]
    pub socket: PathBuf,
    /// What to keep running
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<OsString>,
}

/// The `supervise` role: until TERM or INT.
///
/// # Errors
/// The holder's socket cannot be made, or the command cannot be started for the first time.
#[tokio::main(flavor = "current_thread")]
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let mut asked = Asked::new()?;
    let held = Held::listen(&options.socket)
        .with_context(|| format!("cannot hold at {}", options.socket.display()))?;
    let holder = std::thread::Builder::new().name("hold".into()).spawn(move || hold(held))?;
    let mut child = start(options)?;
    let mut pause = Duration::ZERO;
    loop {
        let started = Instant::now();
        let (status, ending) = look_after(&mut child, &mut asked).await?;
        if ending || holder.is_finished() {
            return Ok(());
        }
        tracing::warn!(%status, "the command ended and is started again");
        let mut lived = started.elapsed();
        child = loop {
            pause = next_pause(pause, lived);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                ask = asked.next() => if ask == Ask::End { return Ok(()) },
            }
            match start(options) {
                Ok(child) => break child,
                // An upgrade may be under way.
                Err(error) => tracing::error!("{error:#}"),
            }
            lived = Duration::ZERO;
        };
    }
}

/// How long the next start waits after a command that lived for `lived`.
fn next_pause(last: Duration, lived: Duration) -> Duration {
    if lived >= AT_ONCE { Duration::ZERO } else { (last * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE) }
}

fn start(options: &Options) -> anyhow::Result<Child> {
    let [program, arguments @ ..] = &options.command[..] else { anyhow::bail!("no command") };
    Command::new(program)
        .args(arguments)
        .env("PEEL_HOLDER", &options.socket)
        .stdin(std::process::Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))
}

/// Waits for the command's end, and passes on what is asked for meanwhile; says whether this is to end, too.
async fn look_after(child: &mut Child, asked: &mut Asked) -> anyhow::Result<(ExitStatus, bool)> {
    loop {
        let ask = tokio::select! {
            status = child.wait() => return Ok((status?, false)),
            ask = asked.next() => ask,
        };
        if ask == Ask::Reload {
            send(child, Signal::HUP);
            continue;
        }
        let ending = ask == Ask::End;
        send(child, Signal::TERM);
        if let Ok(status) = tokio::time::timeout(GRACE, child.wait()).await {
            return Ok((status?, ending));
        }
        tracing::error!("the command does not end and is killed");
        child.start_kill()?;
        return Ok((child.wait().await?, ending));
    }
}

fn send(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    // Gone already: its end is seen next.
    if let Some(pid) = pid
        && let Err(error) = kill_process(pid, signal)
    {
        tracing::debug!(%error, ?signal, "not sent");
    }
}

/// Signals that were sent here.
struct Asked {
    terminate: Signals,
    interrupt: Signals,
    restart: Signals,
    reload: Signals,
}

impl Asked {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            restart: signal(SignalKind::user_defined1())?,
            reload: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Ask {
        tokio::select! {
            _ = self.terminate.recv() => Ask::End,
            _ = self.interrupt.recv() => Ask::End,
            _ = self.restart.recv() => Ask::Restart,
            _ = self.reload.recv() => Ask::Reload,
        }
    }
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    End,
    Restart,
    Reload,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_dies_at_once_waits() {
        let mut pause = Duration::ZERO;
        for lived in [300, 250, 9000] {
            pause = next_pause(pause, Duration::from_millis(lived));
            assert_eq!(pause, Duration::ZERO);
        }
        let waits: Vec<u128> = (0..8)
            .map(|_| {
                pause = next_pause(pause, Duration::from_millis(5));
                pause.as_millis()
            })
            .collect();
        assert_eq!(waits, [20, 40, 80, 160, 320, 500, 500, 500]);
        assert_eq!(next_pause(pause, AT_ONCE), Duration::ZERO);
    }
}
