//! From a configuration to an application: key, database, clients.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;

use crate::app::App;
use crate::config::Config;
use crate::kit::clock::Clock;
use crate::kit::crypto::{Sealer, Secret};
use crate::kit::db::{DatabaseUrl, Db, OpenAs};
use crate::worker;

/// Opens everything. Nothing is sent anywhere.
pub(super) fn start(config: Config, open_as: OpenAs) -> anyhow::Result<App> {
    let sealer = sealer(&config)?;
    let db = Db::open(
        config.database_url.expose(),
        open_as,
        Some(Arc::new(worker::followers())),
    )?;
    App::new(config, db, Clock::system(), sealer)
}

/// The keys of the configuration; with `--dev` those of `dev.keys` beside the database, made when absent.
pub(super) fn sealer(config: &Config) -> anyhow::Result<Sealer> {
    let keys = match &config.secret_keys {
        Some(keys) => keys.clone(),
        None => dev_keys(config)?,
    };
    Sealer::parse(keys.expose()).context("secret_keys")
}

/// Where `--dev` keeps its sealing key: beside the SQLite file.
pub(super) fn dev_key_file(database_url: &str) -> anyhow::Result<PathBuf> {
    Ok(match DatabaseUrl::parse(database_url)? {
        DatabaseUrl::Sqlite(file) => file.with_file_name("dev.keys"),
        DatabaseUrl::Postgres(_) => PathBuf::from("data/dev.keys"),
    })
}

fn dev_keys(config: &Config) -> anyhow::Result<Secret> {
    let path = dev_key_file(config.database_url.expose())?;
    if let Ok(line) = std::fs::read_to_string(&path) {
        return Ok(Secret::new(line.trim().to_owned()));
    }
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let line = Sealer::generate_key_line();
    let made = make_key_file(&path, &line);
    match made.map_err(|error| (error.kind(), error)) {
        Ok(()) => Ok(Secret::new(line)),
        // Another command made it in between.
        Err((std::io::ErrorKind::AlreadyExists, _)) => Ok(Secret::new(
            std::fs::read_to_string(&path)?.trim().to_owned(),
        )),
        Err((_, error)) => Err(error).with_context(|| format!("cannot make {}", path.display())),
    }
}

/// Makes the file with its content in one step, readable by its owner alone; an error when it is there already.
fn make_key_file(path: &Path, line: &str) -> std::io::Result<()> {
    let unfinished = path.with_extension(format!("keys.{}", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let written = options.open(&unfinished).and_then(|mut file| {
        writeln!(file, "{line}")?;
        file.sync_all()?;
        std::fs::hard_link(&unfinished, path)
    });
    let _ = std::fs::remove_file(&unfinished);
    written
}
