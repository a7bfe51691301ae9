use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{Repository, State, Tracker};

/// Many repositories of a workspace that are no more than names until somebody opens one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bulk {
    /// Uuid of the workspace.
    pub workspace: String,
    /// Their slugs are `<prefix>-00001` and so on.
    pub prefix: String,
    /// How many.
    pub count: u32,
    /// RFC 3339.
    pub created_on: String,
}

impl Bulk {
    fn repository(&self, number: u32) -> Repository {
        let slug = format!("{}-{number:05}", self.prefix);
        Repository {
            uuid: derived_uuid(&[&self.workspace, &slug]),
            workspace: self.workspace.clone(),
            name: slug.clone(),
            description: format!("Repository {number} of {}", self.count),
            slug,
            tracker: Tracker::Off,
            main_branch: None,
            created_on: self.created_on.clone(),
            updated_on: self.created_on.clone(),
            issues: Vec::new(),
            last_issue: 0,
            project: "MAIN".to_owned(),
            synthetic: true,
        }
    }
}

impl State {
    /// Makes the repositories of every bulk that are not there.
    pub(crate) fn expand(&mut self) {
        let known: HashSet<String> = self.repositories.iter().map(|r| r.uuid.clone()).collect();
        let made = self
            .bulks
            .iter()
            .flat_map(|bulk| (1..=bulk.count).map(|number| bulk.repository(number)))
            .filter(|r| !known.contains(&r.uuid))
            .collect::<Vec<_>>();
        self.repositories.extend(made);
    }
}

/// A uuid in braces that is always the same for the same texts.
pub(crate) fn derived_uuid(parts: &[&str]) -> String {
    use sha2::Digest as _;
    let mut bytes = [0_u8; 16];
    let digest = sha2::Sha256::digest(parts.join("/").as_bytes());
    bytes
        .iter_mut()
        .zip(digest)
        .for_each(|(to, from)| *to = from);
    format!(
        "{{{}}}",
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    )
}
