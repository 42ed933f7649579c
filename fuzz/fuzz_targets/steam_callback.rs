//! The query of Steam's callback. `GENUINE` in it is replaced by a genuine response.
#![no_main]

use libfuzzer_sys::fuzz_target;
use time::macros::datetime;
use tracera::auth::steam::assertion::{Assertion, Expected};

const GENUINE: &str = "state=abc&openid.ns=http%3A%2F%2Fspecs.openid.net%2Fauth%2F2.0&openid.mode=id_res&openid.op_endpoint=https%3A%2F%2Fsteamcommunity.com%2Fopenid%2Flogin&openid.claimed_id=https%3A%2F%2Fsteamcommunity.com%2Fopenid%2Fid%2F76561197960435530&openid.identity=https%3A%2F%2Fsteamcommunity.com%2Fopenid%2Fid%2F76561197960435530&openid.return_to=https%3A%2F%2Ftracera.example%2Fapi%2Fv1%2Fauth%2Fsteam%2Flogin%2Fcallback%3Fstate%3Dabc&openid.response_nonce=2026-05-01T11%3A59%3A58ZezdPkwX%2FlqSJVEfBwgG4UJZGwGo%3D&openid.assoc_handle=1234567890&openid.signed=signed%2Cop_endpoint%2Cclaimed_id%2Cidentity%2Creturn_to%2Cresponse_nonce%2Cassoc_handle&openid.sig=W0u5DRbtHE1GG0ZKXjerUZDUGmc%3D";

fuzz_target!(|query: &str| {
    let query = query.replace("GENUINE", GENUINE);
    let expected = Expected {
        endpoint: "https://steamcommunity.com/openid/login",
        identifier_prefix: "https://steamcommunity.com/openid/id/",
        return_to: "https://tracera.example/api/v1/auth/steam/login/callback?state=abc",
        now: datetime!(2026-05-01 12:00:00 UTC),
    };
    let Ok(assertion) = Assertion::parse(&query, &expected) else { return };
    // Steam is asked to confirm exactly the identity that was read, once.
    let form = assertion.check_authentication_form();
    let claims: Vec<_> = form.iter().filter(|(name, _)| *name == "openid.claimed_id").collect();
    let id = format!("https://steamcommunity.com/openid/id/{}", assertion.steam_id().digits());
    assert!(matches!(claims[..], [(_, claimed)] if *claimed == id));
    assert!(form.contains(&("openid.mode", "check_authentication")));
});
