//! The service uses every layer that its libraries export, so the tests exercise what users
//! install.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn sources(name: &str) -> Vec<String> {
    fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder can be read") {
            let path = entry.expect("an entry can be read").path();
            if path.is_dir() { collect(&path, files) } else { files.push(path) }
        }
    }
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("crates/");
    let mut files = Vec::new();
    collect(&crates.join(name).join("src"), &mut files);
    files.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
    files.iter().map(|file| fs::read_to_string(file).expect("a source can be read")).collect()
}

/// The name at the start of a text.
fn name(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// The exported types of a crate that are a [`tower::Layer`].
///
/// [`tower::Layer`]: https://docs.rs/tower/latest/tower/trait.Layer.html
fn exported_layers(crate_name: &str) -> BTreeSet<String> {
    let sources = sources(crate_name);
    let begins = ["Layer<S> for ", "\nguard_layer!("];
    let of = |text: &str| {
        let named = begins.iter().flat_map(|begin| text.split(begin).skip(1)).map(name);
        named.filter(|name| !name.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("crates/");
    let root = fs::read_to_string(crates.join(crate_name).join("src/lib.rs"));
    let root = root.expect("a crate has a root");
    let public = root.split("pub use").skip(1).collect::<String>();
    let is_exported = |layer: &String| {
        public.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == layer)
    };
    sources.iter().flat_map(|text| of(text)).filter(is_exported).collect()
}

#[test]
fn the_service_uses_every_layer_its_libraries_export() {
    let server = sources("server").join("\n");
    for (library, least) in [("guard", 6), ("session", 3)] {
        let layers = exported_layers(library);
        assert!(layers.len() >= least, "{library} exports fewer layers than known: {layers:?}");
        let mut words = server.split(|c: char| !c.is_alphanumeric() && c != '_');
        let used: BTreeSet<_> = words.by_ref().filter(|word| layers.contains(*word)).collect();
        let unused: Vec<_> = layers.iter().filter(|layer| !used.contains(layer.as_str())).collect();
        assert!(unused.is_empty(), "{library} exports layers the service does not use: {unused:?}");
    }
}
