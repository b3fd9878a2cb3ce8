//! Which addresses a stranger may send us to.
//!
//! In: IP addresses, host names. Out: public addresses only. Knows nothing of URLs and issuers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Whether an address is one of the open internet: not ours, not our neighbours', not a cloud's
/// metadata service. After the special-purpose registries of IANA (RFC 6890 and its updates), but
/// by listing what is public in IPv6, where most of the space is not assigned.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let reserved = match (a, b, c) {
        // "This network", private, loopback; multicast, reserved and broadcast.
        (0 | 10 | 127, ..) | (224..=255, ..) => true,
        // Carrier-grade NAT (100.64.0.0/10), which holds Alibaba's metadata service too.
        (100, 64..=127, _) => true,
        // Link-local, with the metadata services at 169.254.169.254.
        (169, 254, _) => true,
        (172, 16..=31, _) | (192, 168, _) => true,
        // Protocol assignments, 6to4 relays, benchmarks, documentation.
        (192, 0, 0 | 2) | (192, 88, 99) | (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113) => {
            true
        }
        // Azure's platform address 168.63.129.16.
        (168, 63, 129) => true,
        _ => false,
    };
    !reserved
}

/// Only 2000::/3 is assigned to the open internet. Inside it, whatever carries an IPv4 address
/// (Teredo 2001::/32, 6to4 2002::/16) could hide a private one, and 2001::/23 and 2001:db8::/32
/// are for protocols and books. ::ffff:0:0/96 and 64:ff9b::/96 lie outside it.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let global_unicast = first & 0xe000 == 0x2000;
    let protocols = first == 0x2001 && (second < 0x0200 || second == 0x0db8);
    let documentation = first == 0x3fff && second < 0x1000;
    global_unicast && !protocols && !documentation && first != 0x2002
}

/// A resolver for hosts that a token or a document chose. The client connects to exactly the
/// addresses that were checked here, so a name that changes its mind between check and use
/// (DNS rebinding) gains nothing. One bad address spoils the whole answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if found.iter().all(|address| is_public(address.ip())) {
                Ok(Box::new(found.into_iter()) as Addrs)
            } else {
                Err(NotPublic.into())
            }
        })
    }
}

/// A name resolved to an address that a stranger may not send us to.
#[derive(Debug, thiserror::Error)]
#[error("the host resolves to an address that is not public")]
struct NotPublic;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nt_13_addresses_that_are_not_public_are_refused() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn addresses_of_the_open_internet_are_public() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "223.255.255.255",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "2a00:1450::1",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[tokio::test]
    async fn nt_13_a_name_that_resolves_to_loopback_is_refused() {
        let refused = PublicOnly.resolve("localhost".parse().unwrap()).await;
        let refused = refused.err().expect("localhost is not public").to_string();
        assert_eq!(refused, NotPublic.to_string());
    }
}
