//! Which addresses and URLs we may call. Pure rules; [`super::egress`] applies them.
//!
//! A tenant may name any host, and a foreign answer may redirect anywhere. Neither may reach the
//! operator's own network. What the operator configured may be called as configured.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

/// Networks that are private, local, reserved or for documentation (IANA special-purpose registry).
const RESERVED_V4: [Ipv4Net; 17] = [
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 31, 196, 0, 24),
    v4(192, 52, 193, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    v4(192, 175, 48, 0, 24),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 3),
];

/// Of IPv6 only this part is given out to the public Internet…
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// …without these: protocol assignments with Teredo, documentation twice, and 6to4.
const RESERVED_V6: [Ipv6Net; 4] = [
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

/// IPv4 seen through a NAT64 gateway.
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(s: [u16; 8], prefix: u8) -> Ipv6Net {
    let [a, b, c, d, e, f, g, h] = s;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

/// Whether an address belongs to the public Internet. IPv4 inside IPv6 counts as that IPv4.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !RESERVED_V4.iter().any(|net| net.contains(&address)),
        IpAddr::V6(address) => {
            if let Some(inner) = address.to_ipv4_mapped() {
                return is_public(IpAddr::V4(inner));
            }
            if NAT64.contains(&address) {
                let [.., a, b, c, d] = address.octets();
                return is_public(IpAddr::V4(Ipv4Addr::new(a, b, c, d)));
            }
            GLOBAL_V6.contains(&address) && !RESERVED_V6.iter().any(|net| net.contains(&address))
        }
    }
}

/// Why a URL must not be called. The texts name the host, never path or query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No host in the URL.
    #[error("the URL has no host")]
    NoHost,
    /// Another scheme than https; http passes only for a configured origin in development.
    #[error("{host} must be called by https")]
    Scheme {
        /// Host of the URL.
        host: String,
    },
    /// User name or password inside the URL.
    #[error("the URL for {host} holds a user name or password")]
    UserInfo {
        /// Host of the URL.
        host: String,
    },
    /// A host the operator configured, but with another port or scheme.
    #[error("{host} is configured with another port or scheme")]
    OtherOrigin {
        /// Host of the URL.
        host: String,
    },
    /// The host is, or resolves only to, an address outside the public Internet.
    #[error("{host} has a private or reserved address, which is not in the allowed networks")]
    PrivateAddress {
        /// Host of the URL.
        host: String,
    },
}

/// What the operator allows.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Configured origins: scheme, host, port.
    origins: Vec<(String, String, Option<u16>)>,
    /// Networks allowed besides the public Internet.
    networks: Vec<IpNet>,
}

impl Policy {
    /// `origins` are the base URLs of the configuration; only scheme, host and port count.
    /// A plain-http origin needs `dev`.
    pub fn new(dev: bool, origins: &[Url], networks: Vec<IpNet>) -> Result<Self, Refusal> {
        for origin in origins {
            let host = host_text(origin)?;
            if origin.scheme() != "https" && !(dev && origin.scheme() == "http") {
                return Err(Refusal::Scheme { host });
            }
        }
        Ok(Self {
            origins: origins.iter().filter_map(origin_of).collect(),
            networks,
        })
    }

    /// Everything about a URL that can be judged before its name is resolved.
    pub fn check_url(&self, url: &Url) -> Result<(), Refusal> {
        let host = host_text(url)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::UserInfo { host });
        }
        if origin_of(url).is_some_and(|origin| self.origins.contains(&origin)) {
            return Ok(());
        }
        if self.is_configured_host(&host) {
            return Err(Refusal::OtherOrigin { host });
        }
        if url.scheme() != "https" {
            return Err(Refusal::Scheme { host });
        }
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) | None => None,
        };
        match literal {
            Some(address) if !self.allows_address(address) => Err(Refusal::PrivateAddress { host }),
            _ => Ok(()),
        }
    }

    /// Whether an address that a name resolved to may be called.
    pub fn allows_resolved(&self, host: &str, address: IpAddr) -> bool {
        self.is_configured_host(host) || self.allows_address(address)
    }

    fn allows_address(&self, address: IpAddr) -> bool {
        let inner = address.to_canonical();
        is_public(address)
            || self
                .networks
                .iter()
                .any(|net| net.contains(&address) || net.contains(&inner))
    }

    fn is_configured_host(&self, host: &str) -> bool {
        self.origins
            .iter()
            .any(|(_, configured, _)| configured.eq_ignore_ascii_case(host))
    }
}

/// Scheme, host and port, with the port of the scheme filled in.
pub fn same_origin(left: &Url, right: &Url) -> bool {
    origin_of(left).is_some() && origin_of(left) == origin_of(right)
}

fn origin_of(url: &Url) -> Option<(String, String, Option<u16>)> {
    Some((
        url.scheme().to_owned(),
        url.host_str()?.to_owned(),
        url.port_or_known_default(),
    ))
}

