//! Variables that a container is given.

use serde_json::{Value, json};

use super::pod;
use crate::egress_clients::Variable;

/// The variables that a container lacks, and the names of those that it sets otherwise. Of names of
/// one meaning none is added then: programs would read one or the other.
pub(super) fn missing(
    wanted: &[Variable],
    set: &[pod::Variable],
) -> (Vec<Value>, Vec<&'static str>) {
    let (mut added, mut left_alone) = (Vec::new(), Vec::new());
    for Variable { names, value } in wanted {
        let find = |name: &str| set.iter().find(|known| known.name == name);
        let is_other =
            |name: &&&str| find(name).is_some_and(|known| known.value.as_ref() != Some(value));
        let others: Vec<&str> = names.iter().filter(is_other).copied().collect();
        if others.is_empty() {
            let lacking = names.iter().filter(|name| find(name).is_none());
            added.extend(lacking.map(|name| json!({ "name": name, "value": value })));
        }
        left_alone.extend(others);
    }
    (added, left_alone)
}
