//! Objects as YAML.

use serde_json::Value;

/// Several documents.
///
/// # Errors
/// None that these have.
pub(super) fn documents(objects: &[Value]) -> anyhow::Result<String> {
    let mut text = String::new();
    for (number, object) in objects.iter().enumerate() {
        if number > 0 {
            text.push_str("---\n");
        }
        text.push_str(&serde_saphyr::to_string(object)?);
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    Ok(text)
}
