//! A gauge with a series for each item of a list.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use prometheus::GaugeVec;

/// A gauge of one label, whose series are those of a list of now.
#[derive(Debug)]
pub(super) struct Listed {
    gauge: GaugeVec,
    /// What it says, so that of thousands only what is new is set.
    said: Mutex<BTreeMap<String, i64>>,
}

impl Listed {
    pub(super) fn new(gauge: GaugeVec) -> Self {
        Self {
            gauge,
            said: Mutex::default(),
        }
    }

    /// Sets the series of these items, and forgets all others. Of two items of one name the last
    /// one counts.
    pub(super) fn set(&self, items: impl IntoIterator<Item = (impl AsRef<str>, i64)>) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let mut now = BTreeMap::new();
        for (name, value) in items {
            let name = name.as_ref();
            let before = said.remove(name);
            if before != Some(value) {
                self.gauge.with_label_values(&[name]).set(value as f64);
            }
            now.insert(name.to_owned(), value);
        }
        for gone in said.keys() {
            // It may be one of an item that was there twice.
            if !now.contains_key(gone) {
                let _ = self.gauge.remove_label_values(&[gone]);
            }
        }
        *said = now;
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Opts, core::Collector};

    use super::*;

    #[test]
    fn there_is_a_series_for_each_item_and_no_other() {
        let gauge = GaugeVec::new(Opts::new("expiry", "when"), &["name"]).expect("a gauge");
        let listed = Listed::new(gauge.clone());
        let series = || -> Vec<(String, f64)> {
            let families = gauge.collect();
            let metrics = families
                .iter()
                .flat_map(|family| family.get_metric().to_vec());
            let mut series: Vec<(String, f64)> = metrics
                .map(|metric| {
                    let name = metric.get_label()[0].value().to_owned();
                    (name, metric.get_gauge().get_value())
                })
                .collect();
            series.sort_by(|a, b| a.0.cmp(&b.0));
            series
        };
        for items in [
            vec![("a", 1), ("b", 2)],
            vec![("a", 1), ("b", 3), ("c", 4)],
            vec![("c", 4)],
            vec![],
            vec![("a", 5)],
        ] {
            listed.set(items.iter().copied());
            let expected = items.iter();
            let expected = expected.map(|&(name, value)| (name.to_owned(), value as f64));
            assert_eq!(series(), expected.collect::<Vec<_>>());
        }
    }
}
