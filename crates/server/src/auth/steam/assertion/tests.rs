use time::macros::datetime;
use url::form_urlencoded;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-05-01 12:00:00 UTC);
const ID: &str = "76561197960435530";
const RETURN_TO: &str = "https://tracera.example/api/v1/auth/steam/login/callback?state=abc";

fn expected() -> Expected<'static> {
    Expected {
        endpoint: "https://steamcommunity.com/openid/login",
        identifier_prefix: "https://steamcommunity.com/openid/id/",
        return_to: RETURN_TO,
        now: NOW,
    }
}

/// A genuine response from Steam.
fn genuine() -> Vec<(String, String)> {
    let id = format!("https://steamcommunity.com/openid/id/{ID}");
    [
        ("state", "abc"),
        ("openid.ns", NS),
        ("openid.mode", "id_res"),
        ("openid.op_endpoint", "https://steamcommunity.com/openid/login"),
        ("openid.claimed_id", &id),
        ("openid.identity", &id),
        ("openid.return_to", RETURN_TO),
        ("openid.response_nonce", "2026-05-01T11:59:58ZezdPkwX/lqSJVEfBwgG4UJZGwGo="),
        ("openid.assoc_handle", "1234567890"),
        (
            "openid.signed",
            "signed,op_endpoint,claimed_id,identity,return_to,response_nonce,assoc_handle",
        ),
        ("openid.sig", "W0u5DRbtHE1GG0ZKXjerUZDUGmc="),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn query(parameters: &[(String, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

fn with(name: &str, value: &str) -> String {
    let mut parameters = genuine();
    let parameter = parameters.iter_mut().find(|(known, _)| known == name).unwrap();
    value.clone_into(&mut parameter.1);
    query(&parameters)
}

fn parse(query: &str) -> Result<Assertion, AssertionError> {
    Assertion::parse(query, &expected())
}

#[test]
fn a_genuine_answer_is_read_and_forwarded_as_it_came() {
    let assertion = parse(&query(&genuine())).unwrap();
    assert_eq!(assertion.steam_id().digits(), ID);
    let mut sent: Vec<_> = genuine().into_iter().filter(|(name, _)| name != "state").collect();
    sent.iter_mut().find(|(name, _)| name == "openid.mode").unwrap().1 =
        "check_authentication".to_owned();
    let form = assertion.check_authentication_form();
    let forwarded: Vec<_> =
        form.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    assert_eq!(forwarded, sent);
}

#[test]
fn every_value_has_to_be_the_one_expected() {
    for (name, value) in [
        ("openid.ns", "http://openid.net/signon/1.1"),
        ("openid.ns", ""),
        ("openid.op_endpoint", "https://evil.example/openid/login"),
        ("openid.op_endpoint", "https://steamcommunity.com/openid/login/"),
        ("openid.return_to", "https://evil.example/api/v1/auth/steam/login/callback?state=abc"),
        ("openid.return_to", "http://tracera.example/api/v1/auth/steam/login/callback?state=abc"),
        (
            "openid.return_to",
            "https://tracera.example:8443/api/v1/auth/steam/login/callback?state=abc",
        ),
        ("openid.return_to", "https://tracera.example/api/v1/auth/steam/callback?state=abc"),
        ("openid.return_to", "https://tracera.example/api/v1/auth/steam/login/callback?state=abd"),
        ("openid.return_to", "https://tracera.example/api/v1/auth/steam/login/callback"),
        ("openid.identity", "https://steamcommunity.com/openid/id/76561197960435531"),
        ("openid.signed", ""),
        ("openid.signed", "signed"),
    ] {
        assert_eq!(
            parse(&with(name, value)),
            Err(AssertionError::Mismatch(named(name))),
            "{name} {value}"
        );
    }
}

#[test]
fn an_identifier_is_steams_own_and_whole() {
    for id in [
        "http://steamcommunity.com/openid/id/76561197960435530",
        "https://steamcommunity.com.evil.example/openid/id/76561197960435530",
        "https://evil.example/openid/id/76561197960435530",
        "https://user@steamcommunity.com/openid/id/76561197960435530",
        "https://STEAMCOMMUNITY.com/openid/id/76561197960435530",
        "https://steamcommunity.com/openid/id/76561197960435530/",
        "https://steamcommunity.com/openid/id/76561197960435530?x",
        "https://steamcommunity.com/openid/id/76561197960435530#x",
        "https://steamcommunity.com/openid/id/x/76561197960435530",
        "https://steamcommunity.com/openid/id/7656119796043553",
        "https://steamcommunity.com/openid/id/765611979604355300",
        "https://steamcommunity.com/openid/id/86561197960435530",
        "https://steamcommunity.com/openid/id/",
        "",
    ] {
        let mut parameters = genuine();
        for (name, value) in &mut parameters {
            if name == "openid.claimed_id" || name == "openid.identity" {
                id.clone_into(value);
            }
        }
        let told = parse(&query(&parameters));
        assert_eq!(told, Err(AssertionError::Mismatch("openid.claimed_id")), "{id}");
    }
}

#[test]
fn whatever_is_read_has_to_be_signed() {
    for name in SIGNED {
        let signed: Vec<_> = SIGNED.into_iter().filter(|other| *other != name).collect();
        for signed in [
            signed.join(","),
            format!("{},x{name}", signed.join(",")),
            format!("{},{name}x", signed.join(",")),
        ] {
            let told = parse(&with("openid.signed", &signed));
            assert_eq!(told, Err(AssertionError::Mismatch("openid.signed")), "{signed}");
        }
    }
}

#[test]
fn a_nonce_is_of_about_now() {
    for (nonce, recent) in [
        ("2026-05-01T11:55:00Zx", true),
        ("2026-05-01T11:54:59Zx", false),
        ("2026-05-01T12:02:00Zx", true),
        ("2026-05-01T12:02:01Zx", false),
        ("2026-05-01T12:00:00Z", true),
        ("2026-05-01 12:00:00Zx", false),
        ("2026-05-01T12:00:00+00:00", false),
        ("2026-13-01T12:00:00Zx", false),
        ("x2026-05-01T12:00:00Z", false),
        ("", false),
    ] {
        assert_eq!(parse(&with("openid.response_nonce", nonce)).is_ok(), recent, "{nonce}");
    }
    let long = format!("2026-05-01T12:00:00Z{}", "x".repeat(236));
    assert!(parse(&with("openid.response_nonce", &long)).is_err());
    assert!(parse(&with("openid.response_nonce", &long[1..])).is_err());
    assert!(parse(&with("openid.response_nonce", &long[..255])).is_ok());
}

#[test]
fn each_of_the_ten_is_there_once() {
    for name in PARAMETERS {
        let without: Vec<_> = genuine().into_iter().filter(|(known, _)| known != name).collect();
        assert!(parse(&query(&without)).is_err(), "without {name}");
        let mut twice = genuine();
        let value = twice.iter().find(|(known, _)| known == name).unwrap().clone();
        twice.push(value);
        assert_eq!(parse(&query(&twice)), Err(AssertionError::Parameters), "twice {name}");
    }
    let twice = format!("{}&state=abc", query(&genuine()));
    assert_eq!(parse(&twice), Err(AssertionError::Parameters));
}

#[test]
fn nothing_else_is_there() {
    let genuine = query(&genuine());
    for extra in [
        "openid.ax.value.email=a%40example.com",
        "openid.ns.sreg=x",
        "openid%2Eclaimed_id=x",
        "openid.claimed_id%00=x",
        "openid.claimed_id%20=x",
        "OPENID.claimed_id=x",
        "openid_claimed_id=x",
        "openid[claimed_id]=x",
        "openid.error=x",
        "code=x",
        "STATE=x",
        "xopenid_sig=x",
        "x.y=x",
        "utm%5Fsource=x",
        "",
        "x",
        "=",
    ] {
        for query in [format!("{genuine}&{extra}"), format!("{extra}&{genuine}")] {
            assert_eq!(parse(&query), Err(AssertionError::Parameters), "{extra}");
        }
    }
    let encoded = genuine.replace("openid.sig=", "openid%2Esig=");
    assert_eq!(parse(&encoded), Err(AssertionError::Parameters));
}

#[test]
fn what_others_add_on_the_way_is_ignored_and_not_forwarded() {
    let genuine = query(&genuine());
    for extra in ["utm_source=x", "fbclid=%00%FF", "_ga=2.1&utm_source=a&utm_source=b", "x-y="] {
        for query in [format!("{genuine}&{extra}"), format!("{extra}&{genuine}")] {
            assert_eq!(parse(&query), parse(&genuine), "{extra}");
        }
    }
    assert!(parse(&genuine).is_ok());
}

#[test]
fn values_are_printable_ascii() {
    for value in ["1234567890%00", "1234567890%0A", "%0D%0Ax", "%7F", "%C3%A9", "%FF", "%D9%A1"] {
        let query = query(&genuine())
            .replace("openid.assoc_handle=1234567890", &format!("openid.assoc_handle={value}"));
        assert_eq!(parse(&query), Err(AssertionError::Parameters), "{value}");
    }
    // Unicode digits that are not ASCII.
    let arabic =
        with("openid.claimed_id", "https://steamcommunity.com/openid/id/٧٦٥٦١١٩٧٩٦٠٤٣٥٥٣٠");
    assert_eq!(parse(&arabic), Err(AssertionError::Parameters));
}

#[test]
fn other_modes_assert_nothing() {
    let ns = format!(
        "state=abc&openid.ns={}",
        form_urlencoded::byte_serialize(NS.as_bytes()).collect::<String>()
    );
    for (mode, why) in [
        ("cancel", AssertionError::Cancelled),
        ("error&openid.error=x", AssertionError::Mode),
        ("setup_needed", AssertionError::Mode),
        ("checkid_setup", AssertionError::Mode),
        ("", AssertionError::Mode),
    ] {
        assert_eq!(parse(&format!("{ns}&openid.mode={mode}")), Err(why), "{mode}");
        if !mode.contains('&') {
            assert_eq!(parse(&with("openid.mode", mode)), Err(why), "{mode}");
        }
    }
}

fn named(name: &str) -> &'static str {
    PARAMETERS.into_iter().find(|known| *known == name).unwrap()
}
