//! Where a request comes from.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

/// Where a request comes from, as connections are counted: an IPv4 address, or the /64 network of an IPv6 address, of
/// which one household has them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin(IpAddr);

impl Origin {
    /// The origin of whoever has this address.
    pub fn of(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V4(ip) => ip.into(),
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        })
    }
}

/// The proxies that are believed when they say for whom they ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Those of these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Their networks.
    pub fn networks(&self) -> &[IpNet] {
        &self.0
    }

    /// Where a request comes from that `peer` sent with these `X-Forwarded-For` headers. Each proxy adds to their end who
    /// asked it: read from there, the first that is not a proxy of ours. What stands before that, anybody may have
    /// written. Where it cannot be read, the proxy that took it.
    pub fn origin<'a>(&self, peer: IpAddr, forwarded: impl DoubleEndedIterator<Item = &'a str>) -> Origin {
        let mut from = peer;
        for entry in forwarded.rev().flat_map(|header| header.rsplit(',')) {
            if !self.trusts(from) {
                break;
            }
            let Some(before) = address(entry.trim()) else { break };
            from = before;
        }
        Origin::of(from)
    }

    /// Whether the one of this address is believed.
    pub(super) fn trusts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|network| network.contains(&ip))
    }
}

/// An address as proxies write it: some with a port, and then IPv6 in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let plain = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    plain.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(peer: &str, forwarded: &[&str]) -> String {
        let proxies = Proxies::new(["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap()).to_vec());
        proxies.origin(peer.parse().unwrap(), forwarded.iter().copied()).0.to_string()
    }

    #[test]
    fn only_proxies_are_believed() {
        assert_eq!(origin("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(origin("10.1.2.3", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(origin("::ffff:10.1.2.3", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(origin("10.1.2.3", &[]), "10.1.2.3");
    }

    #[test]
    fn the_last_that_is_no_proxy_counts() {
        assert_eq!(origin("10.1.2.3", &["1.1.1.1, 198.51.100.7, 10.9.9.9"]), "198.51.100.7");
        assert_eq!(origin("10.1.2.3", &["1.1.1.1", "198.51.100.7,10.9.9.9", "fd00::1"]), "198.51.100.7");
        assert_eq!(origin("10.1.2.3", &["10.4.4.4"]), "10.4.4.4", "a proxy that asks for itself");
    }

    #[test]
    fn what_cannot_be_read_is_nobody_else() {
        assert_eq!(origin("10.1.2.3", &["198.51.100.7, unknown"]), "10.1.2.3");
        assert_eq!(origin("10.1.2.3", &["198.51.100.7, _hidden, 10.9.9.9"]), "10.9.9.9");
        assert_eq!(origin("10.1.2.3", &[""]), "10.1.2.3");
    }

    #[test]
    fn ports_and_brackets_are_no_part_of_it() {
        assert_eq!(origin("10.1.2.3", &["198.51.100.7:4711"]), "198.51.100.7");
        assert_eq!(origin("10.1.2.3", &["[2001:db8:1:2:3::4]:4711"]), "2001:db8:1:2::");
        assert_eq!(origin("10.1.2.3", &["[2001:db8::4]"]), "2001:db8::");
    }

    #[test]
    fn a_household_is_one_origin() {
        let of = |text: &str| Origin::of(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2:ffff::"));
        assert_ne!(of("2001:db8:1:2::"), of("2001:db8:1:3::"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
