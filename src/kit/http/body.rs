//! Reading answers of foreign servers without trusting their length.

use reqwest::Response;
use reqwest::header::CONTENT_LENGTH;

use super::egress::EgressError;

/// Why a body was not read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BodyError {
    /// Longer than the caller takes, by its header or by what came.
    #[error("the answer is longer than {limit} bytes")]
    TooLarge {
        /// Bytes the caller takes.
        limit: usize,
    },
    /// Time over, or broken off.
    #[error(transparent)]
    Egress(#[from] EgressError),
}

/// The whole body, if it is not longer than `limit` bytes. Never holds more than that.
pub async fn read_capped(mut response: Response, limit: usize) -> Result<Vec<u8>, BodyError> {
    let promised = response
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if promised.is_some_and(|length| length > u64::try_from(limit).unwrap_or(u64::MAX)) {
        return Err(BodyError::TooLarge { limit });
    }
    let mut body = Vec::new();
    while let Some(chunk) = next_chunk(&mut response).await? {
        if body.len() + chunk.len() > limit {
            return Err(BodyError::TooLarge { limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The first `limit` bytes of a body: enough for an error text. A body that breaks off gives what
/// came before.
pub async fn read_start(mut response: Response, limit: usize) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < limit {
        let Ok(Some(chunk)) = next_chunk(&mut response).await else {
            break;
        };
        body.extend_from_slice(&chunk);
    }
    body.truncate(limit);
    body
}

async fn next_chunk(
    response: &mut Response,
) -> Result<Option<impl AsRef<[u8]> + std::ops::Deref<Target = [u8]>>, EgressError> {
    let host = response.url().host_str().unwrap_or_default().to_owned();
    response
        .chunk()
        .await
        .map_err(|error| EgressError::from_client(&host, error))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use reqwest::Method;

    use super::super::egress::{Egress, EgressConfig};
    use super::super::test_server::{Answer, TestServer};
    use super::*;
    use crate::kit::clock::Clock;

    async fn response(answer: Answer) -> Response {
        let server = TestServer::start(vec![answer]).await;
        let config = EgressConfig {
            dev: true,
            origins: vec![server.url()],
            ..EgressConfig::default()
        };
        let egress = Egress::new(config, Clock::system()).unwrap();
        egress
            .send(egress.request(Method::GET, server.url()).build().unwrap())
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn bodies_up_to_the_limit_are_read() {
        assert_eq!(
            read_capped(response(Answer::new(200).body(b"12345")).await, 5)
                .await
                .unwrap(),
            b"12345"
        );
        assert_eq!(
            read_capped(response(Answer::new(204)).await, 0)
                .await
                .unwrap(),
            b""
        );
        assert_eq!(
            read_start(response(Answer::new(500).body(b"12345")).await, 3).await,
            b"123"
        );
    }

    #[tokio::test]
    async fn longer_bodies_are_refused_with_and_without_a_length() {
        let error = read_capped(response(Answer::new(200).body(b"123456")).await, 5)
            .await
            .unwrap_err();
        assert!(matches!(error, BodyError::TooLarge { limit: 5 }), "{error}");
        let chunked = Answer::new(200)
            .header("transfer-encoding", "chunked")
            .body(b"3\r\n123\r\n3\r\n456\r\n0\r\n\r\n");
        let whole = read_capped(response(chunked.clone()).await, 6)
            .await
            .unwrap();
        assert_eq!(whole, b"123456");
        let error = read_capped(response(chunked).await, 5).await.unwrap_err();
        assert!(matches!(error, BodyError::TooLarge { limit: 5 }), "{error}");
    }

    #[tokio::test]
    async fn half_a_body_is_an_error_and_half_an_error_text_is_not() {
        let error = read_capped(
            response(Answer::new(200).body(b"1234567890").half()).await,
            99,
        )
        .await
        .unwrap_err();
        assert!(
            matches!(error, BodyError::Egress(EgressError::Broken { .. })),
            "{error}"
        );
        assert_eq!(
            read_start(
                response(Answer::new(500).body(b"1234567890").half()).await,
                99
            )
            .await,
            b"12345"
        );
    }
}
