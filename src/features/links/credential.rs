//! What a link signs with, as it rests: one enum, sealed as a whole.

use serde::{Deserialize, Serialize, Serializer};

use super::{CredentialKind, LinkId, store};
use crate::app::App;
use crate::bitbucket::Credential;
use crate::bitbucket::oauth::{Consumer, Granted};
use crate::error::{AppError, AppResult};
use crate::kit::clock::Micros;
use crate::kit::crypto::{Sealer, Secret};

/// A credential of a link that is not a Connect signature. Only [`Stored::seal`] writes its secrets.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Stored {
    /// A consumer that a person has allowed to act for them.
    OauthCode {
        key: String,
        #[serde(serialize_with = "bare")]
        secret: Secret,
        #[serde(serialize_with = "bare")]
        refresh: Secret,
        access: Access,
    },
    /// A private consumer that acts for itself.
    ClientCredentials {
        key: String,
        #[serde(serialize_with = "bare")]
        secret: Secret,
        access: Option<Access>,
    },
    /// Tokens that a Connect installation is given for its signature.
    ConnectBearer { access: Option<Access> },
    /// A person's token, with the e-mail of the Atlassian account.
    ApiToken {
        email: String,
        #[serde(serialize_with = "bare")]
        token: Secret,
    },
    /// A token of a repository, a project or a workspace.
    AccessToken {
        #[serde(serialize_with = "bare")]
        token: Secret,
    },
    /// For servers that still take passwords.
    AppPassword {
        user: String,
        #[serde(serialize_with = "bare")]
        password: Secret,
    },
    /// An HTTP access token of Data Center, with where its server is.
    DataCenter {
        base: String,
        #[serde(serialize_with = "bare")]
        token: Secret,
        /// Authorities that its certificate may come from, as PEM.
        ca: Option<String>,
    },
}

/// An access token that was given for something else.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Access {
    #[serde(serialize_with = "bare")]
    pub(super) token: Secret,
    pub(super) obtained: Micros,
    pub(super) until: Micros,
    /// As the token endpoint told them.
    pub(super) scopes: Option<Vec<String>>,
}

/// Only ever into a sealed value.
fn bare<S: Serializer>(secret: &Secret, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(secret.expose())
}

impl Access {
    pub(super) fn of(granted: &Granted, now: Micros) -> Self {
        Self {
            token: granted.access.clone(),
            obtained: now,
            until: now.plus(granted.life),
            scopes: granted.scopes.clone(),
        }
    }

    /// Whether it is good for a while yet: five minutes, or a tenth of a shorter life.
    pub(super) fn is_fresh(&self, now: Micros) -> bool {
        const MARGIN: std::time::Duration = std::time::Duration::from_secs(300);
        let life = self.until.since(self.obtained);
        now.plus(MARGIN.min(life / 10)) < self.until
    }
}

impl Stored {
    pub(super) fn seal(&self, sealer: &Sealer, link: LinkId) -> AppResult<Vec<u8>> {
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(self).map_err(AppError::internal)?);
        Ok(sealer.seal(&seal_context(link), &plain))
    }

    pub(super) fn open(sealer: &Sealer, link: LinkId, sealed: &[u8]) -> AppResult<Self> {
        let plain = sealer
            .open(&seal_context(link), sealed)
            .map_err(AppError::internal)?;
        serde_json::from_slice(&zeroize::Zeroizing::new(plain)).map_err(AppError::internal)
    }

    /// What signs as it is, without asking for a token first.
    pub(super) fn standing(&self) -> Option<Credential> {
        match self {
            Self::ApiToken { email, token } => Some(Credential::Basic {
                user: email.clone(),
                password: token.clone(),
            }),
            Self::AppPassword { user, password } => Some(Credential::Basic {
                user: user.clone(),
                password: password.clone(),
            }),
            Self::AccessToken { token } | Self::DataCenter { token, .. } => {
                Some(Credential::Bearer(token.clone()))
            }
            Self::OauthCode { .. }
            | Self::ClientCredentials { .. }
            | Self::ConnectBearer { .. } => None,
        }
    }

    /// The cached access token.
    pub(super) fn access(&self) -> Option<&Access> {
        match self {
            Self::OauthCode { access, .. } => Some(access),
            Self::ClientCredentials { access, .. } | Self::ConnectBearer { access } => {
                access.as_ref()
            }
            Self::ApiToken { .. }
            | Self::AccessToken { .. }
            | Self::AppPassword { .. }
            | Self::DataCenter { .. } => None,
        }
    }

    /// This with what the token endpoint has just given. A refresh token that was not replaced stays.
    pub(super) fn renewed(&self, granted: &Granted, now: Micros) -> Self {
        let fresh = Access::of(granted, now);
        match self.clone() {
            Self::OauthCode {
                key,
                secret,
                refresh,
                ..
            } => Self::OauthCode {
                key,
                secret,
                refresh: granted.refresh.clone().unwrap_or(refresh),
                access: fresh,
            },
            Self::ClientCredentials { key, secret, .. } => Self::ClientCredentials {
                key,
                secret,
                access: Some(fresh),
            },
            Self::ConnectBearer { .. } => Self::ConnectBearer {
                access: Some(fresh),
            },
            standing => standing,
        }
    }

    /// The consumer behind it.
    pub(super) fn consumer(&self) -> Option<Consumer> {
        match self {
            Self::OauthCode { key, secret, .. } | Self::ClientCredentials { key, secret, .. } => {
                Some(Consumer {
                    key: key.clone(),
                    secret: secret.clone(),
                })
            }
            _ => None,
        }
    }

    /// Whether it is of this kind.
    pub(super) fn fits(&self, kind: CredentialKind) -> bool {
        matches!(
            (self, kind),
            (Self::OauthCode { .. }, CredentialKind::OauthCode)
                | (
                    Self::ClientCredentials { .. },
                    CredentialKind::ClientCredentials
                )
                | (Self::ConnectBearer { .. }, CredentialKind::ConnectBearer)
                | (Self::ApiToken { .. }, CredentialKind::ApiToken)
                | (
                    Self::AccessToken { .. },
                    CredentialKind::RepositoryToken
                        | CredentialKind::ProjectToken
                        | CredentialKind::WorkspaceToken
                )
                | (Self::AppPassword { .. }, CredentialKind::AppPassword)
                | (Self::DataCenter { .. }, CredentialKind::DataCenter)
        )
    }
}

