//! Whatever happens to the daemon, to containerd and to their units: a container reads on over the same mount.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use peel_integration::wait;

use crate::{
    ground::{Ground, LIMIT, PEEL_ROOT, Reader, on},
    machine::Machine,
};

const KILLS: u32 = 20;
const KILLS_TAKE: Duration = Duration::from_secs(10);
/// How long the node is without a daemon: longer than systemd waits for any of the units.
const ABSENCE: Duration = Duration::from_secs(30);

/// What is done to the node.
type Upset = fn(&Machine) -> Result<()>;

const UPSETS: [(&str, Upset); 8] = [
    ("killed", |machine| machine.systemctl(&["kill", "-s", "KILL", "peel.service"])),
    ("killed twenty times in ten seconds", |machine| {
        for _ in 0..KILLS {
            // Not there at the moment: dead already.
            let _ = machine.systemctl(&["kill", "-s", "KILL", "peel.service"]);
            thread::sleep(KILLS_TAKE / KILLS);
        }
        Ok(())
    }),
    ("restarted", |machine| machine.systemctl(&["restart", "peel.service"])),
    ("stopped and started", |machine| {
        machine.systemctl(&["stop", "peel.socket", "peel.service"])?;
        thread::sleep(ABSENCE);
        ensure!(!machine.path("/run/peel/peel.sock").exists(), "a socket that nobody listens on stays");
        machine.systemctl(&["start", "peel.service"])
    }),
    ("stopped, and started by a call of containerd", |machine| {
        machine.systemctl(&["stop", "peel.service"])?;
        machine.run(&["ctr", "snapshot", "--snapshotter", "peel", "usage"]).map(drop)
    }),
    ("containerd restarted", |machine| machine.systemctl(&["restart", "containerd.service"])),
    ("hung", |machine| {
        let main = || machine.property("peel.service", "MainPID");
        let hung = main()?;
        machine.systemctl(&["kill", "-s", "STOP", "peel.service"])?;
        let replaced = || Ok(main().ok().filter(|pid| *pid != hung && pid != "0"));
        wait::until("the watchdog to act", LIMIT, replaced).map(drop)
    }),
    ("stopped and started around containerd", |machine| {
        for (stop, start) in [
            (["peel.socket", "containerd.service"], ["containerd.service", "peel.service"]),
            (["containerd.service", "peel.socket"], ["peel.service", "containerd.service"]),
        ] {
            for unit in stop {
                machine.systemctl(&["stop", unit])?;
            }
            for unit in start {
                machine.systemctl(&["start", unit])?;
            }
        }
        Ok(())
    }),
];

#[test]
fn a_container_reads_on() -> Result<()> {
    on(|ground| {
        ground.machine()?.cri()?.pull(&ground.image)?;
        let reader = ground.start_reader("reader")?;
        reader.goes_on()?;
        let expected = reader.read_anew("data/000")?;
        let mount = ground.fuse_mount()?;
        let images = ground.machine()?.cri()?.images()?.len();
        for (name, upset) in UPSETS {
            upset(ground.machine()?).with_context(|| format!("peel {name}"))?;
            nothing_noticed(ground, &reader, &mount).with_context(|| format!("after peel was {name}"))?;
            ensure!(reader.read_anew("data/000")? == expected, "wrong bytes after peel was {name}");
            let left = ground.machine()?.cri()?.images()?.len();
            ensure!(left == images, "containerd lost images when peel was {name}: {left} of {images}");
        }
        // As good as new: another container of the image, and a layer that the kernel mounts where it can.
        ground.start_reader("second")?.goes_on()?;
        ensure!(!ground.machine()?.mounts(&format!("{PEEL_ROOT}/"))?.is_empty());
        Ok(())
    })
}

fn nothing_noticed(ground: &Ground, reader: &Reader, mount: &str) -> Result<()> {
    let machine = ground.machine()?;
    reader.goes_on()?;
    ensure!(ground.fuse_mount()? == mount, "another mount: {} instead of {mount}", ground.fuse_mount()?);
    wait::until("peel to be active", LIMIT, || {
        Ok((machine.property("peel.service", "ActiveState")? == "active").then_some(()))
    })
}
