//! The JSON of Steam's inventory endpoint, with its inconsistencies.
//!
//! Ids, amounts and names are strict: text or a number, else the page is unreadable. All other
//! fields are lenient: a value with a wrong type counts as absent.

use std::borrow::Cow;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

#[derive(Deserialize)]
pub(super) struct RawPage<'a> {
    #[serde(borrow, default)]
    pub(super) assets: Option<Vec<RawAsset<'a>>>,
    #[serde(borrow, default, deserialize_with = "objects")]
    pub(super) descriptions: Vec<RawDescription<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    asset_properties: Option<Lenient<'a>>,
    #[serde(default, deserialize_with = "flag")]
    pub(super) more_items: bool,
    #[serde(borrow, default, deserialize_with = "lenient")]
    pub(super) last_assetid: Option<Text<'a>>,
    #[serde(borrow, default, rename = "total_inventory_count", deserialize_with = "lenient")]
    total: Option<Text<'a>>,
    #[serde(default, deserialize_with = "flag")]
    pub(super) success: bool,
    #[serde(borrow, default, alias = "Error", deserialize_with = "lenient")]
    pub(super) error: Option<Text<'a>>,
}

impl<'a> RawPage<'a> {
    pub(super) fn total(&self) -> Option<u32> {
        self.total.as_ref()?.0.parse().ok()
    }

    pub(super) fn properties(&self) -> Vec<RawProperties<'a>> {
        self.asset_properties.as_ref().map(Lenient::all).unwrap_or_default()
    }
}

/// A JSON string, or a number in its original spelling.
#[derive(Debug)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let raw = <&'de RawValue>::deserialize(from)?.get();
        match raw.as_bytes().first() {
            Some(b'"') => {
                let plain = &raw[1..raw.len() - 1];
                if plain.contains('\\') {
                    serde_json::from_str(raw)
                        .map(|text| Self(Cow::Owned(text)))
                        .map_err(D::Error::custom)
                } else {
                    Ok(Self(Cow::Borrowed(plain)))
                }
            }
            Some(b'0'..=b'9' | b'-') => Ok(Self(Cow::Borrowed(raw))),
            _ => Err(D::Error::custom("neither text nor number")),
        }
    }
}

/// A list whose unreadable elements are dropped.
pub(super) struct Lenient<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Lenient<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Vec::deserialize(from).map(Self)
    }
}

impl<'a> Lenient<'a> {
    fn all<T: Deserialize<'a>>(&self) -> Vec<T> {
        self.0.iter().filter_map(|raw| serde_json::from_str(raw.get()).ok()).collect()
    }
}

#[derive(Deserialize)]
pub(super) struct RawAsset<'a> {
    #[serde(borrow, default)]
    appid: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) assetid: Text<'a>,
    #[serde(borrow)]
    pub(super) classid: Text<'a>,
    #[serde(borrow, default)]
    instanceid: Option<Text<'a>>,
    #[serde(borrow, default)]
    amount: Option<Text<'a>>,
}

impl RawAsset<'_> {
    pub(super) fn instance(&self) -> &str {
        self.instanceid.as_ref().map_or("0", |text| &text.0)
    }

    pub(super) fn amount(&self) -> &str {
        self.amount.as_ref().map_or("1", |text| &text.0)
    }

    pub(super) fn is_of(&self, app: &str) -> bool {
        self.appid.as_ref().is_none_or(|text| text.0 == app)
    }
}

#[derive(Deserialize)]
pub(super) struct RawDescription<'a> {
    #[serde(borrow)]
    pub(super) classid: Text<'a>,
    #[serde(borrow, default)]
    instanceid: Option<Text<'a>>,
    #[serde(borrow, default)]
    market_hash_name: Option<Text<'a>>,
    #[serde(borrow, default, rename = "type", deserialize_with = "lenient")]
    kind: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    icon_url: Option<Text<'a>>,
    #[serde(default, deserialize_with = "flag")]
    pub(super) tradable: bool,
    #[serde(default, deserialize_with = "flag")]
    pub(super) marketable: bool,
    #[serde(borrow, default, deserialize_with = "lenient")]
    market_tradable_restriction: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    market_marketable_restriction: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    pub(super) cache_expiration: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    tags: Option<Lenient<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    descriptions: Option<Lenient<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    owner_descriptions: Option<Lenient<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    actions: Option<Lenient<'a>>,
}

impl<'a> RawDescription<'a> {
    pub(super) fn instance(&self) -> &str {
        self.instanceid.as_ref().map_or("0", |text| &text.0)
    }

    pub(super) fn name(&self) -> &str {
        self.market_hash_name.as_ref().map_or("", |text| &text.0)
    }

