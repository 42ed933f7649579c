//! The JSON of Steam's inventory endpoint, with the liberties it takes.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

#[derive(Deserialize)]
pub(super) struct RawPage {
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) assets: Vec<RawAsset>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) descriptions: Vec<RawDescription>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) asset_properties: Vec<RawProperties>,
    #[serde(default, deserialize_with = "flag")]
    pub(super) more_items: bool,
    #[serde(default)]
    pub(super) last_assetid: Option<String>,
    #[serde(default, rename = "total_inventory_count")]
    pub(super) total: Option<u32>,
    #[serde(default, deserialize_with = "flag")]
    pub(super) success: bool,
    #[serde(default, alias = "Error")]
    pub(super) error: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct RawAsset {
    #[serde(default)]
    pub(super) appid: Option<u32>,
    pub(super) assetid: String,
    pub(super) classid: String,
    #[serde(default)]
    instanceid: Option<String>,
    #[serde(default = "one")]
    pub(super) amount: Cow<'static, str>,
}

impl RawAsset {
    pub(super) fn instance(&self) -> &str {
        self.instanceid.as_deref().unwrap_or("0")
    }
}

fn one() -> Cow<'static, str> {
    Cow::Borrowed("1")
}

#[derive(Deserialize)]
pub(super) struct RawDescription {
    pub(super) classid: String,
    #[serde(default)]
    instanceid: Option<String>,
    #[serde(default)]
    pub(super) market_hash_name: String,
    #[serde(default, rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) icon_url: String,
    #[serde(default, deserialize_with = "flag")]
    pub(super) tradable: bool,
    #[serde(default, deserialize_with = "flag")]
    pub(super) marketable: bool,
    #[serde(default)]
    market_tradable_restriction: Option<i64>,
    #[serde(default)]
    market_marketable_restriction: Option<i64>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) tags: Vec<RawTag>,
}

impl RawDescription {
    pub(super) fn instance(&self) -> &str {
        self.instanceid.as_deref().unwrap_or("0")
    }

    /// A restriction in days on something that is not tradable or not marketable now: it will be.
    pub(super) fn is_locked(&self) -> bool {
        let passing = |restriction: Option<i64>| restriction.is_some_and(|days| days > 0);
        !self.tradable && passing(self.market_tradable_restriction)
            || !self.marketable && passing(self.market_marketable_restriction)
    }
}

#[derive(Deserialize)]
pub(super) struct RawTag {
    #[serde(default)]
    pub(super) category: String,
    #[serde(default)]
    pub(super) internal_name: String,
    #[serde(default, rename = "localized_tag_name")]
    pub(super) name: String,
    #[serde(default)]
    pub(super) color: String,
}

#[derive(Deserialize)]
pub(super) struct RawProperties {
    pub(super) assetid: String,
    #[serde(default)]
    asset_properties: Option<Vec<RawProperty>>,
}

impl RawProperties {
    pub(super) fn properties(&self) -> &[RawProperty] {
        self.asset_properties.as_deref().unwrap_or_default()
    }
}

#[derive(Deserialize)]
pub(super) struct RawProperty {
    #[serde(rename = "propertyid")]
    pub(super) id: u32,
    #[serde(default, alias = "float_value", alias = "int_value", alias = "string_value")]
    value: Option<Value>,
}

impl RawProperty {
    /// The value as text, whichever type it came as.
    pub(super) fn text(&self) -> Option<String> {
        match self.value.as_ref()? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// `true`, `1` and what else Steam writes for yes.
fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Flag {
        Bool(bool),
        Number(i64),
    }
    Ok(match Option::<Flag>::deserialize(from)? {
        Some(Flag::Bool(yes)) => yes,
        Some(Flag::Number(number)) => number == 1,
        None => false,
    })
}
