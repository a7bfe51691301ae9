//! Request bodies, exactly as they arrived, with a limit.

use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt;

/// Why a body was not read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BodyError {
    /// More bytes than allowed; the rest was not read.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The connection ended or broke the transfer coding.
    #[error("the body did not arrive whole")]
    Incomplete,
}

/// Reads at most `limit` bytes. A `Content-Length` over the limit is refused before anything is read.
///
/// # Errors
/// See [`BodyError`].
pub async fn read(
    mut payload: Payload,
    content_length: Option<usize>,
    limit: usize,
) -> Result<Bytes, BodyError> {
    let announced = content_length.unwrap_or(0);
    if announced > limit {
        return Err(BodyError::TooLarge { limit });
    }
    let mut first: Option<Bytes> = None;
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| BodyError::Incomplete)?;
        if body.len() + first.as_ref().map_or(0, Bytes::len) + chunk.len() > limit {
            return Err(BodyError::TooLarge { limit });
        }
        match first.take() {
            // Most bodies are one chunk: keep it without copying.
            None if body.is_empty() => first = Some(chunk),
            None => body.extend_from_slice(&chunk),
            Some(earlier) => {
                body.reserve(announced.max(earlier.len() + chunk.len()));
                body.extend_from_slice(&earlier);
                body.extend_from_slice(&chunk);
            }
        }
    }
    Ok(first.unwrap_or_else(|| body.freeze()))
}

/// The announced length of a request's body.
#[must_use]
pub fn content_length(req: &actix_web::HttpRequest) -> Option<usize> {
    req.headers()
        .get(actix_web::http::header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}
