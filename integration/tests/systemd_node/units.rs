//! What an operator does: looks, reloads, upgrades, removes.

use std::fs;

use anyhow::{Result, ensure};
use peel_integration::wait;

use crate::{
    ground::{LIMIT, PEEL_ROOT, on},
    machine::Machine,
    root,
};

const CONFIG: &str = "/etc/peel/config.toml";

/// What a directive that makes a mount namespace would change.
fn same_mount_namespace(machine: &Machine, unit: &str) -> Result<()> {
    let pid = machine.property(unit, "MainPID")?;
    let namespace = |pid: &str| machine.run(&["readlink", &format!("/proc/{pid}/ns/mnt")]);
    ensure!(namespace(&pid)? == namespace("1")?, "{unit} has a mount namespace of its own");
    Ok(())
}

#[test]
fn installed_reloaded_upgraded_and_removed() -> Result<()> {
    on(|ground| {
        let machine = ground.machine()?;
        machine.run(&["systemd-analyze", "verify", "peel.service", "peel-hold.service", "peel.socket"])?;
        for unit in ["peel.service", "peel-hold.service", "peel.socket", "containerd.service"] {
            machine.systemctl(&["is-active", unit])?;
        }
        same_mount_namespace(machine, "peel.service")?;
        same_mount_namespace(machine, "peel-hold.service")?;
        reloads(machine)?;

        let cri = machine.cri()?;
        cri.pull(&ground.image)?;
        let reader = ground.start_reader("reader")?;
        reader.goes_on()?;
        let mount = ground.fuse_mount()?;

        // An upgrade: a new file, a restart. Nobody restarts the holder by accident.
        let holder = machine.property("peel-hold.service", "MainPID")?;
        root::install(machine.root())?;
        machine.systemctl(&["daemon-reload"])?;
        machine.systemctl(&["restart", "peel.service"])?;
        ensure!(machine.systemctl(&["restart", "peel-hold.service"]).is_err(), "the holder was restarted");
        ensure!(machine.property("peel-hold.service", "MainPID")? == holder);
        reader.goes_on()?;
        ensure!(ground.fuse_mount()? == mount);

        // A holder that dies is started again, and learns what it is to keep.
        machine.systemctl(&["kill", "-s", "KILL", "peel-hold.service"])?;
        wait::until("the holder to come back", LIMIT, || {
            let journal = machine.journal("peel.service");
            Ok(journal.contains("the holder had lost this and has it again").then_some(()))
        })?;
        machine.systemctl(&["kill", "-s", "KILL", "peel.service"])?;
        reader.goes_on()?;
        ensure!(ground.fuse_mount()? == mount);

        refuses(machine, &["peel", "unmount", "--check"], &reader.id)?;
        machine.systemctl(&["stop", "peel.socket", "peel.service"])?;
        refuses(machine, &["peel", "unmount"], &reader.id)?;
        ensure!(ground.fuse_mount()? == mount, "refused, and yet something was unmounted");
        machine.systemctl(&["start", "peel.service"])?;

        takes_down_at_its_end(machine)?;
        machine.systemctl(&["restart", "peel.service"])?;
        wait::until_true("the journal to have it", LIMIT, || {
            machine.journal("peel.service").contains("stopped, and not unmounted")
        })?;
        reader.goes_on()?;
        ensure!(ground.fuse_mount()? == mount, "unmounted under a container");

        reader.remove(&cri)?;
        wait::until_true("the pod to be gone", LIMIT, || {
            machine.run(&["peel", "unmount", "--check"]).is_ok()
        })?;
        machine.systemctl(&["disable", "--now", "peel.socket", "peel.service"])?;
        let left = machine.mounts(&format!("{PEEL_ROOT}/"))?;
        ensure!(left.is_empty(), "not unmounted at its end: {left:?}");
        machine.run(&["peel", "unmount"])?;
        machine.run(&["peel", "hold", "--stop"])?;
        let left = machine.mounts(PEEL_ROOT)?;
        ensure!(left.is_empty(), "mounts are left: {left:?}");
        wait::until("the holder to end", LIMIT, || {
            Ok((machine.property("peel-hold.service", "ActiveState")? == "inactive").then_some(()))
        })?;
        root::uninstall(machine.root())?;
        let left = machine.run(&["find", root::PREFIX, "-name", "*peel*"])?;
        ensure!(left.is_empty(), "files are left: {left}");
        Ok(())
    })
}

/// From its next start on, the daemon unmounts everything when it ends.
fn takes_down_at_its_end(machine: &Machine) -> Result<()> {
    let peel = format!("{}/bin/peel", root::PREFIX);
    let serve = format!("{peel} serve --config {CONFIG} --holder /run/peel/hold.sock --unmount-on-exit");
    let text = format!("[Service]\nExecStart=\nExecStart={serve}\n");
    fs::write(machine.path("/etc/systemd/system/peel.service.d/unmount.conf"), text)?;
    machine.systemctl(&["daemon-reload"])?;
    machine.systemctl(&["restart", "peel.service"])
}

fn refuses(machine: &Machine, command: &[&str], container: &str) -> Result<()> {
    let Err(refused) = machine.run(command) else { anyhow::bail!("{command:?} did not refuse") };
    let text = format!("{refused:#}");
    ensure!(text.contains("containers run on Peel") && text.contains(container), "{text}");
    Ok(())
}

/// The log level follows a reload; a mistake changes nothing and is told; what needs a restart is named.
fn reloads(machine: &Machine) -> Result<()> {
    let pid = machine.property("peel.service", "MainPID")?;
    let write = |text: &str| fs::write(machine.path(CONFIG), format!("{text}{}", root::ROOM));
    let said = |text: &'static str| {
        wait::until(text, LIMIT, || Ok(machine.journal("peel.service").contains(text).then_some(())))
    };
    write("log = \"info,peel_snapshotter=debug\"\n[fuse]\nthreads = 3\n")?;
    machine.systemctl(&["reload", "peel.service"])?;
    said("these changed and need a restart")?;
    wait::until("the status to say so", LIMIT, || {
        Ok(machine.property("peel.service", "StatusText")?.contains("fuse").then_some(()))
    })?;
    write("log = 7\n")?;
    ensure!(machine.systemctl(&["reload", "peel.service"]).is_err(), "a mistake was taken");
    // Sent by hand, nothing is checked before.
    machine.systemctl(&["kill", "-s", "HUP", "peel.service"])?;
    said("the configuration is refused, and stays as it was")?;
    // Quiet from here on, which a good reload's own line shows.
    write("log = \"warn\"\n")?;
    machine.systemctl(&["reload", "peel.service"])?;
    wait::until("the mistake to be gone", LIMIT, || {
        Ok((machine.property("peel.service", "StatusText")? == "serving").then_some(()))
    })?;
    let told =
        || machine.journal("peel.service").lines().any(|line| line.ends_with("configuration was read again"));
    ensure!(!told(), "an info line at level warn");
    write("")?;
    machine.systemctl(&["reload", "peel.service"])?;
    wait::until_true("an info line", LIMIT, told)?;
    ensure!(machine.property("peel.service", "MainPID")? == pid, "a reload restarted the daemon");
    Ok(())
}
