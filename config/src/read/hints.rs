//! What is meant by what cannot be read.
//!
//! They cost nothing until there is an error; `forms` and `keys` know the
//! document from its schema.

mod forms;
mod ingress_nginx;
mod keys;
mod layout;
mod words;

pub(super) use forms::{for_list, for_list_as_map, for_map, for_map_as_list};
pub(super) use keys::for_key;
pub(super) use words::for_word;
