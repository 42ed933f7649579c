//! The part of JSON Schema that the document uses. Any other keyword fails the test.

use serde_json::Value;

/// The mismatch between `value` and `schema`, if there is one.
pub(super) fn complaint(
    document: &Value,
    schema: &Value,
    value: &Value,
    at: &str,
) -> Option<String> {
    let rules = schema.as_object().unwrap_or_else(|| panic!("no schema for {at}"));
    rules.iter().find_map(|(keyword, rule)| {
        let fine = match keyword.as_str() {
            "$ref" => {
                let there =
                    document.pointer(&rule.as_str()?[1..]).unwrap_or_else(|| panic!("{rule}"));
                return complaint(document, there, value, at);
            }
            "oneOf" => {
                let fitting = rule
                    .as_array()?
                    .iter()
                    .filter(|one| complaint(document, one, value, at).is_none());
                fitting.count() == 1
            }
            "type" => types(rule).any(|name| is(name, value)),
            "enum" => rule.as_array()?.contains(value),
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
            "minLength" => {
                value.as_str().is_none_or(|text| text.len() as u64 >= rule.as_u64().unwrap())
            }
            "maxLength" => {
                value.as_str().is_none_or(|text| text.len() as u64 <= rule.as_u64().unwrap())
            }
            "required" => names(rule).all(|name| !value.is_object() || value.get(name).is_some()),
            "additionalProperties" => value.as_object().is_none_or(|fields| {
                fields.keys().all(|name| schema["properties"].get(name).is_some() || *rule == true)
            }),
            "properties" => {
                return rule.as_object()?.iter().find_map(|(name, schema)| {
                    complaint(document, schema, value.get(name)?, &format!("{at}/{name}"))
                });
            }
            "items" => {
                return value
                    .as_array()?
                    .iter()
                    .find_map(|item| complaint(document, rule, item, &format!("{at}/[]")));
            }
            "format" => value.as_str().is_none_or(|text| has_format(rule.as_str().unwrap(), text)),
            // Tests check these where it matters.
            "pattern" | "description" => true,
            other => panic!("{other} is not known to this checker"),
        };
        (!fine).then(|| format!("{at}: {value} does not fit {keyword} {rule}"))
    })
}

fn names(rule: &Value) -> impl Iterator<Item = &str> {
    rule.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn types(rule: &Value) -> impl Iterator<Item = &str> {
    rule.as_str().into_iter().chain(names(rule))
}

fn is(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is no type"),
    }
}

fn has_format(format: &str, text: &str) -> bool {
    use time::format_description::well_known::Rfc3339;
    match format {
        "date-time" => time::OffsetDateTime::parse(text, &Rfc3339).is_ok(),
        "uuid" => uuid::Uuid::parse_str(text).is_ok(),
        other => panic!("{other} is no format"),
    }
}
