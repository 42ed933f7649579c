//! Uploaded inventories. Steam answers a user's browser where it refuses a server.

use serde_json::value::RawValue;

use super::inventory::{self, Reply};
use crate::domain::item::Page;

/// Limit on responses in one upload.
const MAX_PAGES: usize = 200;

/// Parses an upload: one response of Steam's inventory endpoint, or a list of them in order.
///
/// # Errors
/// What is wrong with the upload.
pub(super) fn pages(body: &[u8]) -> Result<Vec<Page>, &'static str> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
    if body.first() != Some(&b'[') {
        return Ok(vec![page(body)?]);
    }
    let pages: Vec<&RawValue> = serde_json::from_slice(body).map_err(|_| "it is no JSON")?;
    match pages.len() {
        0 => Err("the list is empty"),
        1..=MAX_PAGES => pages.into_iter().map(|it| page(it.get().as_bytes())).collect(),
        _ => Err("the list is too long"),
    }
}

fn page(json: &[u8]) -> Result<Page, &'static str> {
    match inventory::parse(json) {
        Ok(Reply::Page(page)) => Ok(page),
        Ok(Reply::Private) => Err("Steam says that the inventory is private"),
        Ok(Reply::Nothing) => Err("Steam had answered with nothing"),
        Err(_) => Err("it is not what Steam's inventory page answers"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_or_a_list_of_them_is_read() {
        let one =
            r#"{"success":1,"total_inventory_count":1,"assets":[{"assetid":"1","classid":"2"}]}"#;
        let count = |text: &str| pages(text.as_bytes()).map(|pages| pages.len());
        assert_eq!(count(one), Ok(1));
        assert_eq!(count(&format!("\u{feff} {one}\n")), Ok(1));
        assert_eq!(count(&format!("[{one},{one}]")), Ok(2));
        for wrong in ["", "[]", "null", "<html>", "{}", "[7]", r#"{"success":1}"#, "[{"] {
            assert!(count(wrong).is_err(), "{wrong}");
        }
        assert!(count(&format!("[{}]", [one; 201].join(","))).is_err());
    }
}
