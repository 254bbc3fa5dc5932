//! Another program takes over, or cannot.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use peel_integration::{
    node::{Images, Node},
    peel::{self, Run},
    process::run,
    wait,
};
use redb::{Database, ReadableTable as _, TableDefinition};
use rustix::process::Signal;

use crate::{
    load::{LIMIT, Load, node, signal, stats},
    pending::Pending,
};

/// The version that this workspace has, and one that it has not.
const OURS: &str = env!("CARGO_PKG_VERSION");
const OTHER: &str = "9.8.7";

/// A copy of the program that says another version of itself.
fn other_version(directory: &Path) -> Result<PathBuf> {
    ensure!(OURS.len() == OTHER.len(), "versions of equal length can stand in one another's place");
    let mut program = fs::read(peel::binary()?)?;
    let places: Vec<usize> = program
        .windows(OURS.len())
        .enumerate()
        .filter(|(_, it)| *it == OURS.as_bytes())
        .map(|(at, _)| at)
        .collect();
    for at in places {
        program[at..at + OTHER.len()].copy_from_slice(OTHER.as_bytes());
    }
    let path = directory.join("peel-other");
    fs::write(&path, program)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    let says = run(Command::new(&path).arg("--version"))?;
    ensure!(says.contains(OTHER), "{says}");
    Ok(path)
}

fn upgraded(tree: &str) -> Result<()> {
    let mut load = Load::start(tree)?;
    let other = other_version(load.node.dir().path())?;
    load.survives(|node| {
        for program in [&other, &peel::binary()?, &other] {
            let before = node.peel()?.server_pid()?;
            node.peel()?.upgrade(program)?;
            wait::until_true("the successor to serve", LIMIT, || {
                let pid = node.peel().and_then(|peel| peel.server_pid()).unwrap_or(before);
                let runs = fs::read_link(format!("/proc/{pid}/exe")).ok();
                pid != before
                    && runs.as_ref() == Some(program)
                    && node.peel().is_ok_and(|it| it.json("stats").is_ok())
            })?;
        }
        Ok(())
    })?;
    let log = load.node.peel()?.log();
    ensure!(log.contains(OTHER), "nothing says which version serves: {log}");
    let stats = stats(&mut load.node)?;
    ensure!(stats["generation"] == 1 && stats["failed_reads"] == 0, "{stats}");
    Ok(())
}

#[test]
fn another_program_with_the_kernels_tree() -> Result<()> {
    upgraded("erofs")
}

#[test]
fn another_program_with_the_fuse_tree() -> Result<()> {
    upgraded("fuse")
}

/// Kills the daemon and changes its metadata before the next one starts.
fn between_two(node: &mut Node, change: impl FnOnce(&Database) -> Result<()>) -> Result<()> {
    let file = node.peel()?.root().join("metadata.redb");
    node.peel()?.freeze(true)?;
    // There may be none at the moment.
    let _ = node.peel()?.signal_server(Signal::KILL);
    // It locks the file for as long as it lives.
    let database = wait::until("the daemon's end", LIMIT, || Ok(Database::open(&file).ok()))?;
    change(&database)?;
    drop(database);
    node.peel()?.freeze(false)
}

fn says(node: &mut Node, what: &str) -> Result<()> {
    wait::until_true(what, LIMIT, || node.peel().is_ok_and(|peel| peel.log().contains(what)))
}

const NUMBERS: TableDefinition<'static, &str, u64> = TableDefinition::new("numbers");
const CONNECTIONS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("connections");

fn set_format(database: &Database, format: u64) -> Result<()> {
    let transaction = database.begin_write()?;
    transaction.open_table(NUMBERS)?.insert("format", format)?;
    Ok(transaction.commit()?)
}

/// Stores what `change` makes of the first connection's record; gives what was there.
fn change_connection(database: &Database, change: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<u8>> {
    let transaction = database.begin_write()?;
    let mut table = transaction.open_table(CONNECTIONS)?;
    let before = table.get(1)?.context("no record")?.value().to_vec();
    let mut record = before.clone();
    change(&mut record);
    table.insert(1, record.as_slice())?;
    drop(table);
    transaction.commit()?;
    Ok(before)
}

/// A successor that cannot read the metadata, and one that cannot read what was agreed with the kernel: both say so
/// and leave all with the holder, and the version that can goes on.
#[test]
fn what_cannot_be_read_waits_for_who_can() -> Result<()> {
    let images = Images::start()?;
    let mut node = node(&images, "auto", Run::Supervised)?;
    let pending = Pending::start(&images, &node)?;

    between_two(&mut node, |database| set_format(database, 2))?;
    says(&mut node, "metadata.redb has format 2")?;
    between_two(&mut node, |database| set_format(database, 1))?;
    pending.all_wait(&node)?;

    let mut before = Vec::new();
    between_two(&mut node, |database| {
        // max_background, the field 9, is 70,000: more than the kernel's protocol can say. The last one counts.
        before = change_connection(database, |record| record.extend([9 << 3, 0xf0, 0xa2, 0x04]))?;
        Ok(())
    })?;
    says(&mut node, "cannot be resumed by this version")?;
    between_two(&mut node, |database| change_connection(database, |record| *record = before).map(drop))?;
    pending.all_wait(&node)?;
    pending.finish(&node, false)?;
    let stats = stats(&mut node)?;
    ensure!(stats["failed_reads"] == 0 && stats["generation"] == 1, "{stats}");
    signal(&mut node, Signal::TERM)
}
