//! Secrets, tokens and signatures, all on the one crypto library that TLS already brings.
//!
//! [`Secret`] is how a secret travels through the program, [`Sealer`] how it rests in the database,
//! [`TokenHash`] how a token that we only need to recognise rests there, [`Signer`] how a short
//! claim travels through a browser, and [`mac`] how a foreign body proves where it comes from.

pub mod mac;
pub mod sealer;
pub mod secret;
pub mod signed;
pub mod token;

pub use mac::{constant_time_eq, hmac_sha256, sha256, verify_hmac_sha256};
pub use sealer::{KeyError, SealError, Sealer};
pub use secret::Secret;
pub use signed::{ClaimError, Signer};
pub use token::{TokenHash, random_bytes, random_hex};

/// Ends the process: the crypto library failed where it cannot fail on a working machine (no
/// randomness, a buffer beyond the address space). To go on would mean weak or missing secrets.
fn broken_machine(what: &'static str) -> ! {
    tracing::error!(what, "the crypto library failed, stopping");
    std::process::abort()
}
