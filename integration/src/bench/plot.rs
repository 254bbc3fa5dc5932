//! `index.html`: all rows as strips of dots, self-contained, readable without a network.
//!
//! Every dot is one measurement, divided by the median of the baseline's: on a logarithmic axis twice as fast lies as
//! far from the line as twice as slow. A row shows its spread by itself, which a bar with one number would hide.

use std::fmt::Write as _;

use super::report::{Measured, Report, digits, or_dash};

/// Pixels.
const LABEL: f64 = 190.0;
const STRIP: f64 = 560.0;
const RATIO: f64 = 170.0;
const ROW: f64 = 24.0;
const TOP: f64 = 26.0;

/// Ends of the axis; what lies outside is drawn at the end.
const LEAST: f64 = 0.125;
const MOST: f64 = 8.0;

const STYLE: &str = "
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em;
       color: #1d2230; background: #fff }
h2 { margin: 1.6em 0 .2em } .note { color: #5b6275 } table { border-collapse: collapse }
td, th { padding: .15em .8em; text-align: right; border-bottom: 1px solid #dfe2ea }
td:first-child, th:first-child { text-align: left; font-family: ui-monospace, monospace }
svg { max-width: 100%; height: auto; font: 12px ui-monospace, monospace }
.axis { stroke: #dfe2ea } .one { stroke: #1d2230 } .goal { stroke: #c0392b; stroke-dasharray: 3 2 }
.base { fill: #9aa1b3; fill-opacity: .7 } .peel { fill: #1f6feb; fill-opacity: .65 }
.median { stroke: #0b3d91; stroke-width: 2.5 } .miss { fill: #c0392b } text { fill: #1d2230 }
";

/// The page.
pub(super) fn page(report: &Report) -> String {
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Peel: make bench</title>\
         <style>{STYLE}</style>\n<h1>What Peel costs beside overlayfs</h1>\n<p class=\"note\">Every dot is one \
         measurement, divided by the median of overlayfs in the same run: left of the line Peel is cheaper. Grey is \
         overlayfs, blue is Peel, the blue bar Peel's median, the dashed red line what was promised at most.</p>\n<ul>"
    );
    for remark in report.remarks() {
        let _ = write!(out, "<li>{}</li>", escape(&remark));
    }
    out.push_str("</ul>\n");
    for (group, rows) in groups(&report.measured) {
        let _ = write!(out, "<h2>{}</h2>\n{}{}", escape(group), strips(&rows), table(&rows));
    }
    out.push_str("</html>\n");
    out
}

/// Rows by the first part of their names, in the order of the report.
fn groups(measured: &[Measured]) -> Vec<(&str, Vec<&Measured>)> {
    let mut groups: Vec<(&str, Vec<&Measured>)> = Vec::new();
    for one in measured {
        let group = one.name.split('.').next().unwrap_or_default();
        match groups.iter_mut().find(|(name, _)| *name == group) {
            Some((_, rows)) => rows.push(one),
            None => groups.push((group, vec![one])),
        }
    }
    groups
}

fn strips(rows: &[&Measured]) -> String {
    let rows: Vec<_> = rows.iter().filter(|row| row.baseline.is_some()).collect();
    if rows.is_empty() {
        return String::new();
    }
    let (mut bottom, width) = (TOP, LABEL + STRIP + RATIO);
    let mut body = String::new();
    for row in &rows {
        strip(&mut body, row, bottom + ROW / 2.0);
        bottom += ROW;
    }
    let mut out = format!("<svg viewBox=\"0 0 {width} {}\" role=\"img\">", bottom + 4.0);
    for tick in [0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0] {
        let (x, class) = (place(tick), if tick == 1.0 { "one" } else { "axis" });
        let _ = write!(
            out,
            "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
             <text x=\"{x:.1}\" y=\"16\" text-anchor=\"middle\">{tick}</text>"
        );
    }
    out + &body + "</svg>\n"
}

fn strip(out: &mut String, measured: &Measured, y: f64) {
    let row = measured.row();
    let (Some(baseline), Some(ratio)) = (&measured.baseline, row.ratio) else { return };
    let one = baseline.median();
    let _ = write!(out, "<text x=\"0\" y=\"{:.1}\">{}</text>", y + 4.0, escape(&measured.name));
    if let Some(goal) = measured.goal {
        vertical(out, "goal", place(goal), y, 10.0);
    }
    for (class, samples, shift) in [("base", baseline, -4.0), ("peel", &measured.peel, 4.0)] {
        for value in samples.values() {
            let (x, y) = (place(value / one), y + shift);
            let _ = write!(
                out,
                "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"><title>{} {}</title></circle>",
                digits(*value),
                measured.unit
            );
        }
    }
    vertical(out, "median", place(ratio), y, 8.0);
    let class = if measured.goal.is_some_and(|goal| ratio > goal) { " class=\"miss\"" } else { "" };
    let _ = write!(
        out,
        "<text{class} x=\"{}\" y=\"{:.1}\">{ratio:.2} ({} {})</text>",
        LABEL + STRIP + 12.0,
        y + 4.0,
        digits(row.peel),
        row.unit
    );
}

fn vertical(out: &mut String, class: &str, x: f64, y: f64, half: f64) {
    let (top, bottom) = (y - half, y + half);
    let _ = write!(
        out,
        "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\"/>"
    );
}

/// Where a ratio lies on the axis.
fn place(ratio: f64) -> f64 {
    let share = (ratio.clamp(LEAST, MOST) / LEAST).log2() / (MOST / LEAST).log2();
    LABEL + share * STRIP
}

fn table(rows: &[&Measured]) -> String {
    let mut out =
        "<table><tr><th>row<th>Peel<th>overlayfs<th>ratio<th>at most<th>unit<th>runs<th>spread</tr>"
            .to_owned();
    for measured in rows {
        let row = measured.row();
        let _ = writeln!(
            out,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{:.2}</tr>",
            escape(&row.name),
            digits(row.peel),
            or_dash(row.baseline),
            or_dash(row.ratio),
            or_dash(measured.goal),
            row.unit,
            row.runs,
            row.spread
        );
    }
    out + "</table>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_every_row_and_no_markup_from_outside() {
        let samples = || [1.0, 2.0].into_iter().collect();
        let row = |name: &str, baseline| Measured {
            name: name.into(),
            unit: "s",
            goal: Some(1.1),
            peel: samples(),
            baseline,
        };
        let mut report = Report::new();
        report.add(row("tree.walk.cold", Some(samples())));
        report.add(row("mount.ms", None));
        report.skip("fusetree", &anyhow::anyhow!("<script>"));
        let page = page(&report);
        assert!(page.contains("tree.walk.cold") && page.contains("mount.ms") && page.contains("&lt;script"));
        assert_eq!(page.matches("<svg").count(), 1, "a group without a baseline has no strips");
        assert_eq!(page.matches("<circle").count(), 4);
    }

    #[test]
    fn the_axis_is_logarithmic_and_ends() {
        assert!((place(1.0) - (LABEL + STRIP / 2.0)).abs() < 1e-6);
        assert!((place(1e9) - (LABEL + STRIP)).abs() < 1e-6 && (place(0.0) - LABEL).abs() < 1e-6);
    }
}
