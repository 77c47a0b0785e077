//! Which names a server answers to.
//!
//! A browser can be led to a server on its own machine by a name that somebody else owns and lets point there (DNS rebinding). The page's script may then read the answers; but the name stands in `Host`.

use std::net::SocketAddr;

/// The names and ports by which a server is meant.
pub(super) struct Authorities {
    names: Vec<String>,
    /// It listens at all addresses of the machine: any address is meant, but no name, which could be another's.
    any_address: bool,
    port: u16,
}

impl Authorities {
    pub(super) fn of(address: SocketAddr) -> Self {
        let (ip, port) = (address.ip(), address.port());
        let mut names = vec![address.to_string()];
        if ip.is_loopback() || ip.is_unspecified() {
            names.extend([format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("[::1]:{port}")]);
        }
        Self { names, any_address: ip.is_unspecified(), port }
    }

    /// Whether a `Host` means this server.
    pub(super) fn serve(&self, authority: &str) -> bool {
        // The default port is left out.
        let with_port = match authority.rsplit_once(':') {
            Some((_, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => authority.to_owned(),
            _ => format!("{authority}:80"),
        };
        self.names.iter().any(|name| name.eq_ignore_ascii_case(&with_port))
            || (self.any_address && with_port.parse::<SocketAddr>().is_ok_and(|address| address.port() == self.port))
    }

    /// Whether an `Origin` is a page of this server.
    pub(super) fn is_own(&self, origin: &str) -> bool {
        origin.strip_prefix("http://").is_some_and(|authority| self.serve(authority))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> Authorities {
        Authorities::of(address.parse().expect("an address"))
    }

    #[test]
    fn the_loopback_has_three_names() {
        let served = of("127.0.0.1:4000");
        for host in ["127.0.0.1:4000", "localhost:4000", "LocalHost:4000", "[::1]:4000"] {
            assert!(served.serve(host), "{host}");
        }
        for host in
            ["", "127.0.0.1", "127.0.0.1:4001", "evil.example:4000", "127.0.0.1.evil.example:4000", "[::1]", ":"]
        {
            assert!(!served.serve(host), "{host}");
        }
    }

    #[test]
    fn an_origin_has_the_scheme_too() {
        let served = of("127.0.0.1:4000");
        assert!(served.is_own("http://localhost:4000"));
        for origin in ["null", "", "localhost:4000", "https://localhost:4000", "http://evil.example", "file://"] {
            assert!(!served.is_own(origin), "{origin}");
        }
    }

    #[test]
    fn the_port_80_may_be_left_out() {
        assert!(of("127.0.0.1:80").serve("localhost"));
        assert!(of("[::1]:80").serve("[::1]"));
    }

    #[test]
    fn all_addresses_are_meant_but_no_name() {
        let served = of("0.0.0.0:4000");
        assert!(served.serve("192.0.2.7:4000") && served.serve("[2001:db8::7]:4000") && served.serve("localhost:4000"));
        assert!(!served.serve("192.0.2.7:4001") && !served.serve("evil.example:4000"));
    }

    #[test]
    fn one_address_is_meant_alone() {
        let served = of("192.0.2.7:4000");
        assert!(served.serve("192.0.2.7:4000") && !served.serve("localhost:4000"));
    }
}