fn host_text(url: &Url) -> Result<String, Refusal> {
    url.host_str()
        .filter(|host| !host.is_empty())
        .map(str::to_owned)
        .ok_or(Refusal::NoHost)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn host(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn addresses_of_the_public_internet() {
        for address in [
            "104.192.136.1",
            "8.8.8.8",
            "172.15.255.255",
            "172.32.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "198.17.255.255",
            "223.255.255.255",
            "2401:1d80::1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert!(is_public(ip(address)), "{address}");
        }
    }

    #[test]
    fn addresses_that_are_private_or_reserved() {
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(ip(address)), "{address}");
        }
    }

    #[test]
    fn urls_of_strangers() {
        let policy = Policy::default();
        assert_eq!(
            policy.check_url(&url("https://api.bitbucket.org/api/x")),
            Ok(())
        );
        assert_eq!(policy.check_url(&url("https://8.8.8.8/")), Ok(()));
        let refused = [
            (
                "http://api.bitbucket.org/",
                Refusal::Scheme {
                    host: host("api.bitbucket.org"),
                },
            ),
            (
                "ftp://example.org/",
                Refusal::Scheme {
                    host: host("example.org"),
                },
            ),
            (
                "https://a:b@example.org/",
                Refusal::UserInfo {
                    host: host("example.org"),
                },
            ),
            (
                "https://a@example.org/",
                Refusal::UserInfo {
                    host: host("example.org"),
                },
            ),
            (
                "https://127.0.0.1/",
                Refusal::PrivateAddress {
                    host: host("127.0.0.1"),
                },
            ),
            (
                "https://0x7f.1/",
                Refusal::PrivateAddress {
                    host: host("127.0.0.1"),
                },
            ),
            (
                "https://2130706433/",
                Refusal::PrivateAddress {
                    host: host("127.0.0.1"),
                },
            ),
            (
                "https://[::1]/",
                Refusal::PrivateAddress {
                    host: host("[::1]"),
                },
            ),
            (
                "https://[::ffff:10.0.0.1]/",
                Refusal::PrivateAddress {
                    host: host("[::ffff:a00:1]"),
                },
            ),
            ("data:text/plain,x", Refusal::NoHost),
        ];
        for (text, refusal) in refused {
            assert_eq!(policy.check_url(&url(text)), Err(refusal), "{text}");
        }
    }

    #[test]
    fn configured_origins_are_allowed_as_configured_only() {
        let origins = [
            url("http://127.0.0.1:7990/base"),
            url("https://git.internal"),
        ];
        let policy = Policy::new(true, &origins, vec![]).unwrap();
        assert_eq!(
            policy.check_url(&url("http://127.0.0.1:7990/api/x")),
            Ok(())
        );
        assert_eq!(policy.check_url(&url("https://git.internal:443/")), Ok(()));
        let elsewhere = Err(Refusal::OtherOrigin {
            host: host("127.0.0.1"),
        });
        assert_eq!(policy.check_url(&url("http://127.0.0.1:5432/")), elsewhere);
        assert_eq!(policy.check_url(&url("https://127.0.0.1:7990/")), elsewhere);
        assert!(policy.allows_resolved("git.internal", ip("10.0.0.5")));
        assert!(policy.allows_resolved("GIT.internal", ip("10.0.0.5")));
        assert!(!policy.allows_resolved("evil.example", ip("10.0.0.5")));
        assert!(policy.allows_resolved("evil.example", ip("8.8.8.8")));
    }

    #[test]
    fn a_plain_origin_needs_development() {
        let origins = [url("http://127.0.0.1:7990")];
        assert_eq!(
            Policy::new(false, &origins, vec![]).unwrap_err(),
            Refusal::Scheme {
                host: host("127.0.0.1")
            }
        );
        assert_eq!(
            Policy::new(true, &[url("file:///x")], vec![]).unwrap_err(),
            Refusal::NoHost
        );
    }

    #[test]
    fn allowed_networks_open_addresses_but_not_plain_http() {
        let policy = Policy::new(false, &[], vec!["10.1.0.0/16".parse().unwrap()]).unwrap();
        assert_eq!(policy.check_url(&url("https://10.1.2.3/")), Ok(()));
        assert!(policy.allows_resolved("git.internal", ip("::ffff:10.1.2.3")));
        assert!(!policy.allows_resolved("git.internal", ip("10.2.0.1")));
        assert_eq!(
            policy.check_url(&url("http://10.1.2.3/")),
            Err(Refusal::Scheme {
                host: host("10.1.2.3")
            })
        );
    }

    #[test]
    fn origins_compare_with_the_default_port() {
        assert!(same_origin(
            &url("https://a.example/x"),
            &url("https://a.example:443/y")
        ));
        assert!(!same_origin(
            &url("https://a.example/"),
            &url("https://b.example/")
        ));
        assert!(!same_origin(
            &url("https://a.example/"),
            &url("http://a.example/")
        ));
        assert!(!same_origin(&url("data:,x"), &url("data:,x")));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn mapped_and_plain_addresses_are_judged_alike(bits in any::<u32>()) {
            let plain = Ipv4Addr::from(bits);
            let mapped = IpAddr::V6(plain.to_ipv6_mapped());
            prop_assert_eq!(is_public(IpAddr::V4(plain)), is_public(mapped));
        }
    }
}
