//! Parses variables one by one and records all problems.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::Mode;
use super::problem::{Problem, Warning, Wrong, quoted};
use super::table::{Fallback, variable};

/// A value, or the proof that its problem was recorded.
pub(super) type Read<T> = Result<T, Refused>;

/// Only [`Reader::refuse`] creates one, so its existence proves that a problem was recorded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused(());

pub(super) struct Reader<'a> {
    vars: &'a BTreeMap<String, String>,
    pub(super) mode: Mode,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Warning>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(vars: &'a BTreeMap<String, String>, mode: Mode) -> Self {
        Self { vars, mode, problems: Vec::new(), warnings: Vec::new() }
    }

    /// The configured value; an empty one counts as unset.
    pub(super) fn given(&self, name: &'static str) -> Option<&'a str> {
        given(self.vars, name)
    }

    /// Whether a variable of another program has a value.
    pub(super) fn is_set(&self, foreign: &str) -> bool {
        given(self.vars, foreign).is_some()
    }

    /// Parses the configured value or the table's default.
    pub(super) fn read<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Read<T> {
        let value = effective(self.vars, name);
        let Some(value) = value else {
            return Err(self.refuse(name, Wrong::new("is missing", format!("set {name}"))));
        };
        parse(value).map_err(|wrong| self.refuse(name, wrong))
    }

    /// Parses the configured value, if there is one.
    pub(super) fn optional<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Read<Option<T>> {
        match self.given(name) {
            None => Ok(None),
            Some(value) => parse(value).map(Some).map_err(|wrong| self.refuse(name, wrong)),
        }
    }

    pub(super) fn number<T: TryFrom<u64>>(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u64>,
    ) -> Read<T> {
        let unit = variable(name).unit;
        self.read(name, |value| {
            let remedy = format!("write a whole number ({unit})");
            let wrong = || Wrong::new(format!("is {}", quoted(value)), remedy);
            // `parse` alone would accept a sign.
            let digits = value.bytes().all(|byte| byte.is_ascii_digit());
            let number = value.parse().ok().filter(|number| digits && range.contains(number));
            number.and_then(|number| T::try_from(number).ok()).ok_or_else(wrong)
        })
    }

    pub(super) fn minutes(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u64>,
    ) -> Read<Duration> {
        Ok(Duration::from_secs(self.number::<u64>(name, range)? * 60))
    }

    pub(super) fn hours(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u64>,
    ) -> Read<Duration> {
        Ok(Duration::from_secs(self.number::<u64>(name, range)? * 3600))
    }

    /// Two variables that must be set together or not at all.
    pub(super) fn pair(
        &mut self,
        first: &'static str,
        second: &'static str,
    ) -> Read<Option<(&'a str, &'a str)>> {
        let (missing, present) = match (self.given(first), self.given(second)) {
            (Some(a), Some(b)) => return Ok(Some((a, b))),
            (None, None) => return Ok(None),
            (Some(_), None) => (second, first),
            (None, Some(_)) => (first, second),
        };
        let wrong = Wrong::new(format!("is missing while {present} is set"), "set both or none");
        Err(self.refuse(missing, wrong))
    }

    pub(super) fn refuse(&mut self, name: &'static str, wrong: Wrong) -> Refused {
        self.problems.push(Problem::new(variable(name).name, wrong));
        Refused(())
    }

    pub(super) fn warn(&mut self, name: &'static str, text: impl Into<String>) {
        self.warnings.push(Warning::new(variable(name).name, text));
    }
}

/// The configured value; an empty one counts as unset.
pub(super) fn given<'a>(vars: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    vars.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

/// The configured value or the table's default.
pub(super) fn effective<'a>(vars: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    given(vars, name).or(match variable(name).fallback {
        Fallback::Value(value) => Some(value),
        Fallback::Required | Fallback::Unset | Fallback::Derived(_) => None,
    })
}

pub(super) fn parse_bool(value: &str) -> Result<bool, Wrong> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(Wrong::new(format!("is {}", quoted(value)), "write true or false")),
    }
}
