//! The state in memory and its JSON file. Every change is written before the caller goes on; the
//! file is replaced by a rename, so a reader sees the old state or the new one.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;

use crate::model::State;

/// Guards the [`State`].
pub(crate) struct Store {
    state: Mutex<State>,
    file: PathBuf,
}

impl Store {
    /// Reads `state.json` of `dir`, or begins empty.
    pub(crate) fn open(dir: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        let file = dir.join("state.json");
        let mut state = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice::<State>(&bytes)
                .with_context(|| format!("{} is not a state of this version", file.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => State::default(),
            Err(error) => return Err(error).with_context(|| format!("read {}", file.display())),
        };
        state.expand();
        Ok(Self {
            state: Mutex::new(state),
            file,
        })
    }

    /// Looks at the state.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the state and writes it.
    ///
    /// # Errors
    /// When the file cannot be written; the change then holds in memory only.
    pub(crate) fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> anyhow::Result<T> {
        let mut state = self.lock();
        let value = change(&mut state);
        let temporary = self.file.with_extension("json.new");
        std::fs::write(&temporary, serde_json::to_vec(&*state)?)
            .and_then(|()| std::fs::rename(&temporary, &self.file))
            .with_context(|| format!("write {}", self.file.display()))?;
        Ok(value)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere does not make plain data unusable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
