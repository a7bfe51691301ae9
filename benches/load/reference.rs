//! Reference points: what the machine does when nothing of the product is in the way.

use std::time::{Duration, Instant};

use actix_web::{App, HttpResponse, HttpServer, web};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use tracebucket::kit::crypto::{hmac_sha256, random_bytes, verify_hmac_sha256};

/// Argument that makes this program the server below, in a process of its own as the product is.
pub const SERVER: &str = "hash-only-server";

const KEY: &[u8] = b"a secret of the usual length, 32";

/// A whole request to the server below, with the right signature.
pub fn request(body: &[u8]) -> Vec<u8> {
    let tag = hex::encode(hmac_sha256(KEY, body));
    let head = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nX-Hub-Signature: sha256={tag}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

async fn verify(request: actix_web::HttpRequest, body: web::Bytes) -> HttpResponse {
    let header = request
        .headers()
        .get("X-Hub-Signature")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let tag = hex::decode(header.trim_start_matches("sha256=")).unwrap_or_default();
    if verify_hmac_sha256(KEY, &body, &tag) {
        HttpResponse::NoContent().finish()
    } else {
        HttpResponse::BadRequest().finish()
    }
}

/// Serves a handler that verifies the signature of its body and does nothing else, until it is killed.
pub fn serve(address: &str) {
    let system = actix_web::rt::System::new();
    let server = HttpServer::new(|| App::new().default_service(web::to(verify)))
        .bind(address)
        .expect("a free address");
    system.block_on(server.run()).expect("it serves");
}

/// Rows of `size` bytes per second that SQLite makes durable, `batch` to a commit, with the settings of the
/// product's write door and one unique 16-byte key.
pub fn sqlite_group_commit(size: usize, batch: usize, time: Duration) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("reference.db");
    let mut conn = SqliteConnection::establish(&path.to_string_lossy()).expect("a database");
    conn.batch_execute(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -8192; \
         CREATE TABLE rows (id INTEGER NOT NULL PRIMARY KEY, key BLOB NOT NULL, body BLOB NOT NULL, at INTEGER NOT NULL); \
         CREATE UNIQUE INDEX rows_once ON rows (key)",
    )
    .expect("a table");
    diesel::table! { rows (id) { id -> BigInt, key -> Binary, body -> Binary, at -> BigInt, } }
    let body: Vec<u8> = (0..size).map(|_| random_bytes::<1>()[0]).collect();
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < time {
        conn.immediate_transaction(|conn| {
            for _ in 0..batch {
                diesel::insert_into(rows::table)
                    .values((
                        rows::key.eq(random_bytes::<16>().to_vec()),
                        rows::body.eq(&body),
                        rows::at.eq(1_i64),
                    ))
                    .execute(conn)?;
            }
            QueryResult::Ok(())
        })
        .expect("a commit");
        count += batch;
    }
    count as f64 / begun.elapsed().as_secs_f64()
}
