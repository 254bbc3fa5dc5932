//! The demo's image: a real base, a real interpreter, real packages, and little of it needed to answer a request.
//!
//! Three layers, as a Dockerfile would make them: Debian (debootstrap); Python with numpy, pandas and Flask; the
//! application. Each is the upper directory of an overlay mount over those below. Made once, about two minutes,
//! then found in the cache.

use std::path::Path;

use anyhow::{Result, ensure};

use super::artefact::artefact;
use super::entry::Entry;
use super::image::Image;
use super::layer::Layer;
use super::layout::Layout;
use super::pack::pack;
use super::root::{self, BuildRoot};

/// The port that the application listens on, when the environment has no `PORT`.
pub const DEFAULT_PORT: u16 = 8000;

/// Below this the image would not be the real one that the demo promises.
const LEAST_UNPACKED: u64 = 300_000_000;

/// Python packages: the framework that answers, and the libraries that such images carry along.
const PYTHON_PACKAGES: [&str; 4] = ["flask==3.0.3", "numpy==1.26.4", "pandas==2.2.3", "pillow==10.4.0"];

/// The application: imports what it uses, answers `/` with numbers that numpy worked out.
const APPLICATION: &str = r#"import os

import flask
import numpy

app = flask.Flask(__name__)


@app.get("/")
def index():
    squares = numpy.arange(10) ** 2
    return flask.jsonify(squares=squares.tolist(), total=int(squares.sum()))


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
"#;

/// The image with gzip layers; making it takes minutes, but for the first time.
///
/// # Errors
/// When debootstrap, apt or pip fail; the error holds what they printed.
pub fn web_app_image() -> Result<Layout> {
    artefact("web-app-2", build).map(Layout::open)
}

fn build(directory: &Path) -> Result<()> {
    let mut root = BuildRoot::new()?;
    let base = root.layer(BuildRoot::debootstrap)?;
    let python = root.layer(|merged| {
        root::apt_install(merged, &["python3"])?;
        root::pip_install(merged, &PYTHON_PACKAGES)
    })?;
    let layers = [base, python].iter().map(|upper| pack(upper)).collect::<Result<Vec<_>>>()?;
    let unpacked: u64 = layers.iter().flatten().map(size).sum();
    ensure!(unpacked >= LEAST_UNPACKED, "the image has only {unpacked} bytes");
    let mut layers: Vec<Layer> = layers.into_iter().map(Layer::gzip).collect();
    layers.push(Layer::gzip(vec![Entry::directory("app"), Entry::file("app/app.py", APPLICATION)]));
    let mut image = Image::new(layers, &["/usr/bin/python3", "/app/app.py"]);
    image.config.working_dir = "/app".into();
    image.write(directory).map(drop)
}

fn size(entry: &Entry) -> u64 {
    match &entry.kind {
        super::entry::EntryKind::File(content) => content.len(),
        _ => 0,
    }
}
