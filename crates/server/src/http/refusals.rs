//! Error responses for refused actions: status, stable code and message.

use http::StatusCode;
use tracera_session::SessionError;

use crate::actions::address::ConfirmRefusal;
use crate::actions::linking::UnlinkRefusal;
use crate::actions::magic_link::RedeemRefusal;
use crate::actions::passkeys::{AddRefusal, OnlyRefusal, ProofRefusal, RemoveRefusal};
use crate::actions::provider::BeginRefusal;
use crate::actions::recovery::RecoveryRefusal;
use crate::actions::sessions::NoSuchSession;
use crate::actions::tokens::{CreateRefusal, RevokeRefusal};
use crate::actions::undo::LinkInvalid;
use crate::actions::{ActionError, NotRecent};
use crate::auth::provider_error::ProviderError;
use crate::auth::service_error::ServiceError;
use crate::http::error::AppError;

impl<R: Into<AppError>> From<ActionError<R>> for AppError {
    fn from(error: ActionError<R>) -> Self {
        match error {
            ActionError::Refused(refusal) => refusal.into(),
            ActionError::Service(error) => error.into(),
        }
    }
}

impl From<ServiceError> for AppError {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Session(error) => error.into(),
            error if error.is_defect() => Self::internal(error),
            error => Self::unavailable(error),
        }
    }
}

impl From<NotRecent> for AppError {
    fn from(NotRecent: NotRecent) -> Self {
        SessionError::NotFresh.into()
    }
}

impl From<RedeemRefusal> for AppError {
    fn from(refusal: RedeemRefusal) -> Self {
        match refusal {
            RedeemRefusal::Invalid => Self::bad_request(
                "link_invalid",
                "this link or code is wrong, used or expired; please ask for a new one",
            ),
            RedeemRefusal::PasskeyOnly => Self::new(
                StatusCode::FORBIDDEN,
                "passkey_only",
                "only a passkey or a recovery code opens this account, as its owner wanted",
            ),
            RedeemRefusal::OtherAccount => Self::new(
                StatusCode::FORBIDDEN,
                "other_account",
                "that opens another account than the one that is signed in",
            ),
        }
    }
}

impl From<AddRefusal> for AppError {
    fn from(refusal: AddRefusal) -> Self {
        match refusal {
            AddRefusal::NotRecent => NotRecent.into(),
            AddRefusal::Invalid => Self::passkey_invalid(),
            AddRefusal::TooMany => Self::new(
                StatusCode::CONFLICT,
                "too_many_passkeys",
                "this account has as many passkeys as it may; remove one first",
            ),
        }
    }
}

impl From<ProofRefusal> for AppError {
    fn from(_: ProofRefusal) -> Self {
        Self::passkey_invalid()
    }
}

impl From<RemoveRefusal> for AppError {
    fn from(refusal: RemoveRefusal) -> Self {
        match refusal {
            RemoveRefusal::NotRecent => NotRecent.into(),
            RemoveRefusal::NotFound => Self::not_found(),
            RemoveRefusal::LastWayIn => UnlinkRefusal::LastWayIn.into(),
            RemoveRefusal::Needed => OnlyRefusal::Lacking.into(),
        }
    }
}

impl From<OnlyRefusal> for AppError {
    fn from(refusal: OnlyRefusal) -> Self {
        match refusal {
            OnlyRefusal::NotRecent => NotRecent.into(),
            OnlyRefusal::Lacking => Self::new(
                StatusCode::CONFLICT,
                "passkeys_missing",
                "passkey only needs two passkeys, or one and recovery codes",
            ),
        }
    }
}

impl From<RecoveryRefusal> for AppError {
    fn from(refusal: RecoveryRefusal) -> Self {
        match refusal {
            RecoveryRefusal::Invalid => Self::bad_request(
                "recovery_invalid",
                "no account has that address and that recovery code",
            ),
            RecoveryRefusal::TooOften(wait) => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limited",
                "too many recovery codes were tried for this address; passkeys still work",
            )
            .retry_after(wait),
        }
    }
}

impl From<CreateRefusal> for AppError {
    fn from(refusal: CreateRefusal) -> Self {
        match refusal {
            CreateRefusal::NotRecent => NotRecent.into(),
            CreateRefusal::TooMany => Self::new(
                StatusCode::CONFLICT,
                "too_many_tokens",
                "this account has as many API tokens as it may; revoke one first",
            ),
        }
    }
}

impl From<RevokeRefusal> for AppError {
    fn from(refusal: RevokeRefusal) -> Self {
        match refusal {
            RevokeRefusal::NotRecent => NotRecent.into(),
            RevokeRefusal::NotFound => Self::not_found(),
        }
    }
}

impl From<LinkInvalid> for AppError {
    fn from(LinkInvalid: LinkInvalid) -> Self {
        Self::bad_request("link_invalid", "this link is wrong, used or expired")
    }
}

impl From<NoSuchSession> for AppError {
    fn from(NoSuchSession: NoSuchSession) -> Self {
        Self::not_found()
    }
}

impl From<ConfirmRefusal> for AppError {
    fn from(refusal: ConfirmRefusal) -> Self {
        match refusal {
            ConfirmRefusal::LinkInvalid => Self::bad_request(
                "link_invalid",
                "this link is wrong, used, expired or of another account; please ask for a new one",
            ),
            ConfirmRefusal::Taken => Self::new(
                StatusCode::CONFLICT,
                "email_taken",
                "another account has this address; sign in to that one instead",
            ),
            ConfirmRefusal::NoAccount => Self::unauthenticated(),
        }
    }
}

impl From<UnlinkRefusal> for AppError {
    fn from(refusal: UnlinkRefusal) -> Self {
        match refusal {
            UnlinkRefusal::NotRecent => NotRecent.into(),
            UnlinkRefusal::NotLinked => Self::not_found(),
            UnlinkRefusal::LastWayIn => Self::new(
                StatusCode::CONFLICT,
                "last_way_in",
                "this is the only way into your account; add an e-mail address or link another \
                 provider first",
            ),
        }
    }
}

impl From<BeginRefusal> for AppError {
    fn from(refusal: BeginRefusal) -> Self {
        match refusal {
            BeginRefusal::NotRecent => NotRecent.into(),
            BeginRefusal::NotConfigured => Self::new(
                StatusCode::NOT_FOUND,
                "method_not_configured",
                "this server does not use that provider; `tracera check-config` says which \
                 variables it needs",
            ),
            BeginRefusal::Provider(error) => error.into(),
        }
    }
}

impl From<ProviderError> for AppError {
    fn from(error: ProviderError) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, error.code(), error.to_string())
    }
}
