//! Extracts details from text and markup in Steam's descriptions: stickers, charms, the end of a
//! lock.

use time::format_description::well_known::Rfc3339;
use time::{Date, Month, OffsetDateTime, Time};

use super::super::text::clean;
use super::wire::{RawDescription, RawLine};
use crate::domain::item::{Attachment, Attachments};

/// Limit on attachments per item.
const MAX_ATTACHED: usize = 10;
const MAX_NAME_CHARS: usize = 120;
const MAX_ADDRESS: usize = 600;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The attachments of an item. Steam lists each as an `<img>` whose title is the name.
pub(super) fn attachments(description: &RawDescription<'_>) -> Attachments {
    let mut all = Attachments::default();
    for RawLine { value } in description.lines() {
        for tag in value.0.split("<img").skip(1).filter_map(|rest| rest.split_once('>')) {
            let Some(title) = attribute(tag.0, "title") else { continue };
            let title = clean(&unescaped(title), MAX_NAME_CHARS);
            let Some((what, name)) = title.split_once(": ") else { continue };
            let list = match what {
                "Sticker" | "Patch" => &mut all.stickers,
                "Charm" => &mut all.charms,
                _ => continue,
            };
            if list.len() < MAX_ATTACHED && !name.is_empty() {
                let image = attribute(tag.0, "src").map(unescaped).filter(|url| is_picture(url));
                list.push(Attachment { name: format!("{what} | {name}"), image });
            }
        }
    }
    all
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = tag.split_once(&format!("{name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

fn unescaped(text: &str) -> String {
    let entities = [("&quot;", "\""), ("&#39;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")];
    entities.iter().fold(text.to_owned(), |text, (entity, sign)| text.replace(entity, sign))
}

fn is_picture(address: &str) -> bool {
    address.len() <= MAX_ADDRESS
        && url::Url::parse(address).is_ok_and(|url| url.scheme() == "https" && url.has_host())
}

/// When an item becomes tradable: from a field, or from the date in the text for the owner.
pub(super) fn locked_until(description: &RawDescription<'_>) -> Option<OffsetDateTime> {
    let field = description.cache_expiration.as_ref();
    let field = field.and_then(|text| OffsetDateTime::parse(&text.0, &Rfc3339).ok());
    let lines = || {
        let mut lines = description.owner_lines().into_iter().chain(description.lines());
        lines.find_map(|line| date_in(&line.value.0))
    };
    field.or_else(lines)
}

/// Parses the date in `Tradable/Marketable After Dec 03, 2026 (8:00:00) GMT`, or after `until`.
fn date_in(text: &str) -> Option<OffsetDateTime> {
    let (_, rest) = text.split_once(" After ").or_else(|| text.split_once(" until "))?;
    let mut words = rest.split([' ', ',', '(', ')', ':']).filter(|word| !word.is_empty());
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)?;
    let month = Month::try_from(u8::try_from(month).ok()? + 1).ok()?;
    let day = words.next()?.parse().ok()?;
    let date = Date::from_calendar_date(words.next()?.parse().ok()?, month, day).ok()?;
    let mut number = || words.next()?.parse().ok();
    Some(date.with_time(Time::from_hms(number()?, number()?, number()?).ok()?).assume_utc())
}

/// The URL that opens an asset in the game, built from Steam's template. The caller fills in the
/// owner.
pub(super) fn inspect_link(
    description: &RawDescription<'_>,
    asset_id: &str,
    property: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    let actions = description.actions();
    let pattern =
        actions.iter().map(|action| &*action.link.0).find(|it| it.starts_with("steam://"))?;
    let mut link = pattern.replace("%assetid%", asset_id);
    while let Some((before, rest)) = link.split_once("%propid:") {
        let (id, after) = rest.split_once('%')?;
        link = format!("{before}{}{after}", property(id)?);
    }
    let is_plain = link.len() <= MAX_ADDRESS && link.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain.then_some(link)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn described(json: &str) -> RawDescription<'_> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn stickers_and_charms_are_read_from_their_pictures() {
        let stickers = r#"<div name="sticker_info"><center>
            <img width=64 src="https://cdn.example/a.png" title="Sticker: Crown (Foil)">
            <img src="http://plain.example/b.png" title="Sticker: Tyloo, Holo &amp; more">
            <br>Sticker: Crown</center></div>"#;
        let charm =
            r#"<center><img src="https://cdn.example/c.png" title="Charm: Lil' Ava"></center>"#;
        let json = serde_json::json!({ "classid": "1", "descriptions": [
            { "type": "html", "value": stickers, "name": "sticker_info" },
            { "type": "html", "value": charm },
            { "value": "<img title=\"Nothing\"> <img" }, null, { "value": null },
        ] })
        .to_string();
        let all = attachments(&described(&json));
        let named = |list: &[Attachment]| list.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
        assert_eq!(
            named(&all.stickers),
            ["Sticker | Crown (Foil)", "Sticker | Tyloo, Holo & more"]
        );
        assert_eq!(all.stickers[0].image.as_deref(), Some("https://cdn.example/a.png"));
        assert_eq!(all.stickers[1].image, None, "no picture comes in the clear");
        assert_eq!(named(&all.charms), ["Charm | Lil' Ava"]);
    }

    #[test]
    fn the_end_of_a_lock_is_a_field_or_a_date_in_words() {
        let end = datetime!(2026-12-03 08:00 UTC);
        for json in [
            r#"{"classid":"1","cache_expiration":"2026-12-03T08:00:00Z"}"#,
            r#"{"classid":"1","owner_descriptions":[{"value":" "},
                {"value":"\nTradable/Marketable After Dec 03, 2026 (8:00:00) GMT"}]}"#,
            r#"{"classid":"1","owner_descriptions":[{"value":
    "⇆ This item is trade-protected and cannot be transferred until Dec 3, 2026 (8:00:00) GMT"
            }]}"#,
        ] {
            assert_eq!(locked_until(&described(json)), Some(end), "{json}");
        }
        for json in [
            r#"{"classid":"1"}"#,
            r#"{"classid":"1","cache_expiration":"soon","owner_descriptions":
                [{"value":"Tradable After Smarch 99"}]}"#,
        ] {
            assert_eq!(locked_until(&described(json)), None, "{json}");
        }
    }

    #[test]
    fn an_inspect_link_is_filled_in() {
        let link = |pattern: &str| {
            let json = format!(r#"{{"classid":"1","actions":[{{"link":"{pattern}"}}]}}"#);
            inspect_link(&described(&json), "17", |id| (id == "6").then(|| "AB12".to_owned()))
        };
        assert_eq!(
            link("steam://rungame/730/1/+csgo_econ_action_preview%20S%owner_steamid%A%assetid%D9")
                .as_deref(),
            Some("steam://rungame/730/1/+csgo_econ_action_preview%20S%owner_steamid%A17D9")
        );
        assert_eq!(link("steam://run/730//%propid:6%").as_deref(), Some("steam://run/730//AB12"));
        assert_eq!(link("steam://run/730//%propid:7%"), None);
        assert_eq!(link("https://elsewhere.example/"), None);
    }
}
