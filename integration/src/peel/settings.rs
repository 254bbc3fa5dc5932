//! The configuration of the Peel under test: the harness's own settings, the test's over them, and over both
//! `$PEEL_TEST_SETTINGS`. `PEEL_TEST_SETTINGS='erofs_backing = "loop"'` runs any test over loop devices.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use toml::Table;

/// Where it is.
pub(super) fn file(dir: &Path) -> PathBuf {
    dir.join("config.toml")
}

/// Writes what a Peel in `dir` begins with, for the containerd whose folder is `containerd`.
pub(super) fn write(dir: &Path, containerd: &Path, settings: &Table) -> Result<()> {
    let mut config = Table::new();
    let mut of_containerd = Table::new();
    of_containerd.insert("address".into(), containerd.join("containerd.sock").display().to_string().into());
    of_containerd.insert("root".into(), containerd.join("root").display().to_string().into());
    config.insert("containerd".into(), of_containerd.into());
    // How full this machine's disk is, is nobody's business but that of tests that bring their own.
    config.insert("cache".into(), toml::toml! { high_percent = 100 low_percent = 99 }.into());
    // The tests' layers are small, and shall be fetched like large ones.
    let small = Table::from_iter([("whole_layer_bytes".into(), 0.into()), ("complete".into(), false.into())]);
    config.insert("fetch".into(), small.into());
    merge(&mut config, settings);
    if let Ok(over) = env::var("PEEL_TEST_SETTINGS") {
        merge(&mut config, &over.parse().context("PEEL_TEST_SETTINGS")?);
    }
    Ok(fs::write(file(dir), toml::to_string(&config)?)?)
}

/// Puts `settings` over those that are there.
pub(super) fn change(dir: &Path, settings: &Table) -> Result<()> {
    let file = file(dir);
    let mut config: Table = fs::read_to_string(&file)?.parse()?;
    merge(&mut config, settings);
    Ok(fs::write(&file, toml::to_string(&config)?)?)
}

/// Puts `over` on top of `base`, table by table.
fn merge(base: &mut Table, over: &Table) {
    for (key, value) in over {
        match (base.get_mut(key), value) {
            (Some(toml::Value::Table(base)), toml::Value::Table(over)) => merge(base, over),
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}
