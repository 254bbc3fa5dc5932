//! `fsck.erofs` and `dump.erofs` (Debian package erofs-utils) find nothing wrong.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
};

use crate::common::{Gardener, Outcome};

/// Output of a tool that must succeed. Names are not text; messages are.
fn run(
    tool: &str,
    arguments: &[&str],
    data: &Path,
    image: &Path,
) -> Result<String, Box<dyn std::error::Error>> {
    let output = Command::new(tool)
        .arg(format!("--device={}", data.display()))
        .args(arguments)
        .arg(image)
        .output()
        .map_err(|error| format!("{tool} of erofs-utils is needed: {error}"))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    if output.status.success() { Ok(text) } else { Err(format!("{tool}: {}\n{text}", output.status).into()) }
}

#[test]
fn fsck_and_dump_accept_random_trees() -> Outcome {
    let directory = tempfile::tempdir()?;
    let (image, data) = (directory.path().join("image"), directory.path().join("data"));
    for (seed, nodes) in [(1, 0), (2, 50), (3, 500), (4, 3000)] {
        let grown = Gardener::new(seed).grow(nodes, 1 << 14)?;
        let bytes = grown.image()?;
        fs::write(&image, &bytes)?;
        File::create(&data)?.set_len(grown.data_blocks * 4096)?;

        // With `--extract` every file's data is read, too.
        let report = run("fsck.erofs", &["-d3", "--extract"], &data, &image)?;
        assert!(report.contains("No errors found"), "{report}");
        let report = run("dump.erofs", &["-s"], &data, &image)?;
        let inodes = peel_erofs::Image::open(&bytes)?.inodes();
        assert!(
            report.contains(&format!("Filesystem inode count:                       {inodes}")),
            "{report}"
        );
        assert!(report.contains("Filesystem root nid:"), "{report}");
    }
    Ok(())
}
