//! The outcome of a race, and its description.

use std::net::SocketAddr;

use super::{Meanwhile, Race};
use crate::client::{Answer, CookieEffect, Cookies, send};

/// What the processes report about the session after the race; first that of S, then that of W.
pub(super) struct Seen {
    /// Whether the browser is still signed in at both processes; then whether each shows W's field,
    /// and S's.
    signed_in: bool,
    value: [bool; 2],
    other: [bool; 2],
    /// Whether the cookie from before the race still opens the session.
    before: [bool; 2],
    /// Whether the browser's cookie after the race opens a session at either process.
    after: bool,
}

/// A cell of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Whether the race did no harm.
    pub(super) right: bool,
    pub(super) text: String,
}

impl Seen {
    /// Asks the processes of S and of W, with the browser's cookies from before and after the race.
    pub(super) async fn of(
        race: Race,
        [s, w]: [SocketAddr; 2],
        before: &Cookies,
        after: &Cookies,
    ) -> anyhow::Result<Self> {
        let mut seen = Self {
            signed_in: true,
            value: [false; 2],
            other: [false; 2],
            before: [false; 2],
            after: false,
        };
        for (process, address) in [s, w].into_iter().enumerate() {
            if race.meanwhile == Meanwhile::Logout {
                seen.before[process] = signed_in(&fields(address, before).await?)?;
                seen.after |= signed_in(&fields(address, after).await?)?;
            } else {
                let answer = fields(address, after).await?;
                seen.signed_in &= signed_in(&answer)?;
                seen.value[process] = answer.body["value"] == 1;
                seen.other[process] = answer.body["other"] == 1;
            }
        }
        Ok(seen)
    }

    pub(super) fn is_right(&self, race: Race) -> bool {
        match race.meanwhile {
            Meanwhile::Write => {
                self.signed_in
                    && self.value == [true; 2]
                    && (self.other == [true; 2] || !race.writes)
            }
            Meanwhile::Logout => self.before == [false; 2] && !self.after,
        }
    }

    fn text(&self, race: Race) -> String {
        let text = match race.meanwhile {
            Meanwhile::Write if !self.signed_in => "signed out",
            Meanwhile::Write => match (race.writes, self.value, self.other) {
                (true, [true, true], [true, true]) => "both kept",
                (true, [false, false], [false, false]) => "both lost",
                (false, value, _) | (true, value, [true, true]) => {
                    return format!("`a` {}", fate(value));
                }
                (true, [true, true], other) => return format!("S's field {}", fate(other)),
                (true, value, other) => {
                    return format!("`a` {}, S's field {}", fate(value), fate(other));
                }
            },
            Meanwhile::Logout => match (self.before, self.after) {
                ([true, true], _) => "alive again",
                ([true, false], _) => "alive in S's process",
                ([false, true], _) => "alive in W's process",
                ([false, false], true) => "signed in again by S's cookie",
                ([false, false], false) => "dead",
            },
        };
        text.to_owned()
    }
}

impl Outcome {
    pub(super) fn new(race: Race, seen: &Seen, slow: &Answer) -> Self {
        let cookie = match (race.meanwhile, slow.cookie_effect()) {
            (_, CookieEffect::Cleared) => ", cookie cleared",
            (Meanwhile::Write, _) => "",
            (Meanwhile::Logout, CookieEffect::Untouched) => ", cookie left",
            (Meanwhile::Logout, CookieEffect::Set) => ", cookie set",
        };
        let right = seen.is_right(race) && slow.status == 200;
        Self { right, text: format!("{}; S: {}{cookie}", seen.text(race), slow.status) }
    }

    /// The outcome if W itself failed, so that there was no race.
    pub(super) fn refused(meanwhile: &Answer, slow: &Answer) -> Self {
        Self { right: false, text: format!("W: {}; S: {}", meanwhile.status, slow.status) }
    }
}

/// The fate of a field, by the processes that show it.
fn fate(shown: [bool; 2]) -> &'static str {
    match shown {
        [true, true] => "kept",
        [true, false] => "only in S's process",
        [false, true] => "only in W's process",
        [false, false] => "lost",
    }
}

async fn fields(address: SocketAddr, cookies: &Cookies) -> anyhow::Result<Answer> {
    send(address, "GET", "/fields", cookies).await
}

fn signed_in(answer: &Answer) -> anyhow::Result<bool> {
    match answer.status {
        200 => Ok(true),
        401 => Ok(false),
        other => anyhow::bail!("/fields was answered with {other}"),
    }
}
