//! Connect tokens in both directions (bitbucket.md §1.6).
//!
//! HS256 is the only algorithm. A `kid` or any other algorithm is refused before a key is touched.
//! The unverified issuer serves to find the installation and for nothing else.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::{Deserialize, Deserializer, Serialize, de};
use url::{Url, form_urlencoded};

use super::qsh;
use crate::kit::clock::Micros;
use crate::kit::crypto::Secret;

/// How long our own tokens live.
pub const LIFETIME: Duration = Duration::from_secs(300);

/// How far the clocks of the two sides may differ.
pub const LEEWAY: Duration = Duration::from_secs(60);

/// Longer texts are no Connect tokens; they are refused before any decoding.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Why a token was not accepted. No variant holds any part of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// Neither `Authorization` nor `?jwt=` holds a token.
    #[error("the request carries no Connect token")]
    Missing,
    /// More than one place holds a token.
    #[error("the request carries more than one Connect token")]
    Ambiguous,
    /// Not three parts of base64url with JSON in them, or a claim of the wrong type.
    #[error("the Connect token cannot be read")]
    Malformed,
    /// The header names a key, as asymmetric tokens do.
    #[error("the Connect token names a key id, which is not accepted")]
    KeyId,
    /// Another algorithm than HS256.
    #[error("the Connect token is not signed with HS256")]
    Algorithm,
    /// The signature does not fit the installation's secret.
    #[error("the signature of the Connect token is wrong")]
    Signature,
    /// A claim that we need is absent.
    #[error("the Connect token has no claim `{0}`")]
    MissingClaim(&'static str),
    /// `exp` lies more than the leeway back.
    #[error("the Connect token has expired")]
    Expired,
    /// `iat` or `nbf` lies more than the leeway ahead.
    #[error("the Connect token is not valid yet; compare the clocks of both machines")]
    NotYetValid,
    /// Made for another method, path or query.
    #[error("the Connect token was made for another request")]
    QueryHash,
    /// There is no secret to sign with.
    #[error("a Connect token cannot be signed without a shared secret")]
    Signing,
}

impl JwtError {
    /// A stable code for logs and error bodies.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "jwt_missing",
            Self::Ambiguous => "jwt_ambiguous",
            Self::Malformed => "jwt_malformed",
            Self::KeyId => "jwt_key_id",
            Self::Algorithm => "jwt_algorithm",
            Self::Signature => "jwt_signature",
            Self::MissingClaim(_) => "jwt_missing_claim",
            Self::Expired => "jwt_expired",
            Self::NotYetValid => "jwt_not_yet_valid",
            Self::QueryHash => "jwt_query_hash",
            Self::Signing => "jwt_signing",
        }
    }
}

/// What a verified token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// `clientKey` of the installation.
    pub issuer: String,
    /// Acting user (account id or uuid), when Bitbucket names one.
    pub subject: Option<String>,
    /// End of the token's life.
    pub expires: Micros,
}

/// The inbound request a token has to fit, as it came in and before any decoding.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Method, any case.
    pub method: &'a str,
    /// Percent-encoded path as on the wire.
    pub path: &'a str,
    /// Query without `?`.
    pub query: Option<&'a str>,
    /// Path part of our public URL; empty when we live at the root.
    pub base_path: &'a str,
}

#[derive(Serialize)]
struct OutboundClaims<'a> {
    iss: &'a str,
    iat: i64,
    exp: i64,
    qsh: String,
    sub: &'a str,
}

/// A token for a call that we make: `url` is the very URL that will be sent.
pub fn sign(
    app_key: &str,
    client_key: &str,
    secret: &Secret,
    method: &str,
    url: &Url,
    now: Micros,
) -> Result<String, JwtError> {
    if secret.expose().is_empty() {
        return Err(JwtError::Signing);
    }
    let claims = OutboundClaims {
        iss: app_key,
        iat: now.secs(),
        exp: now.plus(LIFETIME).secs(),
        qsh: qsh::hash(method, url.path(), url.query(), ""),
        sub: client_key,
    };
    let key = EncodingKey::from_secret(secret.expose_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)
        .map_err(|_| JwtError::Signing)
}

/// The token of a request: `Authorization: JWT …` (or `Bearer …`), else `?jwt=`. Tokens in both
/// places, or twice in the query, are refused.
pub fn token_of<'a>(
    authorization: Option<&'a str>,
    query: Option<&'a str>,
) -> Result<Cow<'a, str>, JwtError> {
    let in_header = authorization.and_then(header_token);
    let mut in_query = form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .filter(|(name, _)| name == "jwt")
        .map(|(_, value)| value);
    match (in_header, in_query.next(), in_query.next()) {
        (Some(token), None, _) => Ok(Cow::Borrowed(token)),
        (None, Some(token), None) if !token.is_empty() => Ok(token),
        (None, None | Some(_), None) => Err(JwtError::Missing),
        _ => Err(JwtError::Ambiguous),
    }
}

fn header_token(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    let known = scheme.eq_ignore_ascii_case("jwt") || scheme.eq_ignore_ascii_case("bearer");
    let token = token.trim();
    (known && !token.is_empty()).then_some(token)
}

