//! IP networks as written in `delivery.allow_private`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A network in CIDR form, `127.0.0.0/8` or `fd00::/8`; an address alone is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    prefix: u8,
}

/// A text that is no network.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadNetwork {
    /// Not an address with a prefix length.
    #[error("`{0}` is no network; write it like \"10.0.0.0/8\", \"fd00::/8\" or \"192.168.1.5\"")]
    Unreadable(String),
    /// The address has bits behind the prefix, so it is unclear which network is meant.
    #[error("`{given}` has bits behind its prefix; write \"{meant}\" for the whole network")]
    HostBits {
        /// What was written.
        given: String,
        /// The network that holds it.
        meant: String,
    },
}

impl Network {
    /// Whether `address` lies in this network; an IPv4 address written as IPv6 (`::ffff:10.0.0.1`) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => (u32::from(first) ^ u32::from(address)) & mask_v4(self.prefix) == 0,
            (IpAddr::V6(first), IpAddr::V6(address)) => (u128::from(first) ^ u128::from(address)) & mask_v6(self.prefix) == 0,
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

fn mask_v4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

fn mask_v6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Network, BadNetwork> {
        let bad = || BadNetwork::Unreadable(text.chars().take(64).collect());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().map_err(|_| bad())?,
            Some(_) => return Err(bad()),
        };
        if prefix > longest {
            return Err(bad());
        }
        let first = match address {
            IpAddr::V4(address) => IpAddr::V4((u32::from(address) & mask_v4(prefix)).into()),
            IpAddr::V6(address) => IpAddr::V6((u128::from(address) & mask_v6(prefix)).into()),
        };
        let network = Network { first, prefix };
        if first != address {
            return Err(BadNetwork::HostBits { given: text.to_owned(), meant: network.to_string() });
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(network: &str, address: &str) -> bool {
        network.parse::<Network>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        assert!(holds("127.0.0.0/8", "127.255.0.1"));
        assert!(!holds("127.0.0.0/8", "128.0.0.1"));
        assert!(holds("0.0.0.0/0", "8.8.8.8") && holds("::/0", "2001:db8::1"));
        assert!(holds("192.168.1.5", "192.168.1.5") && !holds("192.168.1.5", "192.168.1.4"));
        assert!(holds("fd00::/8", "fd12::1") && !holds("fd00::/8", "fe80::1"));
        assert!(holds("::1/128", "::1"));
    }

    #[test]
    fn the_families_do_not_mix_but_mapped_addresses_are_ipv4() {
        assert!(!holds("::/0", "10.0.0.1") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(!holds("::/0", "::ffff:10.1.2.3"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for bad in ["", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0/8", "example.com", "::/129", "10.0.0.0/", "/8"] {
            assert!(matches!(bad.parse::<Network>(), Err(BadNetwork::Unreadable(_))), "{bad}");
        }
        let message = "10.1.2.3/8".parse::<Network>().unwrap_err().to_string();
        assert!(message.contains("\"10.0.0.0/8\""), "{message}");
    }
}
