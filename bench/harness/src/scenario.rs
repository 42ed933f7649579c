//! The scenarios of the comparison.

use clap::ValueEnum;

use crate::contender::{Contender, Kind, Setup};

/// One kind of request, or a mix of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// An authenticated request that reads.
    Read,
    /// A sign-in.
    SignIn,
    /// An authenticated request that writes one field.
    Write,
    /// 19 reads, then one write.
    Mixed,
    /// Authenticated reads with an idle timeout, which each request renews.
    Sliding,
    /// Authenticated reads of a rate-limited route.
    Limited,
    /// The whole service, compared with the floors and the session layer alone.
    Service,
}

impl Scenario {
    pub(crate) const ALL: [Self; 7] = [
        Self::Read,
        Self::SignIn,
        Self::Write,
        Self::Mixed,
        Self::Sliding,
        Self::Limited,
        Self::Service,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Read => "Authenticated read",
            Self::SignIn => "Sign-in",
            Self::Write => "Write of one field",
            Self::Mixed => "Mixed: 95 % reads, 5 % writes",
            Self::Sliding => "Authenticated read with sliding expiry",
            Self::Limited => "Authenticated read of a rate-limited route",
            Self::Service => "The whole service",
        }
    }

    /// Whether a contender takes part.
    pub(crate) fn includes(self, contender: &Contender) -> bool {
        match contender.kind {
            Kind::Get | Kind::Ours => true,
            Kind::Constant => {
                matches!(self, Self::Read | Self::Sliding | Self::Limited | Self::Service)
            }
            Kind::Peer => !matches!(self, Self::Limited | Self::Service),
            Kind::Service | Kind::Portfolio => self == Self::Service,
        }
    }

    pub(crate) fn setup(self) -> Setup {
        Setup { sliding: self == Self::Sliding, limited: self == Self::Limited, ..Setup::default() }
    }

    /// The load's mode for this kind of contender. Floors have neither limits nor expiry, because
    /// they are only the baseline.
    pub(crate) fn mode(self, kind: Kind) -> &'static str {
        match (self, kind) {
            (_, Kind::Constant) => "constant",
            (_, Kind::Service) => "status",
            (_, Kind::Portfolio) => "portfolio",
            (Self::Read | Self::Sliding | Self::Limited | Self::Service, _) => "read",
            (Self::SignIn, _) => "login",
            (Self::Write, _) => "write",
            (Self::Mixed, _) => "mixed",
        }
    }
}