/// Seals every stored credential under the first key again. Answers how many were changed; one that is renewed in
/// this moment is sealed under the first key by that.
///
/// # Errors
/// When a credential cannot be opened with the configured keys, or the database fails.
pub async fn reseal_credentials(app: &App) -> AppResult<usize> {
    const SLICE: i64 = 100;
    let (mut after, mut changed) = (LinkId(0), 0);
    loop {
        let rows = app
            .db
            .read(move |conn| Ok::<_, AppError>(store::credentials_after(conn, after, SLICE)?))
            .await?;
        let Some(last) = rows.last() else {
            return Ok(changed);
        };
        after = last.link_id;
        let mut fresh = Vec::new();
        for row in rows {
            if app.sealer.needs_reseal(&row.sealed) {
                let again = Stored::open(&app.sealer, row.link_id, &row.sealed)?;
                let sealed = again.seal(&app.sealer, row.link_id)?;
                fresh.push((row, sealed));
            }
        }
        changed += app
            .db
            .write(move |tx| {
                let mut changed = 0;
                for (row, sealed) in &fresh {
                    changed += usize::from(store::replace_sealed_credential(tx, row, sealed)?);
                }
                Ok::<_, AppError>(changed)
            })
            .await?;
    }
}

fn seal_context(link: LinkId) -> String {
    format!("link.credential:{link}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Duration;

    use super::*;

    fn access(life: u64) -> Access {
        Access {
            token: "t".into(),
            obtained: Micros(0),
            until: Micros::from_unix_seconds(i64::try_from(life).unwrap()),
            scopes: None,
        }
    }

    #[test]
    fn a_token_is_left_before_it_ends() {
        let at = Micros::from_unix_seconds;
        let hour = access(3_600);
        assert!(hour.is_fresh(at(3_299)) && !hour.is_fresh(at(3_300)));
        let short = access(10);
        assert!(short.is_fresh(at(8)) && !short.is_fresh(at(9)));
        assert!(!access(0).is_fresh(at(0)));
    }

    #[test]
    fn a_sealed_credential_comes_back_for_its_link_alone_and_prints_nothing() {
        let sealer = Sealer::parse(&Sealer::generate_key_line()).unwrap();
        let stored = Stored::OauthCode {
            key: "k".into(),
            secret: "consumer-secret".into(),
            refresh: "refresh-1".into(),
            access: access(10),
        };
        let sealed = stored.seal(&sealer, LinkId(7)).unwrap();
        assert!(Stored::open(&sealer, LinkId(8), &sealed).is_err());
        let opened = Stored::open(&sealer, LinkId(7), &sealed).unwrap();
        assert!(opened.fits(CredentialKind::OauthCode) && !opened.fits(CredentialKind::ApiToken));
        let shown = format!("{opened:?}");
        assert!(
            !shown.contains("consumer-secret") && !shown.contains("refresh-1"),
            "{shown}"
        );
        assert_eq!(
            opened.consumer().unwrap().secret.expose(),
            "consumer-secret"
        );
    }

    #[test]
    fn a_renewed_credential_keeps_what_was_not_replaced() {
        let stored = Stored::OauthCode {
            key: "k".into(),
            secret: "s".into(),
            refresh: "old".into(),
            access: access(10),
        };
        let mut granted = Granted {
            access: "a2".into(),
            refresh: Some("new".into()),
            life: Duration::from_secs(60),
            scopes: None,
        };
        for (next, expected) in [(Some("new"), "new"), (None, "old")] {
            granted.refresh = next.map(Into::into);
            let Stored::OauthCode {
                refresh, access, ..
            } = stored.renewed(&granted, Micros(5))
            else {
                unreachable!("the kind stays");
            };
            assert_eq!((refresh.expose(), access.token.expose()), (expected, "a2"));
            assert_eq!(access.until, Micros(5).plus(Duration::from_secs(60)));
        }
    }
}
