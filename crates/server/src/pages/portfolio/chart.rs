//! Draws the history of a portfolio's value: a line, its area, and a mark for each import.

use std::fmt::Write;

use time::OffsetDateTime;

use super::money::money;
use crate::clock::rfc3339;
use crate::pages::page::minute;
use crate::store::portfolio::snapshots::Snapshot;

const WIDTH: i64 = 800;
const HEIGHT: i64 = 200;
/// Space above the highest and below the lowest value.
const MARGIN: i64 = 16;
/// More points would only make the page larger: a screen cannot show them.
const MAX_POINTS: usize = 300;
const MAX_MARKS: usize = 60;

/// Coordinates within a box of [`Chart::WIDTH`] by [`Chart::HEIGHT`].
pub(super) struct Chart {
    pub(super) line: String,
    pub(super) area: String,
    /// One vertical line per import.
    pub(super) marks: String,
    /// `x y|when|value`, one line per point.
    pub(super) points: String,
    pub(super) summary: String,
    pub(super) low: String,
    pub(super) middle: String,
    pub(super) high: String,
    pub(super) first_day: String,
    pub(super) last_day: String,
}

/// A value at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    at: OffsetDateTime,
    cents: i64,
    is_import: bool,
}

impl Chart {
    pub(super) const WIDTH: i64 = WIDTH;
    pub(super) const HEIGHT: i64 = HEIGHT;

    /// Draws a history, oldest value first, and the current value. `None` with fewer than two
    /// points.
    pub(super) fn of(
        history: &[Snapshot],
        now: Option<(OffsetDateTime, u64)>,
        currency: &str,
    ) -> Option<Self> {
        let noted = history.iter().map(|it| Point {
            at: it.taken_at,
            cents: it.total_cents,
            is_import: it.day.is_none(),
        });
        let now = now.map(|(at, cents)| Point { at, cents: cents.cast_signed(), is_import: false });
        let all: Vec<_> = noted.chain(now).collect();
        let (first, last) = (*all.first()?, *all.last()?);
        let begin = first.at.unix_timestamp();
        let span = last.at.unix_timestamp() - begin;
        if span <= 0 {
            return None;
        }
        let kept = thinned(&all);
        let cents = kept.iter().map(|point| point.cents);
        let (low, high) = (cents.clone().min()?, cents.max()?);
        let x = |point: &Point| (point.at.unix_timestamp() - begin) * WIDTH / span;
        let y = |point: &Point| match high - low {
            0 => HEIGHT / 2,
            range => HEIGHT - MARGIN - (point.cents - low) * (HEIGHT - 2 * MARGIN) / range,
        };
        let (mut line, mut points, mut marks) = (String::new(), String::new(), String::new());
        // Writing to a `String` cannot fail.
        for (at, point) in kept.iter().enumerate() {
            let (x, y) = (x(point), y(point));
            let _ = write!(line, "{}{x} {y}", if at == 0 { 'M' } else { 'L' });
            let value = amount(point.cents, currency);
            let _ = writeln!(points, "{x} {y}|{}|{value}", rfc3339(point.at));
        }
        for point in all.iter().rev().filter(|point| point.is_import).take(MAX_MARKS) {
            let _ = write!(marks, "M{} {}V{HEIGHT}", x(point), HEIGHT - MARGIN / 2);
        }
        let area = format!("{line}L{WIDTH} {HEIGHT}L0 {HEIGHT}Z");
        let summary = format!(
            "Value from {} to {}: lowest {}, highest {}, last {}",
            minute(first.at),
            minute(last.at),
            amount(low, currency),
            amount(high, currency),
            amount(last.cents, currency)
        );
        Some(Self {
            line,
            area,
            marks,
            points,
            summary,
            low: amount(low, currency),
            middle: amount(low.midpoint(high), currency),
            high: amount(high, currency),
            first_day: first.at.date().to_string(),
            last_day: last.at.date().to_string(),
        })
    }
}

/// At most [`MAX_POINTS`] of the points, including the first and the last.
fn thinned(points: &[Point]) -> Vec<Point> {
    let last = points.len() - 1;
    if last < MAX_POINTS {
        return points.to_vec();
    }
    (0..MAX_POINTS).map(|at| points[at * last / (MAX_POINTS - 1)]).collect()
}

fn amount(cents: i64, currency: &str) -> String {
    money(cents.max(0).unsigned_abs(), currency)
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;

    fn snapshot(taken_at: OffsetDateTime, total_cents: i64) -> Snapshot {
        Snapshot {
            taken_at,
            day: None,
            total_cents,
            currency: "USD".into(),
            items: 1,
            unpriced_items: 0,
            price_source: String::new(),
            import_id: None,
        }
    }

    #[test]
    fn values_lie_where_their_time_and_height_are_and_end_now() {
        let history = [
            snapshot(datetime!(2026-11-01 00:00 UTC), 100),
            snapshot(datetime!(2026-11-02 00:00 UTC), 300),
        ];
        let now = (datetime!(2026-11-05 00:00 UTC), 200);
        let chart = Chart::of(&history, Some(now), "USD").unwrap();
        assert_eq!(chart.line, "M0 184L200 16L800 100");
        assert_eq!(chart.area, "M0 184L200 16L800 100L800 200L0 200Z");
        assert_eq!(chart.marks, "M200 192V200M0 192V200", "an import each, the value now is none");
        assert_eq!(chart.points.lines().last(), Some("800 100|2026-11-05T00:00:00Z|$2.00"));
        assert_eq!((&*chart.low, &*chart.middle, &*chart.high), ("$1.00", "$2.00", "$3.00"));
        assert!(
            chart.summary.contains("lowest $1.00, highest $3.00, last $2.00"),
            "{}",
            chart.summary
        );
    }

    #[test]
    fn one_moment_makes_no_line_and_a_steady_value_a_level_one() {
        let at = datetime!(2026-11-01 00:00 UTC);
        assert!(Chart::of(&[], None, "USD").is_none());
        assert!(Chart::of(&[snapshot(at, 1), snapshot(at, 2)], None, "USD").is_none());
        let steady = [snapshot(at, 5), snapshot(at + Duration::DAY, 5)];
        assert_eq!(Chart::of(&steady, None, "USD").unwrap().line, "M0 100L800 100");
    }

    #[test]
    fn of_very_many_values_three_hundred_are_drawn() {
        let begin = datetime!(2026-01-01 00:00 UTC);
        let history: Vec<_> =
            (0..5_000).map(|hour| snapshot(begin + Duration::hours(hour), hour)).collect();
        let chart = Chart::of(&history, None, "USD").unwrap();
        assert_eq!(chart.points.lines().count(), MAX_POINTS);
        assert!(chart.points.ends_with("|$49.99\n") && chart.points.contains("|$0.00\n"));
        assert_eq!(chart.marks.matches('M').count(), MAX_MARKS);
        assert!(chart.points.len() + chart.line.len() < 16_000);
    }
}
