//! The `peel serve` under test: the built program, with its own root, socket and configuration.

mod settings;

use std::{
    env, fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use toml::Table;

use crate::{process::Daemon, wait};

/// It answers within a second of its start; this allows for a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A running Peel. Dropping it kills it; its mounts stay until the test's folder is dropped.
#[derive(Debug)]
pub struct Peel {
    dir: PathBuf,
    daemon: Daemon,
    launch: Launch,
}

/// How it is started.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// By whom.
    pub run: Run,
    /// More arguments of `peel serve`.
    pub arguments: Vec<String>,
    /// More of its environment.
    pub environment: Vec<(String, String)>,
}

impl From<Run> for Launch {
    fn from(run: Run) -> Self {
        Self { run, ..Self::default() }
    }
}

/// Who runs it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Run {
    /// `peel serve`: its end is that of its FUSE connection.
    #[default]
    Alone,
    /// Under `peel supervise`, which keeps the connection and starts it again. Stopping it stops both.
    Supervised,
}

impl Peel {
    /// Starts it in `dir`, for the containerd whose folder is `containerd`; `settings` go over the harness's own.
    /// Started as `launch` says.
    ///
    /// # Errors
    /// When the program was not built or does not come up.
    pub fn start(dir: &Path, containerd: &Path, settings: &Table, launch: Launch) -> Result<Self> {
        fs::create_dir_all(root(dir))?;
        settings::write(dir, containerd, settings)?;
        use_program(dir, &binary()?)?;
        let daemon = spawn(dir, &launch)?;
        let mut started = Self { dir: dir.to_owned(), daemon, launch };
        started.wait_ready()?;
        Ok(started)
    }

    /// SIGTERM.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn stop(&mut self) -> Result<()> {
        self.daemon.terminate().map(drop)
    }

    /// SIGKILL: a crash.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.daemon.kill().map(drop)
    }

    /// Sends `signal` to the serving process alone; under a supervisor another one follows it.
    ///
    /// # Errors
    /// When it is not running at the moment.
    pub fn signal_server(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.server_pid()?)?).context("a process id")?;
        Ok(kill_process(pid, signal)?)
    }

    /// The serving process.
    ///
    /// # Errors
    /// When it is not running at the moment.
    pub fn server_pid(&self) -> Result<u32> {
        let pid = self.daemon.pid();
        match self.launch.run {
            Run::Alone => Ok(pid),
            Run::Supervised => {
                let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
                children.trim().parse().with_context(|| format!("no serving process: {children:?}"))
            }
        }
    }

    /// Puts another program into the place of the one that runs, and has the supervisor take it: an upgrade.
    ///
    /// # Errors
    /// When there is no supervisor.
    pub fn upgrade(&self, program: &Path) -> Result<()> {
        anyhow::ensure!(self.launch.run == Run::Supervised, "nobody upgrades a Peel that runs alone");
        use_program(&self.dir, program)?;
        self.daemon.signal(Signal::USR1)
    }

    /// Starts it again after [`stop`](Self::stop) or [`kill`](Self::kill).
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_again(&mut self) -> Result<()> {
        self.daemon = spawn(&self.dir, &self.launch)?;
        self.wait_ready()
    }

    /// SIGTERM and a new start.
    ///
    /// # Errors
    /// When it does not end or does not come up.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.start_again()
    }

    /// SIGTERM and a new start with `settings` over those that it had.
    ///
    /// # Errors
    /// When it does not end or does not come up.
    pub fn restart_with(&mut self, settings: &Table) -> Result<()> {
        self.configure(settings)?;
        self.restart()
    }

    /// Puts `settings` over those that its next start finds.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn configure(&self, settings: &Table) -> Result<()> {
        settings::change(&self.dir, settings)
    }

    /// Halts it (SIGSTOP) or lets it go on (SIGCONT).
    ///
    /// # Errors
    /// When it is gone.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        self.daemon.signal(if frozen { Signal::STOP } else { Signal::CONT })
    }

    fn wait_ready(&mut self) -> Result<()> {
        let socket = socket(&self.dir);
        wait::until("peel to listen", START_LIMIT, || {
            self.daemon.check_alive()?;
            Ok(UnixStream::connect(&socket).ok().map(drop))
        })
    }

    /// Runs `peel COMMAND …` against this daemon, as in `["stats", "--json"]`.
    ///
    /// # Errors
    /// When it fails.
    pub fn command(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(binary()?);
        command.args(arguments).arg("--control").arg(control_socket(&self.dir));
        crate::process::run(&mut command)
    }

    /// The answer of `peel COMMAND --json`.
    ///
    /// # Errors
    /// When it fails or is no JSON.
    pub fn json(&self, command: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.command(&[command, "--json"])?)?)
    }

    /// Its state directory (`--root`).
    #[must_use]
    pub fn root(&self) -> PathBuf {
        root(&self.dir)
    }

    /// Its snapshots socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        socket(&self.dir)
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// Everything it logged, over restarts.
    #[must_use]
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        self.daemon.log_tail(lines)
    }
}

/// The state directory of a Peel in `dir`.
#[must_use]
pub fn root(dir: &Path) -> PathBuf {
    dir.join("root")
}

/// The snapshots socket of a Peel in `dir`.
#[must_use]
pub fn socket(dir: &Path) -> PathBuf {
    dir.join("peel.sock")
}

/// The control socket is beside the snapshots socket.
fn control_socket(dir: &Path) -> PathBuf {
    dir.join("control.sock")
}

/// The program is a link, so that another one can take its place.
fn program(dir: &Path) -> PathBuf {
    dir.join("peel-program")
}

fn use_program(dir: &Path, target: &Path) -> Result<()> {
    let new = dir.join("peel-program.new");
    std::os::unix::fs::symlink(target, &new)?;
    fs::rename(&new, program(dir)).context("changing the program")
}

fn spawn(dir: &Path, launch: &Launch) -> Result<Daemon> {
    let program = program(dir);
    let mut command = Command::new(&program);
    command.envs(launch.environment.iter().map(|(name, value)| (name, value)));
    if launch.run == Run::Supervised {
        command.arg("supervise").arg("--socket").arg(dir.join("hold.sock")).arg("--").arg(&program);
    }
    command.arg("serve").arg("--config").arg(settings::file(dir));
    command.arg("--root").arg(root(dir)).arg("--address").arg(socket(dir)).args(&launch.arguments);
    Daemon::spawn("peel", command, &dir.join("peel.log"))
}

/// `$PEEL_BIN`, else the program that the same cargo run left: beside this executable or a folder above it (test
/// executables are in `deps/`).
///
/// # Errors
/// When there is none; the text says how to build it.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("PEEL_BIN") {
        return Ok(path.into());
    }
    let own = env::current_exe().context("finding this executable")?;
    let found = own.ancestors().skip(1).take(2).map(|dir| dir.join("peel")).find(|path| path.is_file());
    match found {
        Some(path) => Ok(path),
        None => bail!("no peel beside {own:?}: run `cargo build -p peel-snapshotter`, or set PEEL_BIN"),
    }
}