    pub(super) fn kind(&self) -> &str {
        self.kind.as_ref().map_or("", |text| &text.0)
    }

    pub(super) fn icon(&self) -> &str {
        self.icon_url.as_ref().map_or("", |text| &text.0)
    }

    /// Whether the item is locked: it is not tradable or not marketable now, and Steam gives a
    /// number of days.
    pub(super) fn is_locked(&self) -> bool {
        let passing = |restriction: &Option<Text<'_>>| {
            let days = restriction.as_ref().and_then(|days| days.0.parse::<i64>().ok());
            days.is_some_and(|days| days > 0)
        };
        !self.tradable && passing(&self.market_tradable_restriction)
            || !self.marketable && passing(&self.market_marketable_restriction)
    }

    pub(super) fn tags(&self) -> Vec<RawTag<'a>> {
        self.tags.as_ref().map(Lenient::all).unwrap_or_default()
    }

    /// The description lines for everybody.
    pub(super) fn lines(&self) -> Vec<RawLine<'a>> {
        self.descriptions.as_ref().map(Lenient::all).unwrap_or_default()
    }

    /// The description lines for the owner alone.
    pub(super) fn owner_lines(&self) -> Vec<RawLine<'a>> {
        self.owner_descriptions.as_ref().map(Lenient::all).unwrap_or_default()
    }

    pub(super) fn actions(&self) -> Vec<RawAction<'a>> {
        self.actions.as_ref().map(Lenient::all).unwrap_or_default()
    }
}

/// A line of text or markup.
#[derive(Deserialize)]
pub(super) struct RawLine<'a> {
    #[serde(borrow)]
    pub(super) value: Text<'a>,
}

#[derive(Deserialize)]
pub(super) struct RawAction<'a> {
    #[serde(borrow)]
    pub(super) link: Text<'a>,
}

#[derive(Deserialize)]
pub(super) struct RawTag<'a> {
    #[serde(borrow, default, deserialize_with = "lenient")]
    category: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    internal_name: Option<Text<'a>>,
    #[serde(borrow, default, rename = "localized_tag_name", deserialize_with = "lenient")]
    name: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    color: Option<Text<'a>>,
}

impl RawTag<'_> {
    pub(super) fn category(&self) -> &str {
        self.category.as_ref().map_or("", |text| &text.0)
    }

    pub(super) fn internal_name(&self) -> &str {
        self.internal_name.as_ref().map_or("", |text| &text.0)
    }

    pub(super) fn name(&self) -> &str {
        self.name.as_ref().map_or("", |text| &text.0)
    }

    pub(super) fn color(&self) -> &str {
        self.color.as_ref().map_or("", |text| &text.0)
    }
}

#[derive(Deserialize)]
pub(super) struct RawProperties<'a> {
    #[serde(borrow)]
    pub(super) assetid: Text<'a>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    asset_properties: Option<Lenient<'a>>,
}

impl<'a> RawProperties<'a> {
    pub(super) fn all(&self) -> Vec<RawProperty<'a>> {
        self.asset_properties.as_ref().map(Lenient::all).unwrap_or_default()
    }
}

#[derive(Deserialize)]
pub(super) struct RawProperty<'a> {
    #[serde(borrow, rename = "propertyid")]
    id: Text<'a>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    float_value: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    int_value: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    string_value: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    value: Option<Text<'a>>,
}

impl RawProperty<'_> {
    pub(super) fn is(&self, id: &str) -> bool {
        self.id.0 == id
    }

    /// The value as text, from whichever field has it.
    pub(super) fn text(&self) -> Option<&str> {
        let Self { float_value, int_value, string_value, value, .. } = self;
        [float_value, int_value, string_value, value].into_iter().flatten().map(|it| &*it.0).next()
    }
}

/// Deserialises the value; `None` if it has another type.
fn lenient<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    let raw = <&'de RawValue>::deserialize(from)?;
    Ok(serde_json::from_str(raw.get()).ok())
}

/// Deserialises a list of objects. Drops elements of other types; `null` is an empty list.
fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    let raws = Option::<Vec<&'de RawValue>>::deserialize(from)?.unwrap_or_default();
    let objects = raws.into_iter().map(RawValue::get).filter(|raw| raw.starts_with('{'));
    objects.map(|raw| serde_json::from_str(raw).map_err(D::Error::custom)).collect()
}

/// Deserialises `true`, `1` or their quoted forms as `true`, all else as `false`.
fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    let raw = <&'de RawValue>::deserialize(from)?.get();
    Ok(matches!(raw.trim_matches('"'), "true" | "1"))
}
