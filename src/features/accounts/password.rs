//! Passwords: argon2id, on a blocking thread, never while a connection is held.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};

use crate::error::{AppError, AppResult};
use crate::kit::crypto::Secret;

/// Shortest password that is taken, in characters.
const MIN_CHARS: usize = 12;
/// Longest, in bytes: hashing takes time per byte.
const MAX_BYTES: usize = 1_024;

/// Hashes a new password.
///
/// # Errors
/// 400 when it is too short or too long.
pub async fn hash_password(password: Secret) -> AppResult<String> {
    let text = password.expose();
    if text.chars().count() < MIN_CHARS || text.len() > MAX_BYTES {
        return Err(AppError::field(
            "password",
            "A password needs at least 12 characters (and at most 1,024 bytes).",
        ));
    }
    blocking(move || {
        Argon2::default()
            .hash_password(password.expose_bytes())
            .map(|hash| hash.to_string())
            .map_err(|error| AppError::internal(anyhow::anyhow!("argon2: {error}")))
    })
    .await?
}

/// True when the password is the one of the hash. Without a hash (no such user) it takes as long and is false.
///
/// # Errors
/// When the blocking thread is gone.
pub async fn verify_password(password: Secret, hash: Option<String>) -> AppResult<bool> {
    blocking(move || {
        let known = hash.is_some();
        // A valid hash of no password, so that an unknown e-mail costs what a known one does.
        let hash = hash.unwrap_or_else(|| {
            "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$\
             5cfIzXOFXkmrHqKkVNl0X7yfEb6IH2mhyhOTgyVE1xg"
                .to_owned()
        });
        let matches = PasswordHash::new(&hash).is_ok_and(|hash| {
            Argon2::default()
                .verify_password(password.expose_bytes(), &hash)
                .is_ok()
        });
        matches && known
    })
    .await
}

async fn blocking<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> AppResult<T> {
    tokio::task::spawn_blocking(f)
        .await
        .map_err(AppError::internal)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[tokio::test]
    async fn round_trip_and_refusals() {
        let hash = hash_password(secret("correct horse")).await.unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert!(
            verify_password(secret("correct horse"), Some(hash.clone()))
                .await
                .unwrap()
        );
        assert!(
            !verify_password(secret("battery staple"), Some(hash))
                .await
                .unwrap()
        );
        assert!(
            !verify_password(secret("correct horse"), None)
                .await
                .unwrap()
        );
        assert!(
            !verify_password(secret("x"), Some("not a hash".into()))
                .await
                .unwrap()
        );
        assert!(hash_password(secret("short")).await.is_err());
    }
}
