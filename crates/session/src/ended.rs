//! Why a presented session is not alive.

/// Why the session that a request presented is not alive.
///
/// ```
/// use tracera_session::{Ended, Session};
///
/// fn notice(session: &Session) -> &'static str {
///     match session.ended() {
///         Some(Ended::Expired) => "You were away for long. Please sign in again.",
///         Some(Ended::Revoked | Ended::Absent) => "You were signed out.",
///         _ => "",
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// No secret of the ring signed the token: it is forged, damaged or of another application. Or
    /// the request has several genuine tokens. The store was not asked.
    NotOurs,
    /// The store knows no such session: signed out, revoked, or expired some time ago.
    Absent,
    /// The id was rotated a moment ago, or its browser signed in again, so the browser has a newer
    /// cookie. Changes made by this request are dropped.
    Rotated,
    /// A deadline has passed.
    Expired,
    /// The user signed out everywhere.
    Revoked,
    /// This version cannot read the record. The record stays as it is, and changes made by this
    /// request are dropped.
    Undecodable,
}

impl Ended {
    /// Whether the browser may hold a newer cookie, or one that another version of the application
    /// can read.
    pub(crate) fn keeps_cookie(self) -> bool {
        matches!(self, Self::Rotated | Self::Undecodable)
    }
}
