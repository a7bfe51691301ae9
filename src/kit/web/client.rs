//! Whose request it is: the address of the client, also behind reverse proxies.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use actix_web::HttpMessage;
use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, HeaderName};
use ipnet::IpNet;

/// What each proxy appends the address to from which it was called.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Networks of proxies whose `X-Forwarded-For` is believed.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(pub Vec<IpNet>);

/// The address that the middleware found, kept with the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client(pub IpAddr);

/// The client's address; `None` where the peer has none.
#[must_use]
pub fn address(req: &HttpRequest) -> Option<IpAddr> {
    req.extensions().get::<Client>().map(|client| client.0)
}

/// What one client is counted by: its address, or for IPv6 its /64, of which a single machine has every address.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

impl TrustedProxies {
    /// Who sent the request that `peer` handed us: read from the right, the first address of `X-Forwarded-For` that is
    /// no trusted proxy, because each proxy appends and only ours tell the truth. The peer itself when it is no trusted
    /// proxy, or when the header holds something else than addresses there.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        let mut client = peer;
        let values: Vec<_> = headers.get_all(X_FORWARDED_FOR).collect();
        for value in values.iter().rev() {
            // In bytes: what a stranger wrote further left need not even be text.
            for hop in value.as_bytes().rsplit(|byte| *byte == b',') {
                if !self.contains(client) {
                    return client;
                }
                match parse(hop.trim_ascii()) {
                    Some(address) => client = address,
                    None => return peer,
                }
            }
        }
        client
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// An address, which some proxies write with a port or in brackets.
fn parse(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?;
    let bare = hop
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let with_port = || hop.parse::<SocketAddr>().map(|socket| socket.ip());
    let address = bare.unwrap_or(hop).parse().or_else(|_| with_port()).ok()?;
    Some(IpAddr::to_canonical(&address))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use actix_web::http::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn client(peer: &str, values: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(X_FORWARDED_FOR, value);
        }
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        TrustedProxies(networks.into())
            .client(peer.parse().unwrap(), &headers)
            .to_string()
    }

    #[test]
    fn the_last_address_that_is_no_proxy_is_the_client() {
        for (peer, values, expected) in [
            // Nobody in front, and a header that anybody can write.
            ("198.51.100.7", &[] as &[&str], "198.51.100.7"),
            ("198.51.100.7", &["203.0.113.9"], "198.51.100.7"),
            ("198.51.100.7", &["203.0.113.9, 10.0.0.1"], "198.51.100.7"),
            // One proxy, two, and a client that wrote a header of its own.
            ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            ("10.0.0.1", &["1.2.3.4, 203.0.113.9"], "203.0.113.9"),
            (
                "10.0.0.1",
                &["10.9.9.9, 203.0.113.9,10.0.0.2"],
                "203.0.113.9",
            ),
            ("10.0.0.1", &["nonsense, 203.0.113.9"], "203.0.113.9"),
            // Several headers are one list.
            (
                "10.0.0.1",
                &["1.2.3.4", "203.0.113.9", "10.0.0.2"],
                "203.0.113.9",
            ),
            // Only proxies: the first of them asked.
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &[], "10.0.0.1"),
            // Ports, brackets, the other family.
            ("10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("fd00::1", &["[2001:db8::1]"], "2001:db8::1"),
            ("::ffff:10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9"),
            // Not readable where it matters.
            ("10.0.0.1", &["203.0.113.9, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9, unknown, 10.0.0.2"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9,"], "10.0.0.1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9", "\u{e9}"], "10.0.0.1"),
        ] {
            assert_eq!(client(peer, values), expected, "{peer} {values:?}");
        }
    }

    #[test]
    fn one_machine_counts_once() {
        for (address, expected) in [
            ("203.0.113.9", "203.0.113.9"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ] {
            assert_eq!(network(address.parse().unwrap()).to_string(), expected);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn what_a_stranger_writes_changes_nothing(value in "[ -~\u{80}-\u{ff}]{0,40}") {
            prop_assert_eq!(client("198.51.100.7", &[&value]), "198.51.100.7");
            prop_assert_eq!(client("10.0.0.1", &[&format!("{value}, 203.0.113.9")]), "203.0.113.9");
        }
    }
}
