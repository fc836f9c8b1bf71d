//! Names with values, in the order of the request.

/// One name and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// A list of fields; names may repeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    fields: Vec<Field>,
    bytes: usize,
}

impl Fields {
    /// Appends a field.
    pub(crate) fn push(&mut self, name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        let field = Field {
            name: name.into(),
            value: value.into(),
        };
        self.bytes += field.name.len() + field.value.len();
        self.fields.push(field);
    }

    /// Returns the first value of a name, in any case.
    pub(crate) fn first(&self, name: &[u8]) -> Option<&Vec<u8>> {
        self.fields
            .iter()
            .find(|field| field.name.eq_ignore_ascii_case(name))
            .map(|field| &field.value)
    }

    /// Returns the field at a place.
    pub(crate) fn get(&self, at: usize) -> Option<&Field> {
        self.fields.get(at)
    }

    /// Returns the field that was added last.
    pub(crate) fn last(&self) -> Option<&Field> {
        self.fields.last()
    }

    /// Iterates in order.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Field> {
        self.fields.iter()
    }

    /// Counts the fields.
    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    /// Sums the lengths of names and values.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that they take.
    pub(crate) fn memory(&self) -> usize {
        self.bytes + self.fields.capacity() * size_of::<Field>()
    }

    /// Removes every field.
    pub(crate) fn clear(&mut self) {
        self.fields.clear();
        self.bytes = 0;
    }
}
