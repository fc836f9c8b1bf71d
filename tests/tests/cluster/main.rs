//! The gateway as an ingress controller of a cluster of real parts: `tests/cluster`.
//!
//! All tests share one cluster and one Deployment of the gateway with two replicas, and have
//! namespaces of their own for what they serve.

mod addresses;
mod bound;
mod certificates;
mod challenges;
mod edge;
mod egress_asked;
mod egress_bed;
mod egress_policies;
mod egress_rolling;
mod election;
mod enforced;
mod flood;
mod injection;
mod injection_bed;
mod injection_ways;
mod isolation;
mod kubectl;
mod narrow;
mod network_policies;
mod nodes;
mod outages;
mod own;
mod parameters;
mod pods;
mod quotas;
mod rolling;
mod settings;
mod several_settings;
mod takeover;
mod token_reviews;
mod tokens;
