//! The row that names the key that seals.

use diesel::prelude::*;

use crate::kit::clock::Micros;
use crate::kit::db::{Conn, Tx};
use crate::schema::sealing_key;

/// The id of the key; empty until a process names one.
pub(super) fn named_key(conn: &mut Conn) -> QueryResult<String> {
    sealing_key::table.select(sealing_key::key_id).first(conn)
}

/// Names a key, in place of another one only with `replace`.
pub(super) fn name_key(tx: &mut Tx<'_>, key: &str, replace: bool, now: Micros) -> QueryResult<()> {
    let values = (sealing_key::key_id.eq(key), sealing_key::named_at.eq(now));
    let row = diesel::update(sealing_key::table).set(values);
    if replace {
        row.execute(tx.conn())?;
    } else {
        // Another process may have been first.
        row.filter(sealing_key::key_id.eq("")).execute(tx.conn())?;
    }
    Ok(())
}
