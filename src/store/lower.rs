//! Lower stores: read-only stores of others, looked in before one's own.
//!
//! Nothing is ever written to them: no object, guard, record or lease file; and what lies in them is never collected from
//! here. An object of theirs that is not known to be on disk (see [`Trust`]) is passed over, since it could not be marked
//! once it was verified. One that does not exist (a share that is not mounted) is an empty one.
//! Refuses: a lower store of a version that this program does not read.

use std::path::PathBuf;

use super::{Shelf, Store, StoreError, Trust};

impl Store {
    /// This store above `lower` ones, the first of which is looked in first. One's own is no lower store of itself.
    #[must_use]
    pub fn with_lower(mut self, lower: &[PathBuf]) -> Self {
        self.lower = lower.iter().filter(|path| **path != self.root).cloned().collect();
        self
    }

    /// The lower stores.
    pub fn lower(&self) -> impl Iterator<Item = Self> {
        self.lower.iter().cloned().map(Self::new)
    }

    /// All stores in the order in which they are looked in: the lower ones, then this one.
    pub fn layers(&self) -> impl Iterator<Item = Self> {
        self.lower().chain([Self::new(self.root.clone())])
    }

    /// The lower store that has an object which can be used as it is.
    pub fn find_lower(&self, shelf: Shelf, name: &str) -> Result<Option<Self>, StoreError> {
        for store in self.lower() {
            store.check_version()?;
            // A record that cannot be read makes nobody trust the object.
            let usable = || store.trust(shelf, name).is_ok_and(|trust| trust != Trust::Unknown);
            if store.has(shelf, name) && usable() {
                return Ok(Some(store));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Sync;

    #[test]
    fn the_first_lower_store_with_a_trusted_object_is_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let paths = ["own", "first", "second", "absent"].map(|name| folder.path().join(name));
        let [own, first, second, _] = paths.each_ref().map(|path| Store::new(path.clone()));
        for (store, name) in [(&own, "a"), (&first, "b"), (&second, "b"), (&second, "c")] {
            store.prepare().expect("prepared");
            let staging = store.stage().expect("a staging");
            store.commit(staging, Shelf::Envs, name, Sync::Full).expect("committed");
        }
        let above = own.with_lower(&paths);
        let found = |name: &str| {
            let found = above.find_lower(Shelf::Envs, name).expect("looked");
            found.map(|store| store.root().to_owned())
        };
        assert_eq!(found("a"), None, "one's own is no lower store");
        assert_eq!(found("b").as_deref(), Some(first.root()));
        assert_eq!(found("c").as_deref(), Some(second.root()));
        std::fs::remove_file(first.root().join("records/envs-b.json")).expect("removed");
        assert_eq!(
            found("b").as_deref(),
            Some(second.root()),
            "without a record there is no trust"
        );
        std::fs::write(first.root().join("VERSION"), "9\n").expect("written");
        assert!(matches!(
            above.find_lower(Shelf::Envs, "c"),
            Err(StoreError::Newer { found: 9, .. })
        ));
        assert_eq!(above.layers().count(), 4);
    }
}
