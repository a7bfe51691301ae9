//! A server whose certificate comes from an authority of its own, on a private address that the operator allows.

use std::sync::Arc;

use bitbucket_sandbox::{NewRepository, SandboxConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;
use crate::support::Options;

const CA: &str = include_str!("../../fixtures/tls/ca.pem");
const OTHER_CA: &str = include_str!("../../fixtures/tls/other-ca.pem");
const CERTIFICATE: &str = include_str!("../../fixtures/tls/server.pem");
const KEY: &str = include_str!("../../fixtures/tls/server.key");

/// TLS in front of an address of this machine; answers the port.
async fn tls_in_front_of(address: String) -> u16 {
    let chain = CertificateDer::pem_slice_iter(CERTIFICATE.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, address) = (acceptor.clone(), address.clone());
            tokio::spawn(async move {
                let Ok(mut near) = acceptor.accept(stream).await else {
                    return;
                };
                if let Ok(mut far) = TcpStream::connect(address).await {
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                }
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_connection_with_the_bundle_trusts_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("bitbucket");
    let bitbucket = tokio::task::spawn_blocking(move || Sandbox::start(SandboxConfig::new(data)))
        .await
        .unwrap()
        .unwrap();
    bitbucket.create_workspace("acme").unwrap();
    bitbucket
        .create_repository(NewRepository::new("acme", "shop"))
        .await
        .unwrap();
    let secret = token(&bitbucket, "ada", "admin", Permission::Admin);
    let port = tls_in_front_of(bitbucket.url().replace("http://", "")).await;
    let settings = vec![("egress_allow", "127.0.0.0/8, ::1/128".to_owned())];
    let t = TestApp::start_with(
        Backend::Sqlite,
        Options {
            settings,
            clock: None,
        },
    )
    .await;
    let tenant = t.tenant("acme").await;
    let cookie = t.session(&tenant.owner).await;
    let base = format!("https://localhost:{port}");
    let with = |ca| {
        [
            ("workspace", base.as_str()),
            ("secret", secret.as_str()),
            ("ca", ca),
        ]
    };
    for unknown in ["", OTHER_CA] {
        let refused = fill(&t, &cookie, FORM, &with(unknown)).await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        assert!(
            refused
                .text
                .contains("Paste the certificate of your authority"),
            "{}",
            refused.text
        );
    }
    let kept = fill(&t, &cookie, FORM, &with(CA)).await;
    assert_eq!(kept.status, 303, "{}", kept.text);
    t.run_jobs().await;
    let body = json!({
        "provider": "integrations:bitbucket_server", "installation": id_of(&kept.location),
        "identifier": "ACME/shop",
    });
    let repo = t.send("POST", REPOS, &tenant.token, body, 201).await;
    assert_eq!(repo["url"], format!("{base}/projects/ACME/repos/shop"));
    // A new token keeps the bundle; a bundle that does not fit is refused before it is kept.
    let renew = format!("{}reauthorise/", kept.location);
    let again = fill(&t, &cookie, &renew, &[("secret", &secret)]).await;
    assert_eq!(again.status, 303, "{}", again.text);
    let wrong = fill(
        &t,
        &cookie,
        &renew,
        &[("secret", &secret), ("ca", OTHER_CA)],
    )
    .await;
    assert_eq!(wrong.status, 400);
    // Nobody else trusts it now.
    let refused = fill(&t, &cookie, FORM, &with("")).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    let report = links::test_connection(
        &t.app,
        tenant.org.id,
        LinkId(id_of(&kept.location).parse().unwrap()),
        None,
        None,
    );
    assert!(report.await.unwrap().ok);
}
