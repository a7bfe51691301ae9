//! Judges Connect JWTs (bitbucket.md §1.6).

use super::{Wrong, unauthorized};
use crate::call::Call;
use crate::core::Core;
use crate::journal::Rule;
use crate::model::Install;
use crate::protocol::{jwt::Unverified, qsh};

/// Longest life of a token, in seconds.
const LIFETIME: i64 = 300;
/// Allowed difference of clocks, in seconds.
const LEEWAY: i64 = 60;

/// Judges a Connect JWT against the call it came with. `need_qsh` is false for the token
/// exchange, where a missing `qsh` is tolerated (bitbucket.md §1.6) but a wrong one is not.
pub(crate) fn connect(
    core: &Core,
    call: &Call,
    token: &str,
    need_qsh: bool,
) -> Result<Install, Wrong> {
    let token = Unverified::parse(token).map_err(|e| unauthorized(Rule::JwtMalformed, e))?;
    if token.header.contains_key("kid") {
        return Err(unauthorized(Rule::JwtKid, "Bitbucket tokens have no kid"));
    }
    if token.header.get("alg").and_then(|v| v.as_str()) != Some("HS256") {
        return Err(unauthorized(Rule::JwtAlgorithm, "alg must be HS256"));
    }
    let install = token
        .text("sub")
        .and_then(|key| core.store.read(|state| state.install(key).cloned()))
        .filter(|install| install.secrets().next().is_some())
        .ok_or_else(|| {
            unauthorized(
                Rule::JwtSubject,
                "sub must be the clientKey of a live installation",
            )
        })?;
    if token.text("iss") != Some(&install.app_key) {
        return Err(unauthorized(
            Rule::JwtIssuer,
            "iss must be the key of the installed app",
        ));
    }
    if !install.secrets().any(|secret| token.signed_by(secret)) {
        return Err(unauthorized(
            Rule::JwtSignature,
            "the signature does not verify",
        ));
    }
    times(core, &token)?;
    let expected = qsh::hash(&call.method, &call.path, &call.query);
    match token.text("qsh") {
        Some(given) if given == expected => Ok(install),
        None if !need_qsh && !token.claims.contains_key("qsh") => Ok(install),
        None => Err(unauthorized(Rule::JwtQsh, "qsh is missing")),
        Some(_) => Err(unauthorized(
            Rule::JwtQsh,
            format!(
                "qsh is not the hash of {:?}",
                qsh::canonical(&call.method, &call.path, &call.query)
            ),
        )),
    }
}

fn times(core: &Core, token: &Unverified) -> Result<(), Wrong> {
    let now = core.clock.now().timestamp();
    let issued = token
        .seconds("iat")
        .filter(|iat| *iat <= now + LEEWAY)
        .ok_or_else(|| unauthorized(Rule::JwtIssuedAt, "iat is missing or in the future"))?;
    let expires = token
        .seconds("exp")
        .filter(|exp| *exp > now - LEEWAY)
        .ok_or_else(|| unauthorized(Rule::JwtExpiry, "exp is missing or past"))?;
    if expires.saturating_sub(issued) > LIFETIME {
        return Err(unauthorized(
            Rule::JwtLifetime,
            format!("a token may live {LIFETIME} seconds"),
        ));
    }
    Ok(())
}
