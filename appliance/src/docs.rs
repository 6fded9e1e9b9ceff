//! Pages in `docs/` that are made from the code: a test compares them and fails when one is stale.

use std::path::Path;

/// Fails unless `docs/<name>` holds `page`; with `UPDATE_DOCS=1` in the environment, writes it.
pub(crate) fn assert_page(name: &str, page: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, page).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == page,
        "docs/{name} is stale; run UPDATE_DOCS=1 cargo test --release -p cluecast page"
    );
}
