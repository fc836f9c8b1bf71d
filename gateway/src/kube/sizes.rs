//! ConfigMaps that are too large for a cluster, or for how they are applied.
//!
//! On a cluster there is none: this is told before somebody tries.

use k8s_openapi::api::core::v1::ConfigMap;
use portcullis_config::problem::{Problem, Severity};

use super::{ObjectSet, ResourceName, objects::place, watched::LAST_APPLIED};

/// What the values of a ConfigMap may have together (`MaxSecretSize` of the API server).
const MAX_VALUES_BYTES: usize = 1 << 20;

/// What the annotations of an object may have together (`TotalAnnotationSizeLimitB` of the API
/// server).
const MAX_ANNOTATIONS_BYTES: usize = 256 << 10;

/// What the API server, or `kubectl apply` before it, would refuse.
pub(super) fn problems(objects: &ObjectSet) -> Vec<Problem> {
    let config_maps = objects.config_maps.iter();
    config_maps
        .filter_map(|(name, config_map)| problem(name, config_map))
        .collect()
}

fn problem(name: &ResourceName, config_map: &ConfigMap) -> Option<Problem> {
    let (values, annotations) = (values(config_map), annotations(config_map));
    let (severity, reason, hint) = if values > MAX_VALUES_BYTES {
        let reason = format!(
            "its values have {values} bytes, and an API server takes {MAX_VALUES_BYTES} in one ConfigMap"
        );
        let hint =
            "give `--configmap` more than once, or pack documents as keys that end in .yaml.gz";
        (Severity::Error, reason, hint)
    } else if annotations > MAX_ANNOTATIONS_BYTES {
        let reason = format!(
            "`kubectl apply` would copy it into an annotation, {annotations} bytes with the others, \
             and an API server takes {MAX_ANNOTATIONS_BYTES}"
        );
        (
            Severity::Warning,
            reason,
            "use `kubectl apply --server-side`",
        )
    } else {
        return None;
    };
    let problem = Problem::new(severity, place::<ConfigMap>(name, ""), "", reason);
    Some(problem.with_hint(Some(hint)))
}

fn values(config_map: &ConfigMap) -> usize {
    let texts = config_map.data.iter().flatten();
    let binaries = config_map.binary_data.iter().flatten();
    texts.map(|(_, text)| text.len()).sum::<usize>()
        + binaries.map(|(_, bytes)| bytes.0.len()).sum::<usize>()
}

/// The annotations with the one that `kubectl apply` makes: the object as JSON.
fn annotations(config_map: &ConfigMap) -> usize {
    let mut applied = config_map.clone();
    // A manifest that was read from a cluster may have an older copy in it.
    if let Some(annotations) = &mut applied.metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
    let json = serde_json::to_string(&applied).unwrap_or_default();
    let own = applied.metadata.annotations.iter().flatten();
    let own: usize = own.map(|(key, value)| key.len() + value.len()).sum();
    own + LAST_APPLIED.len() + json.len()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::ByteString;

    use super::*;

    fn told(text: usize, binary: usize, annotation: usize) -> Vec<String> {
        let mut config_map = ConfigMap {
            data: Some([("a.yaml".to_owned(), "a".repeat(text))].into()),
            binary_data: Some([("b.gz".to_owned(), ByteString(vec![0; binary]))].into()),
            ..ConfigMap::default()
        };
        config_map.metadata.annotations = Some([("a".to_owned(), "a".repeat(annotation))].into());
        let mut objects = ObjectSet::default();
        let name = ResourceName::new("gw", "large");
        objects.config_maps.insert(name, Arc::new(config_map));
        problems(&objects).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_no_api_server_takes_is_an_error_and_what_apply_cannot_a_warning() {
        assert!(told(200 << 10, 0, 0).is_empty());
        let too_large = "ConfigMap/gw/large: error: its values have 1048577 bytes, and an API server takes 1048576";
        for (text, binary) in [((1 << 20) + 1, 0), (1, 1 << 20)] {
            let told = told(text, binary, 0);
            assert!(
                told.len() == 1 && told[0].starts_with(too_large),
                "{told:?}"
            );
        }
        // Bytes are a third longer as JSON, and annotations count together.
        for (text, binary, annotation) in
            [(1 << 20, 0, 0), (0, 200 << 10, 0), (130 << 10, 0, 65 << 10)]
        {
            let told = told(text, binary, annotation);
            assert!(
                told.len() == 1
                    && told[0].starts_with("ConfigMap/gw/large: warning: `kubectl apply` would")
                    && told[0].ends_with("(use `kubectl apply --server-side`)"),
                "{told:?}"
            );
        }
    }
}
