//! Progress of pulls in a terminal: a line for each image, below it one for each of its layers.
//!
//! A bar, with a rate, only where a whole layer is on its way. Of a lazy layer an index is wanted, which is a small and
//! unknown part of the blob. Lines fit 80 columns; what says too much is cut off.

use std::collections::HashMap;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use peel_proto::peel::control::v1::{Pull, PullLayer};

/// Lines by image and layer; an image's own has no layer.
type Key = (String, Option<String>);

pub(super) struct Bars {
    all: MultiProgress,
    lines: HashMap<Key, ProgressBar>,
    image: ProgressStyle,
    moving: ProgressStyle,
    still: ProgressStyle,
}

impl Bars {
    pub(super) fn new() -> anyhow::Result<Self> {
        let moving = "  {prefix} {total_bytes:>10} {wide_bar} {bytes:>10} {bytes_per_sec:>12}  {msg}";
        Ok(Self {
            all: MultiProgress::new(),
            lines: HashMap::new(),
            image: ProgressStyle::with_template("{wide_msg}")?,
            moving: ProgressStyle::with_template(moving)?,
            still: ProgressStyle::with_template("  {prefix} {total_bytes:>10} {wide_msg}")?,
        })
    }

    /// Draws these, and takes away what is not among them any more.
    pub(super) fn show(&mut self, pulls: &[Pull]) {
        let mut seen = Vec::new();
        for pull in pulls {
            let image: Key = (pull.manifest_digest.clone(), None);
            let mut above = self.lines.entry(image.clone()).or_insert_with(|| {
                let line = self.all.add(ProgressBar::no_length().with_style(self.image.clone()));
                line.set_message(pull.image.clone());
                line
            });
            let mut last = above.clone();
            seen.push(image);
            for layer in &pull.layers {
                let key: Key = (pull.manifest_digest.clone(), Some(layer.digest.clone()));
                above = self.lines.entry(key.clone()).or_insert_with(|| {
                    // What is here already, of an earlier pull, has no rate.
                    let line = ProgressBar::new(layer.size).with_position(layer.downloaded_bytes);
                    let line = self.all.insert_after(&last, line.with_style(self.still.clone()));
                    line.set_prefix(layer.digest.get(7..19).unwrap_or_default().to_owned());
                    line
                });
                let is_moving = layer.state == "streaming";
                above.set_style(if is_moving { self.moving.clone() } else { self.still.clone() });
                above.set_position(layer.downloaded_bytes);
                above.set_message(message(layer));
                last = above.clone();
                seen.push(key);
            }
        }
        self.lines.retain(|key, line| {
            let stays = seen.contains(key);
            if !stays {
                line.finish_and_clear();
            }
            stays
        });
    }
}

fn message(layer: &PullLayer) -> String {
    let words = [&layer.format, &layer.state, &layer.error];
    words.map(String::as_str).into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(number: u8, state: &str, downloaded_bytes: u64) -> PullLayer {
        PullLayer {
            digest: format!("sha256:{}", format!("{number:02x}").repeat(32)),
            size: 4 << 20,
            format: "gzip".to_owned(),
            state: state.to_owned(),
            downloaded_bytes,
            error: if state == "failed" { "no answer".to_owned() } else { String::new() },
        }
    }

    fn pull(name: &str, layers: Vec<PullLayer>) -> Pull {
        Pull { image: name.to_owned(), manifest_digest: name.to_owned(), layers }
    }

    #[test]
    fn lines_come_move_and_go() {
        let mut bars = Bars::new().unwrap();
        let line = |bars: &Bars, image: &str, layer: &PullLayer| {
            bars.lines[&(image.to_owned(), Some(layer.digest.clone()))].clone()
        };
        let (one, two) = (layer(1, "streaming", 1 << 20), layer(2, "waiting", 0));
        bars.show(&[pull("a", vec![one.clone(), two.clone()]), pull("b", vec![one.clone()])]);
        assert_eq!(bars.lines.len(), 5);
        assert_eq!(bars.lines[&("a".to_owned(), None)].message(), "a");
        assert_eq!(line(&bars, "a", &one).position(), 1 << 20);
        assert_eq!(line(&bars, "a", &one).prefix(), "010101010101");
        assert_eq!(line(&bars, "a", &two).message(), "gzip waiting");
        bars.show(&[pull("a", vec![layer(1, "streaming", 2 << 20), layer(2, "failed", 0)])]);
        assert_eq!(bars.lines.len(), 3);
        assert_eq!(line(&bars, "a", &one).position(), 2 << 20);
        assert_eq!(line(&bars, "a", &two).message(), "gzip failed no answer");
        bars.show(&[]);
        assert!(bars.lines.is_empty());
    }
}
