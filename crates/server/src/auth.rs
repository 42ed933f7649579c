//! Sign-in methods: protocols and rules, independent of the HTTP server.

pub mod accounts;
pub mod api_token;
pub mod api_tokens;
pub mod authenticators;
pub mod callback;
pub mod client;
pub mod code_budget;
pub mod events;
pub mod github;
pub mod id_token;
pub mod magic_link;
pub mod mail_limits;
pub mod oidc;
pub mod one_time_key;
pub mod outgoing;
pub mod passkeys;
pub mod provider_error;
pub mod providers;
pub mod recovery_codes;
pub mod service_error;
pub mod steam;
pub mod token;
pub mod transaction;
pub mod webauthn;
