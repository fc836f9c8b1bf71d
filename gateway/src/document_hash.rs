//! What a document says, as a hash: whether there is anything new in it.
//!
//! Of thousands of routes, backends and certificates one changes. Each of them has a hash of its
//! own, which stays as long as the item is the same in memory.

use std::{collections::HashMap, fmt, sync::Arc};

use portcullis_config::document::Document;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::snapshot::ContentHash;

/// The hash of a document and of its items.
pub(crate) struct DocumentHash {
    /// Holds the items: their addresses are theirs as long as they are held.
    _document: Arc<Document>,
    items: HashMap<usize, ContentHash>,
    whole: ContentHash,
}

impl fmt::Debug for DocumentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DocumentHash").finish_non_exhaustive()
    }
}

impl DocumentHash {
    /// Of a document, which may share items with one of before.
    pub(crate) fn of(document: &Arc<Document>, before: Option<&Self>) -> Self {
        let mut hasher = Hasher {
            items: HashMap::new(),
            before,
            whole: Sha256::new(),
        };
        hasher.list(&document.routes);
        hasher.list(&document.backends);
        hasher.list(&document.certificates);
        hasher.whole.update(hash_of(&document.without_items()));
        Self {
            _document: Arc::clone(document),
            items: hasher.items,
            whole: hasher.whole.finalize().into(),
        }
    }

    /// Of all of it.
    pub(crate) fn whole(&self) -> &ContentHash {
        &self.whole
    }
}

struct Hasher<'b> {
    items: HashMap<usize, ContentHash>,
    before: Option<&'b DocumentHash>,
    whole: Sha256,
}

impl Hasher<'_> {
    fn list<T: Serialize>(&mut self, items: &[Arc<T>]) {
        self.whole.update((items.len() as u64).to_le_bytes());
        for item in items {
            let address = Arc::as_ptr(item).addr();
            let known = self.before.and_then(|before| before.items.get(&address));
            let hash = known.copied().unwrap_or_else(|| hash_of(&**item));
            self.whole.update(hash);
            self.items.insert(address, hash);
        }
    }
}

fn hash_of(value: &impl Serialize) -> ContentHash {
    let mut hash = Sha256::new();
    // Writing to a hash never fails, and every type of the document can be written.
    let _ = serde_json::to_writer(&mut hash, value);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use portcullis_config::read::{SourceFile, read};

    use super::*;

    fn document(text: &str) -> Document {
        let text = text.to_owned();
        let read = read(&[SourceFile {
            name: "a.yaml".to_owned(),
            text,
        }]);
        assert_eq!(read.problems, []);
        read.document
    }

    #[test]
    fn a_document_has_one_hash_whatever_was_known_before() {
        let texts = [
            "backends: [{name: a, endpoints: [{address: '10.0.0.1:80'}]}]",
            "backends: [{name: a, endpoints: [{address: '10.0.0.2:80'}]}]",
            "backends: [{name: a, endpoints: [{address: '10.0.0.2:80'}]}, {name: b, endpoints: []}]",
            "backends: [{name: b, endpoints: []}, {name: a, endpoints: [{address: '10.0.0.2:80'}]}]",
            "backends: [{name: b, endpoints: []}]\nprocess: {maxMirrored: 2}",
        ];
        let mut hashes = Vec::new();
        let mut before: Option<(Arc<Document>, DocumentHash)> = None;
        for text in texts {
            let mut shared = document(text);
            if let Some((document, _)) = &before {
                shared.share(document);
            }
            let shared = Arc::new(shared);
            let hash = DocumentHash::of(&shared, before.as_ref().map(|(_, hash)| hash));
            let alone = DocumentHash::of(&Arc::new(document(text)), None);
            assert_eq!(hash.whole(), alone.whole(), "{text}");
            hashes.push(*hash.whole());
            before = Some((shared, hash));
        }
        hashes.sort();
        hashes.dedup();
        assert_eq!(hashes.len(), texts.len());
    }
}
