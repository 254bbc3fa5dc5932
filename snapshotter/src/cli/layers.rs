//! `peel layers`: every layer, whose it is and why, and how much of it is here.

use peel_proto::peel::control::v1::{Layer, LayersRequest};

use super::{Query, connect, table};

/// Asks and formats.
///
/// # Errors
/// No daemon answers.
pub async fn layers(query: &Query) -> anyhow::Result<String> {
    let answer = connect(&query.control).await?.layers(LayersRequest {}).await?.into_inner();
    Ok(if query.json { serde_json::to_string_pretty(&answer.layers)? + "\n" } else { text(&answer.layers) })
}

fn text(layers: &[Layer]) -> String {
    let heads = ["LAYER", "FORMAT", "HOW", "STATE", "PRESENT", "IMAGE", "WHY"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for layer in layers {
        let (here, all) = if layer.download_bytes > 0 {
            (layer.downloaded_bytes, layer.download_bytes)
        } else {
            (layer.present_bytes, layer.total_bytes)
        };
        let present = format!("{} / {}", table::bytes(here), table::bytes(all));
        let how = match (layer.ours, layer.streamed) {
            (false, _) => "-",
            (true, false) => "lazy",
            (true, true) => "streamed",
        };
        let why = if layer.error.is_empty() { &layer.reason } else { &layer.error };
        rows.push(vec![
            layer.digest.get(..19).unwrap_or("-").to_owned(),
            if layer.format.is_empty() { "-".into() } else { layer.format.clone() },
            how.to_owned(),
            layer.state.clone(),
            if layer.ours { present } else { "-".into() },
            layer.image.clone(),
            why.clone(),
        ]);
    }
    table::columns(&rows)
}
