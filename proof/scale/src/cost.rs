//! The measured cost of each operation. The letters are those of the table in docs/scale.md.

/// Server CPU of a request answered from the near-cache, µs.
pub(crate) const H: f64 = 5.4;
/// Server CPU of a request that asks Redis, µs.
pub(crate) const M: f64 = 7.4;
/// Redis CPU of a read, µs.
pub(crate) const R: f64 = 1.3;
/// Redis CPU of a write of one field, µs.
pub(crate) const W: f64 = 12.6;
/// Redis memory of a session, bytes.
pub(crate) const B: f64 = 229.0;
/// Redis memory of a session that servers keep, with three of them, bytes.
pub(crate) const K: f64 = 248.0;

/// Redis CPU of one invalidation, µs. Not measured; assumed to be that of a read.
pub(crate) const TELL: f64 = R;
/// Redis memory of each further reader of a session, bytes.
pub(crate) const READER: f64 = 40.0;
/// Server memory of a copy, bytes.
pub(crate) const COPY: f64 = 200.0;
/// How long a server uses a copy, s.
pub(crate) const MAX_AGE: f64 = 60.0;
/// The time a cluster takes to replace a primary, with half of the default node timeout, s.
pub(crate) const FAILOVER: f64 = 10.0;

#[cfg(test)]
mod tests {
    #[test]
    fn the_costs_are_those_of_the_page() {
        let page = include_str!("../../../docs/scale.md");
        for (letter, cost) in [
            ("h", super::H),
            ("m", super::M),
            ("r", super::R),
            ("w", super::W),
            ("b", super::B),
            ("k", super::K),
        ] {
            let row = page.lines().find(|line| line.starts_with(&format!("| `{letter}` |")));
            let value = row.and_then(|row| row.split('|').nth(3)).map(str::trim);
            let number = value.and_then(|value| value.split(' ').next()?.parse::<f64>().ok());
            assert_eq!(number, Some(cost), "{letter}");
        }
    }
}
