//! A bar chart as SVG: server CPU per authenticated read.

use std::fmt::Write as _;

use crate::compare::Row;
use crate::contender::Kind;

const WIDTH: f64 = 900.0;
const LEFT: f64 = 220.0;
const RIGHT: f64 = 160.0;
const BAR: f64 = 22.0;
const STEP: f64 = 34.0;
const TOP: f64 = 64.0;

/// Draws one bar per contender; the thin line spans the rounds.
#[expect(clippy::cast_precision_loss, reason = "a handful of bars")]
pub(crate) fn draw(rows: &[Row]) -> String {
    let spreads: Vec<_> =
        rows.iter().map(|row| (row, row.spread(|sample| sample.server_cpu))).collect();
    let longest = spreads.iter().map(|(_, spread)| spread.max).fold(1.0, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / longest;
    let height = TOP + STEP * rows.len() as f64 + 16.0;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"
 font-family="system-ui, sans-serif" font-size="14">
<rect width="100%" height="100%" fill="#fff"/>
<text x="16" y="26" font-size="17" font-weight="600" fill="#111">
Server CPU per authenticated request, µs (less is better)</text>
<text x="16" y="46" font-size="12" fill="#555">
Median over rounds; thin line: least to greatest. 10,000 sessions, 64 connections.</text>
"##
    );
    for (index, (row, spread)) in spreads.iter().enumerate() {
        let y = TOP + STEP * index as f64;
        let color = match row.contender.kind {
            Kind::Constant | Kind::Get => "#9aa5b1",
            Kind::Ours | Kind::Service | Kind::Portfolio => "#0b7a4b",
            Kind::Peer => "#3f6ea8",
        };
        let (length, text_y, line_y) = (spread.median * scale, y + 16.0, y + BAR / 2.0);
        let (from, to) = (LEFT + spread.min * scale, LEFT + spread.max * scale);
        writeln!(
            svg,
            r##"<text x="{:.0}" y="{text_y:.0}" text-anchor="end" fill="#111">{}</text>
<rect x="{LEFT:.0}" y="{y:.0}" width="{length:.1}" height="{BAR:.0}" rx="3" fill="{color}"/>
<line x1="{from:.1}" y1="{line_y:.1}" x2="{to:.1}" y2="{line_y:.1}"
 stroke="#111" stroke-width="1.5"/>
<text x="{:.1}" y="{text_y:.0}" fill="#111">{:.1} · {:.0} req/s</text>"##,
            LEFT - 10.0,
            row.contender.name,
            to + 8.0,
            spread.median,
            row.spread(crate::compare::Sample::throughput).median,
        )
        .expect("writing to memory does not fail");
    }
    svg.push_str("</svg>\n");
    svg
}
