//! `peel pulls`: images in the gate. `--watch` draws a bar for each of their layers, until it is stopped.

use std::time::Duration;

use peel_proto::peel::control::v1::{Pull, PullLayer, PullsRequest};

use super::{Query, bars::Bars, connect, table};

/// How often the daemon is asked: often enough for a bar to move.
const TICK: Duration = Duration::from_millis(200);

/// What to show.
#[derive(Debug, Clone, clap::Args)]
pub struct Pulls {
    #[command(flatten)]
    query: Query,
    /// Go on, and draw progress
    #[arg(long, conflicts_with = "json")]
    watch: bool,
}

/// Asks and formats; with `--watch`, until somebody stops it.
///
/// # Errors
/// No daemon answers.
pub async fn pulls(pulls: &Pulls) -> anyhow::Result<String> {
    let mut client = connect(&pulls.query.control).await?;
    let mut bars = Bars::new()?;
    loop {
        let answer = client.pulls(PullsRequest {}).await?.into_inner().pulls;
        if !pulls.watch {
            return if pulls.query.json {
                Ok(serde_json::to_string_pretty(&answer)? + "\n")
            } else {
                Ok(text(&answer))
            };
        }
        bars.show(&answer);
        tokio::time::sleep(TICK).await;
    }
}

fn text(pulls: &[Pull]) -> String {
    let mut rows = vec![["IMAGE", "LAYER", "FORMAT", "STATE", "HERE"].map(str::to_owned).to_vec()];
    for (pull, layer) in pulls.iter().flat_map(|pull| pull.layers.iter().map(move |layer| (pull, layer))) {
        let here = match layer.downloaded_bytes {
            0 => "-".to_owned(),
            bytes => format!("{} / {}", table::bytes(bytes), table::bytes(layer.size)),
        };
        rows.push(vec![pull.image.clone(), short(layer), layer.format.clone(), layer.state.clone(), here]);
    }
    table::columns(&rows)
}

fn short(layer: &PullLayer) -> String {
    layer.digest.get(..19).unwrap_or(&layer.digest).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pull(state: &str, downloaded_bytes: u64) -> Pull {
        let layer = PullLayer {
            digest: format!("sha256:{}", "ab".repeat(32)),
            size: 4 << 20,
            format: "gzip".to_owned(),
            state: state.to_owned(),
            downloaded_bytes,
            error: String::new(),
        };
        Pull { image: "r.example/app:1".to_owned(), manifest_digest: "m".to_owned(), layers: vec![layer] }
    }

    #[test]
    fn one_line_a_layer() {
        let text = text(&[pull("streaming", 1 << 20)]);
        let line = text.lines().nth(1).unwrap();
        for part in ["r.example/app:1", "sha256:abababababab", "gzip", "streaming", " / "] {
            assert!(line.contains(part), "{line}");
        }
    }
}
