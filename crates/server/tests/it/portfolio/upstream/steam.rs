//! Steam's inventory endpoint.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::get;
use http::HeaderMap;
use serde_json::{Value, json};

use super::{Answer, serve};

/// A request that the fake received.
#[derive(Clone, Debug)]
pub(crate) struct InventoryRequest {
    pub(crate) owner: String,
    pub(crate) count: Option<u32>,
    pub(crate) start: Option<u64>,
    pub(crate) referer: String,
    /// Starts at one.
    pub(crate) number: usize,
}

type Script = Arc<dyn Fn(&InventoryRequest) -> Answer + Send + Sync>;

/// A fake Steam with configured answers.
#[derive(Clone)]
pub(crate) struct Steam {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

struct Shared {
    script: Mutex<Script>,
    asked: Mutex<Vec<InventoryRequest>>,
}

impl Steam {
    pub(crate) async fn start(
        script: impl Fn(&InventoryRequest) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let shared =
            Arc::new(Shared { script: Mutex::new(Arc::new(script)), asked: Mutex::default() });
        let router = Router::new()
            .route("/inventory/{owner}/730/2", get(answer))
            .with_state(Arc::clone(&shared));
        Self { url: serve(router).await, shared }
    }

    /// Replaces the responses, and forgets earlier requests.
    pub(crate) fn becomes(
        &self,
        script: impl Fn(&InventoryRequest) -> Answer + Send + Sync + 'static,
    ) {
        *self.shared.script.lock().unwrap() = Arc::new(script);
        self.shared.asked.lock().unwrap().clear();
    }

    pub(crate) fn asked(&self) -> Vec<InventoryRequest> {
        self.shared.asked.lock().unwrap().clone()
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    Path(owner): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let number = |name: &str| query.get(name).map(|text| text.parse::<u64>().unwrap());
    let (asked, script) = {
        let mut all = shared.asked.lock().unwrap();
        let asked = InventoryRequest {
            owner,
            count: number("count").map(|count| u32::try_from(count).unwrap()),
            start: number("start_assetid"),
            referer: headers
                .get("referer")
                .map_or_else(String::new, |it| it.to_str().unwrap().to_owned()),
            number: all.len() + 1,
        };
        all.push(asked.clone());
        (asked, Arc::clone(&shared.script.lock().unwrap()))
    };
    script(&asked).send().await
}

/// One asset for an inventory.
#[derive(Clone)]
pub(crate) struct Asset {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) paint_index: Option<u32>,
    pub(crate) name_tag: Option<String>,
    pub(crate) locked: bool,
    pub(crate) float: &'static str,
    pub(crate) look: Look,
}

/// The description that Steam gives of an item.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    pub(crate) kind: &'static str,
    pub(crate) rarity: &'static str,
    pub(crate) color: &'static str,
    /// Empty for an item without an exterior.
    pub(crate) exterior: &'static str,
    pub(crate) icon: &'static str,
}

const COVERT_RIFLE: Look =
    Look { kind: "Rifle", rarity: "Covert", color: "eb4b4b", exterior: "", icon: "i0CoZ81Ui0m" };

pub(crate) fn asset(id: u64, name: &str) -> Asset {
    let float = "0.111641205847263336";
    Asset {
        id,
        name: name.to_owned(),
        paint_index: None,
        name_tag: None,
        locked: false,
        float,
        look: COVERT_RIFLE,
    }
}

/// Assets 1 to `count`, of `names` different names.
pub(crate) fn assets(count: u64, names: u64) -> Vec<Asset> {
    (1..=count).map(|id| asset(id, &format!("Item {}", id % names))).collect()
}

/// One page in Steam's format.
pub(crate) fn page(assets: &[Asset], total: usize, next: Option<u64>) -> Value {
    let mut described = BTreeMap::new();
    let mut properties = Vec::new();
    let mut listed = Vec::new();
    for asset in assets {
        let (class, instance) = (hash(&asset.name), if asset.locked { "1" } else { "0" });
        listed.push(
            json!({"appid":730,"contextid":"2","assetid":asset.id.to_string(),"classid":class,
            "instanceid":instance,"amount":"1"}),
        );
        let free = u8::from(!asset.locked);
        described.entry((class.clone(), instance)).or_insert_with(|| {
            let Look { kind, rarity, color, exterior, icon } = asset.look;
            let mut tags = vec![
                json!({
                    "category": "Rarity", "internal_name": "Rarity_Ancient_Weapon",
                    "localized_category_name": "Quality", "localized_tag_name": rarity,
                    "color": color
                }),
                json!({
                    "category": "Quality", "internal_name": quality(&asset.name),
                    "localized_tag_name": "Quality"
                }),
            ];
            if !exterior.is_empty() {
                tags.push(json!({
                    "category": "Exterior", "internal_name": "WearCategory",
                    "localized_tag_name": exterior
                }));
            }
            json!({
                "appid": 730, "classid": class, "instanceid": instance, "icon_url": icon,
                "tradable": free, "marketable": free, "commodity": 0,
                "market_tradable_restriction": 7, "market_marketable_restriction": 7,
                "name": asset.name, "type": kind, "market_name": asset.name,
                "market_hash_name": asset.name, "tags": tags
            })
        });
        let mut own = Vec::new();
        if !asset.float.is_empty() {
            own.push(json!({"propertyid":2,"float_value":asset.float,"name":"Wear Rating"}));
            own.push(json!({"propertyid":1,"int_value":"116","name":"Pattern Template"}));
        }
        own.extend(
            asset.paint_index.map(|index| json!({"propertyid":7,"int_value":index.to_string()})),
        );
        own.extend(asset.name_tag.as_ref().map(|tag| json!({"propertyid":5,"string_value":tag})));
        if !own.is_empty() {
            properties.push(json!({
                "appid": 730, "contextid": "2", "assetid": asset.id.to_string(),
                "asset_properties": own
            }));
        }
    }
    let mut page = json!({
        "assets": listed, "descriptions": described.into_values().collect::<Vec<_>>(),
        "asset_properties": properties, "total_inventory_count": total, "success": 1, "rwgrsn": -2
    });
    if let Some(next) = next {
        page["more_items"] = json!(1);
        page["last_assetid"] = json!(next.to_string());
    }
    page
}

/// Steam's class ids; any distinct numbers will do.
fn hash(name: &str) -> String {
    name.bytes()
        .fold(7_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)))
        .to_string()
}

/// An inventory in pages of the requested size, by default 75.
pub(crate) fn inventory(
    assets: Vec<Asset>,
) -> impl Fn(&InventoryRequest) -> Answer + Send + Sync + 'static {
    move |asked| {
        if assets.is_empty() {
            return Answer::json(200, &json!({"total_inventory_count":0,"success":1,"rwgrsn":-2}));
        }
        let from =
            asked.start.map_or(0, |start| assets.iter().position(|it| it.id == start).unwrap() + 1);
        let rest = &assets[from..];
        let here = &rest[..rest.len().min(asked.count.unwrap_or(75) as usize)];
        let next = (here.len() < rest.len()).then(|| here.last().unwrap().id);
        Answer::json(200, &page(here, assets.len(), next))
    }
}

/// Steam's name for the quality of an item with this name.
fn quality(name: &str) -> &'static str {
    match (name.starts_with('★'), name.contains("StatTrak™"), name.starts_with("Souvenir ")) {
        (true, true, _) => "unusual_strange",
        (true, false, _) => "unusual",
        (false, true, _) => "strange",
        (false, false, true) => "tournament",
        (false, false, false) => "normal",
    }
}
