//! Which addresses a receiver may be reached at.
//!
//! URLs may stand in rules, so the address that is connected to decides, not the name: names are
//! resolved here, each address is checked, and the connection goes to one of those that passed. A
//! name that changes its address between check and connect finds nothing to change.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::config::Network;

/// Lets public addresses and those that the operator allows (`delivery.allow_private`) pass.
#[derive(Clone, Debug)]
pub struct Guard {
    allowed: Arc<[Network]>,
}

/// An address that receivers may not reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address {0} is not public; allow its network in delivery.allow_private if it is meant")]
pub struct NotAllowed(pub IpAddr);

impl Guard {
    /// A guard that lets public addresses pass and those within `allowed`.
    pub fn new(allowed: &[Network]) -> Guard {
        Guard { allowed: allowed.into() }
    }

    /// Refuses an address that is neither public nor allowed.
    pub fn check(&self, address: IpAddr) -> Result<(), NotAllowed> {
        let address = address.to_canonical();
        if is_public(address) || self.allowed.iter().any(|network| network.contains(address)) { Ok(()) } else { Err(NotAllowed(address)) }
    }

    /// Refuses a URL whose host is a literal address that may not be reached; names are checked when they are resolved.
    pub fn check_literal(&self, url: &url::Url) -> Result<(), NotAllowed> {
        match url.host() {
            Some(url::Host::Ipv4(address)) => self.check(address.into()),
            Some(url::Host::Ipv6(address)) => self.check(address.into()),
            Some(url::Host::Domain(_)) | None => Ok(()),
        }
    }

    /// Keeps the addresses that pass. If none does, says which one was refused.
    fn keep(&self, found: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, NotAllowed> {
        let mut kept = Vec::new();
        let mut refused = None;
        for address in found {
            match self.check(address.ip()) {
                Ok(()) => kept.push(address),
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) if kept.is_empty() => Err(error),
            _ => Ok(kept),
        }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let kept = guard.keep(found)?;
            Ok(Box::new(kept.into_iter()) as Addrs)
        })
    }
}

/// Whether an address belongs to the public internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = a == 0
        || a == 10
        || a == 127
        || (a == 100 && (64..128).contains(&b))
        || (a == 169 && b == 254)
        || (a == 172 && (16..32).contains(&b))
        || (a == 192 && b == 168)
        || (a == 192 && b == 0 && (c == 0 || c == 2))
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19))
        || (a == 198 && b == 51 && c == 100)
        || (a == 203 && b == 0 && c == 113)
        || a >= 224;
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    let low = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match parts {
        // NAT64 and 6to4 carry an IPv4 address, which is what is reached in the end.
        [0x64, 0xff9b, 0, 0, 0, 0, high, last] => is_public_v4(low(high, last)),
        [0x2002, high, last, ..] => is_public_v4(low(high, last)),
        // Protocol assignments (Teredo and others), documentation.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        // Global unicast is 2000::/3; everything else is local, multicast or unassigned.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> Guard {
        Guard::new(&[])
    }

    fn passes(guard: &Guard, address: &str) -> bool {
        guard.check(address.parse().unwrap()).is_ok()
    }

    #[test]
    fn r13_only_public_addresses_pass_by_themselves() {
        let guard = nothing();
        for public in ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "192.0.1.1", "2606:4700::1111", "2a00:1450:4001::1"] {
            assert!(passes(&guard, public), "{public}");
        }
        let refused = [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.169.254",
            "192.0.2.1",
            "198.18.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
        ];
        for address in refused {
            assert!(!passes(&guard, address), "{address}");
        }
    }

    #[test]
    fn the_operator_can_allow_a_network() {
        let guard = Guard::new(&["127.0.0.0/8".parse().unwrap()]);
        assert!(passes(&guard, "127.0.0.1") && passes(&guard, "::ffff:127.0.0.1"));
        assert!(!passes(&guard, "10.0.0.1") && !passes(&guard, "169.254.169.254"));
    }

    #[test]
    fn r13_every_spelling_of_a_literal_address_is_checked() {
        let guard = nothing();
        let spellings = [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://127.0.0.1./",
            "http://[::1]/",
            "http://[::ffff:7f00:1]/",
            "http://①②⑦.0.0.1/",
        ];
        for spelling in spellings {
            let url: url::Url = spelling.parse().unwrap();
            assert!(guard.check_literal(&url).is_err(), "{spelling}");
        }
        assert!(guard.check_literal(&"http://8.8.8.8/".parse().unwrap()).is_ok());
    }

    #[tokio::test]
    async fn r13_a_name_that_leads_inside_is_refused_when_it_is_resolved() {
        let Err(error) = nothing().resolve("localhost".parse().unwrap()).await else { panic!("localhost passed") };
        assert!(error.downcast_ref::<NotAllowed>().is_some(), "{error}");
    }

    #[test]
    fn r13_of_several_addresses_only_the_allowed_ones_are_kept() {
        let found = ["8.8.8.8:0", "127.0.0.1:0"].map(|text| text.parse::<SocketAddr>().unwrap());
        assert_eq!(nothing().keep(found.into_iter()).unwrap(), vec![found[0]]);
    }
}