/// The issuer that the token names, **unverified**: only good for finding the secret to verify with.
pub fn peek_issuer(token: &str) -> Result<String, JwtError> {
    #[derive(Deserialize)]
    struct Peek {
        iss: Option<String>,
    }
    let parts = split(token)?;
    check_header(parts.header)?;
    let claims = decode(parts.claims)?;
    let peek: Peek = object(&claims)?;
    peek.iss
        .filter(|issuer| !issuer.is_empty())
        .ok_or(JwtError::MissingClaim("iss"))
}

/// Whether `token` was signed with `secret` for exactly this request and is valid at `now`.
/// The issuer is returned, not judged: the caller chose the secret by it.
pub fn verify(
    token: &str,
    secret: &Secret,
    request: &Request<'_>,
    now: Micros,
) -> Result<Claims, JwtError> {
    let parts = split(token)?;
    check_header(parts.header)?;
    check_signature(&parts, secret)?;
    let decoded = decode(parts.claims)?;
    let claims: InboundClaims<'_> = object(&decoded)?;
    let issuer = claims
        .iss
        .filter(|issuer| !issuer.is_empty())
        .ok_or(JwtError::MissingClaim("iss"))?;
    let expires = claims.exp.ok_or(JwtError::MissingClaim("exp"))?.0;
    let claimed_hash = claims.qsh.ok_or(JwtError::MissingClaim("qsh"))?;
    if now >= expires.plus(LEEWAY) {
        return Err(JwtError::Expired);
    }
    let latest_start = now.plus(LEEWAY);
    if [claims.iat, claims.nbf]
        .into_iter()
        .flatten()
        .any(|start| start.0 > latest_start)
    {
        return Err(JwtError::NotYetValid);
    }
    if !qsh::matches(
        &claimed_hash,
        request.method,
        request.path,
        request.query,
        request.base_path,
    ) {
        return Err(JwtError::QueryHash);
    }
    Ok(Claims {
        issuer: issuer.into_owned(),
        subject: claims.sub.map(Cow::into_owned),
        expires,
    })
}

struct Parts<'a> {
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
    /// Header, dot and claims: what the signature covers.
    signed: &'a str,
}

fn split(token: &str) -> Result<Parts<'_>, JwtError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(JwtError::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(JwtError::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(JwtError::Malformed)?;
    Ok(Parts {
        header,
        claims,
        signature,
        signed,
    })
}

fn decode(part: &str) -> Result<Vec<u8>, JwtError> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| JwtError::Malformed)
}

/// Reads a JSON object. Serde would fill a struct from an array too, by position.
fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, JwtError> {
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(JwtError::Malformed);
    }
    serde_json::from_slice(json).map_err(|_| JwtError::Malformed)
}

/// `jsonwebtoken` would read an unknown algorithm as a broken token; our callers want to tell the
/// two apart, and a `kid` must not pass at all.
fn check_header(part: &str) -> Result<(), JwtError> {
    #[derive(Deserialize)]
    struct TokenHeader<'a> {
        #[serde(borrow)]
        alg: Option<Cow<'a, str>>,
        #[serde(default, deserialize_with = "present")]
        kid: bool,
        #[serde(default, deserialize_with = "present")]
        crit: bool,
    }
    let decoded = decode(part)?;
    let header: TokenHeader<'_> = object(&decoded)?;
    if header.kid {
        return Err(JwtError::KeyId);
    }
    if header.alg.as_deref() != Some("HS256") {
        return Err(JwtError::Algorithm);
    }
    if header.crit {
        Err(JwtError::Malformed)
    } else {
        Ok(())
    }
}

fn check_signature(parts: &Parts<'_>, secret: &Secret) -> Result<(), JwtError> {
    if secret.expose().is_empty() {
        return Err(JwtError::Signature);
    }
    let key = DecodingKey::from_secret(secret.expose_bytes());
    match jsonwebtoken::crypto::verify(
        parts.signature,
        parts.signed.as_bytes(),
        &key,
        Algorithm::HS256,
    ) {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(JwtError::Signature),
    }
}

fn present<'de, D: Deserializer<'de>>(source: D) -> Result<bool, D::Error> {
    de::IgnoredAny::deserialize(source).map(|_| true)
}

#[derive(Deserialize)]
struct InboundClaims<'a> {
    #[serde(borrow)]
    iss: Option<Cow<'a, str>>,
    #[serde(borrow)]
    sub: Option<Cow<'a, str>>,
    #[serde(borrow)]
    qsh: Option<Cow<'a, str>>,
    exp: Option<NumericDate>,
    iat: Option<NumericDate>,
    nbf: Option<NumericDate>,
}

/// Seconds since the epoch, whole or with a fraction.
struct NumericDate(Micros);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(source)?;
        let seconds = number
            .as_i64()
            .or_else(|| number.as_u64().map(|_| i64::MAX))
            .or_else(|| {
                // A float beyond i64 saturates in this conversion.
                #[allow(
                    clippy::cast_possible_truncation,
                    reason = "saturates, and a fraction of a second is no matter"
                )]
                number.as_f64().map(|seconds| seconds as i64)
            });
        seconds
            .map(|seconds| Self(Micros::from_unix_seconds(seconds)))
            .ok_or_else(|| de::Error::custom("not a date"))
    }
}

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;
