//! The history of a portfolio's value as a drawing: a line, its area, and a point for each value.

use std::fmt::Write;

use super::view::money;
use crate::pages::page::minute;
use crate::store::portfolio::snapshots::Snapshot;

const WIDTH: i64 = 800;
const HEIGHT: i64 = 200;
/// Free space above the highest and below the lowest value.
const MARGIN: i64 = 16;

/// Coordinates inside a box of [`Chart::WIDTH`] by [`Chart::HEIGHT`].
pub(super) struct Chart {
    pub(super) points: Vec<Point>,
    pub(super) line: String,
    pub(super) area: String,
    pub(super) summary: String,
    pub(super) low: String,
    pub(super) high: String,
    pub(super) first_day: String,
    pub(super) last_day: String,
}

pub(super) struct Point {
    pub(super) x: i64,
    pub(super) y: i64,
    pub(super) when: String,
    pub(super) value: String,
}

impl Chart {
    pub(super) const WIDTH: i64 = WIDTH;
    pub(super) const HEIGHT: i64 = HEIGHT;

    /// Of a history with the oldest value first; `None` when there is nothing to connect.
    pub(super) fn of(history: &[Snapshot], currency: &str) -> Option<Self> {
        let (first, last) = (history.first()?, history.last()?);
        let begin = first.taken_at.unix_timestamp();
        let span = last.taken_at.unix_timestamp() - begin;
        if span <= 0 {
            return None;
        }
        let values = history.iter().map(|snapshot| snapshot.total_cents);
        let (low, high) = (values.clone().min()?, values.max()?);
        let points: Vec<_> = history
            .iter()
            .map(|snapshot| Point {
                x: (snapshot.taken_at.unix_timestamp() - begin) * WIDTH / span,
                y: match high - low {
                    0 => HEIGHT / 2,
                    range => {
                        HEIGHT
                            - MARGIN
                            - (snapshot.total_cents - low) * (HEIGHT - 2 * MARGIN) / range
                    }
                },
                when: minute(snapshot.taken_at),
                value: amount(snapshot.total_cents, currency),
            })
            .collect();
        let mut line = String::new();
        for (at, point) in points.iter().enumerate() {
            let step = if at == 0 { 'M' } else { 'L' };
            // Writing to a String cannot fail.
            let _ = write!(line, "{step}{} {}", point.x, point.y);
        }
        let area = format!("{line}L{WIDTH} {HEIGHT}L0 {HEIGHT}Z");
        let summary = format!(
            "Value from {} to {}: lowest {}, highest {}, last {}",
            minute(first.taken_at),
            minute(last.taken_at),
            amount(low, currency),
            amount(high, currency),
            amount(last.total_cents, currency)
        );
        Some(Self {
            points,
            line,
            area,
            summary,
            low: amount(low, currency),
            high: amount(high, currency),
            first_day: first.taken_at.date().to_string(),
            last_day: last.taken_at.date().to_string(),
        })
    }
}

fn amount(cents: i64, currency: &str) -> String {
    money(cents.max(0).unsigned_abs(), currency)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn snapshot(taken_at: time::OffsetDateTime, total_cents: i64) -> Snapshot {
        Snapshot {
            taken_at,
            day: None,
            total_cents,
            currency: "USD".into(),
            items: 1,
            unpriced_items: 0,
            price_source: String::new(),
        }
    }

    #[test]
    fn values_lie_where_their_time_and_height_are() {
        let history = [
            snapshot(datetime!(2026-11-01 00:00 UTC), 100),
            snapshot(datetime!(2026-11-02 00:00 UTC), 300),
            snapshot(datetime!(2026-11-05 00:00 UTC), 200),
        ];
        let chart = Chart::of(&history, "USD").unwrap();
        assert_eq!(chart.line, "M0 184L200 16L800 100");
        assert_eq!(chart.area, "M0 184L200 16L800 100L800 200L0 200Z");
        assert!(
            chart.summary.contains("lowest $1.00, highest $3.00, last $2.00"),
            "{}",
            chart.summary
        );
    }

    #[test]
    fn one_moment_makes_no_line_and_a_steady_value_a_level_one() {
        let at = datetime!(2026-11-01 00:00 UTC);
        assert!(Chart::of(&[], "USD").is_none());
        assert!(Chart::of(&[snapshot(at, 1), snapshot(at, 2)], "USD").is_none());
        let steady = [snapshot(at, 5), snapshot(at + time::Duration::DAY, 5)];
        assert_eq!(Chart::of(&steady, "USD").unwrap().line, "M0 100L800 100");
    }
}
