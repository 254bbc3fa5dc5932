//! Three web services of the sizes that people run, as a Dockerfile would make them: one layer a step, gzip -6.
//!
//! | image | layers | holds |
//! |---|---|---|
//! | small | 3 | Debian, Python, an `http.server` |
//! | middle | 5 | the same with a compiler, git and pip packages; the application; the removal of git and of documentation |
//! | large | 4 | Debian, Python, pip packages with TensorFlow, an application that imports all of them |
//!
//! Made once, which takes minutes, then found in the cache. They are like those that peers were measured with, not
//! the same: what the mirrors have that day is in them.

use std::{fmt, path::Path, process::Command};

use anyhow::Result;

use super::{
    Entry, Image, Layer, Layout, artefact, pack,
    root::{self, BuildRoot},
};
use crate::process::run;

/// One of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// 70 MB compressed.
    Small,
    /// 370 MB.
    Middle,
    /// 750 MB.
    Large,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Small => "small",
            Self::Middle => "middle",
            Self::Large => "large",
        })
    }
}

/// Packages of the middle image.
const MIDDLE: [&str; 9] =
    ["flask", "gunicorn", "sqlalchemy", "requests", "pydantic", "fastapi", "uvicorn", "django", "celery"];
/// Packages of the large one; the last of TensorFlow that has one wheel for any processor.
const LARGE: [&str; 5] = ["numpy<2", "scipy", "pandas", "scikit-learn", "tensorflow-cpu==2.16.2"];

const SMALL_APPLICATION: &str = r#"import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ready\n")

http.server.HTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8000"))), Handler).serve_forever()
"#;

const MIDDLE_APPLICATION: &str = r#"import os

import flask

app = flask.Flask(__name__)


@app.get("/")
def index():
    return "ready\n"


app.run(host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
"#;

/// Imports everything and runs one operation before it listens.
const LARGE_IMPORTS: &str = r"import numpy, scipy.linalg, pandas, sklearn.linear_model, tensorflow
assert float(tensorflow.reduce_sum(tensorflow.ones((10, 10)))) == 100.0
";

impl Service {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Small, Self::Middle, Self::Large];

    /// The image.
    ///
    /// # Errors
    /// When debootstrap, apt or pip fail; the error holds what they printed.
    pub fn image(self) -> Result<Layout> {
        artefact(&format!("service-{self}-1"), |directory| self.build(directory)).map(Layout::open)
    }

    fn build(self, directory: &Path) -> Result<()> {
        let mut root = BuildRoot::new()?;
        let mut uppers = vec![root.layer(BuildRoot::debootstrap)?];
        uppers.push(root.layer(|merged| match self {
            Self::Small | Self::Large => root::apt_install(merged, &["python3"]),
            Self::Middle => root::apt_install(merged, &["python3", "python3-pip", "build-essential", "git"]),
        })?);
        match self {
            Self::Small => {}
            Self::Middle => uppers.push(root.layer(|merged| root::pip_install(merged, &MIDDLE))?),
            Self::Large => uppers.push(root.layer(|merged| root::pip_install(merged, &LARGE))?),
        }
        let mut layers =
            uppers.iter().map(|upper| Ok(Layer::pressed(pack(upper)?))).collect::<Result<Vec<_>>>()?;
        layers.push(self.application());
        if self == Self::Middle {
            let upper = root.layer(|merged| {
                let purge =
                    "apt-get -qy purge git && apt-get -qy autoremove && rm -rf /usr/share/doc /usr/share/man";
                let mut command = Command::new("chroot");
                command.arg(merged).args(["sh", "-c", purge]).env("DEBIAN_FRONTEND", "noninteractive");
                run(&mut command).map(drop)
            })?;
            layers.push(Layer::pressed(pack(&upper)?));
        }
        let mut image = Image::new(layers, &["/usr/bin/python3", "/app/app.py"]);
        image.config.working_dir = "/app".into();
        image.write(directory).map(drop)
    }

    fn application(self) -> Layer {
        let text = match self {
            Self::Small => SMALL_APPLICATION.to_owned(),
            Self::Middle => MIDDLE_APPLICATION.to_owned(),
            Self::Large => format!("{LARGE_IMPORTS}{SMALL_APPLICATION}"),
        };
        Layer::pressed(vec![Entry::directory("app"), Entry::file("app/app.py", text)])
    }
}
