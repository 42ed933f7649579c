//! Arbitrary callback queries from Steam. None causes a panic, and the server never interprets one
//! differently from Steam, which confirms it. The stored examples in `corpus/steam_callbacks.txt`
//! run first: each line is a query, where `GENUINE` stands for Steam's parameters.

use proptest::prelude::*;
use time::macros::datetime;
use tracera::auth::callback::OauthCallback;
use tracera::auth::steam::assertion::{Assertion, AssertionError, Expected};
use url::form_urlencoded;

const CORPUS: &str = include_str!("../corpus/steam_callbacks.txt");
const ID: &str = "76561197960435530";
const RETURN_TO: &str = "https://tracera.example/api/v1/auth/steam/login/callback?state=abc";

fn genuine() -> String {
    let id = format!("https://steamcommunity.com/openid/id/{ID}");
    form_urlencoded::Serializer::new(String::new())
        .append_pair("state", "abc")
        .append_pair("openid.ns", "http://specs.openid.net/auth/2.0")
        .append_pair("openid.mode", "id_res")
        .append_pair("openid.op_endpoint", "https://steamcommunity.com/openid/login")
        .append_pair("openid.claimed_id", &id)
        .append_pair("openid.identity", &id)
        .append_pair("openid.return_to", RETURN_TO)
        .append_pair("openid.response_nonce", "2026-05-01T11:59:58ZezdPkwX/lqSJVEfBwgG4UJZGwGo=")
        .append_pair("openid.assoc_handle", "1234567890")
        .append_pair(
            "openid.signed",
            "signed,op_endpoint,claimed_id,identity,return_to,response_nonce,assoc_handle",
        )
        .append_pair("openid.sig", "W0u5DRbtHE1GG0ZKXjerUZDUGmc=")
        .finish()
}

fn parse(query: &str) -> Result<Assertion, AssertionError> {
    let expected = Expected {
        endpoint: "https://steamcommunity.com/openid/login",
        identifier_prefix: "https://steamcommunity.com/openid/id/",
        return_to: RETURN_TO,
        now: datetime!(2026-05-01 12:00:00 UTC),
    };
    Assertion::parse(query, &expected)
}

/// Parses a query. An accepted one must equal the result of a plain form parser, with every field
/// exactly once.
fn accepted(query: &str) -> bool {
    let callback = OauthCallback::parse(query);
    let Ok(assertion) = parse(query) else { return false };
    let mut read: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let states = read.iter().filter(|(name, _)| name == "state").count();
    assert_eq!((states, callback.repeated), (1, false), "{query}");
    // Other parameters are ignored, because nobody could take them for a part of the protocol.
    read.retain(|(name, _)| name.to_ascii_lowercase().contains("openid"));
    for (name, value) in &mut read {
        match &**name {
            "openid.mode" => "check_authentication".clone_into(value),
            "openid.claimed_id" => {
                assert!(value.ends_with(&assertion.steam_id().digits()), "{query}");
            }
            _ => {}
        }
    }
    read.sort();
    let form = assertion.check_authentication_form();
    let mut sent: Vec<_> =
        form.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    sent.sort();
    assert_eq!(sent, read, "{query}");
    true
}

#[test]
fn the_kept_examples_assert_nothing() {
    let genuine = genuine();
    assert!(accepted(&genuine), "the genuine one does");
    assert!(CORPUS.lines().count() > 20);
    for line in CORPUS.lines() {
        let query = line.replace("GENUINE", &genuine);
        assert!(!accepted(&query), "{line}");
    }
}

/// Whether it is a harmless additional parameter, such as `utm_source=x`.
fn is_plain_and_foreign(pair: &str) -> bool {
    let Some((name, _)) = pair.split_once('=') else { return false };
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let reserved = ["state", "code", "iss", "error"];
    let name = name.to_ascii_lowercase();
    plain && !name.is_empty() && !name.contains("openid") && !reserved.contains(&&*name)
}

#[test]
fn noise_asserts_nothing() {
    let genuine = genuine();
    proptest!(|(noise in "\\PC{0,200}", joined in any::<bool>())| {
        prop_assert!(!accepted(&noise));
        if joined {
            let ignored = noise.split('&').all(is_plain_and_foreign);
            prop_assert_eq!(accepted(&[&genuine, "&", &noise].concat()), ignored);
        }
    });
}

#[test]
fn a_changed_answer_is_refused_or_read_as_steam_will_read_it() {
    let genuine = genuine();
    proptest!(|(
        at in 0..genuine.len(),
        remove in 0..4_usize,
        insert in "[&=%+.,;#a-f0-9A-Z]{0,4}|\\PC{0,2}",
    )| {
        let end = (at + remove).min(genuine.len());
        accepted(&[&genuine[..at], &insert, &genuine[end..]].concat());
    });
}

#[test]
fn parameters_in_any_order_and_number_are_read_as_steam_will_read_them() {
    let pairs: Vec<String> = genuine().split('&').map(str::to_owned).collect();
    proptest!(|(
        order in Just(pairs.clone()).prop_shuffle(),
        left_out in 0..14_usize,
        twice in 0..14_usize,
    )| {
        let complete = left_out >= order.len() && twice >= order.len();
        let mut chosen = order.clone();
        chosen.extend(order.get(twice).cloned());
        if left_out < order.len() {
            chosen.remove(left_out);
        }
        let as_sent = left_out < order.len() && left_out == twice;
        prop_assert_eq!(accepted(&chosen.join("&")), complete || as_sent);
    });
}
