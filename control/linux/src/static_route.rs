//! A route that an operator puts on a host interface, in the words of `ip route`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnet::IpNet;

/// A route out of a host interface: `default via 192.0.2.254`, `10.0.0.0/8 via 192.0.2.253 metric
/// 5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticRoute {
    /// The addresses that it leads to; all addresses for `default`.
    pub net: IpNet,
    /// The gateway. Without one the net is on the link itself.
    pub via: Option<IpAddr>,
    /// The address that Linux sends from, when it has a choice.
    pub source: Option<IpAddr>,
    /// Of several routes to the same net Linux takes the one with the lowest metric. `None` means
    /// that Linux chooses the metric.
    pub metric: Option<u32>,
    /// The gateway is on the link although no address of the interface says so.
    pub onlink: bool,
}

/// Why a text is no route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}; expected `default via ADDRESS` or `NET/LENGTH via ADDRESS`, perhaps followed by `src ADDRESS`, `metric NUMBER` or `onlink`"
)]
pub struct StaticRouteError(String);

impl StaticRoute {
    /// The metric that Linux uses, so that two routes can be compared. In IPv6 a metric of 0 stands
    /// for another one.
    pub fn effective_metric(&self) -> u32 {
        let usual = if self.net.addr().is_ipv4() { 0 } else { 1024 };
        self.metric.filter(|metric| *metric != 0).unwrap_or(usual)
    }
}

impl FromStr for StaticRoute {
    type Err = StaticRouteError;

    fn from_str(text: &str) -> Result<Self, StaticRouteError> {
        let wrong = |why: String| StaticRouteError(format!("`{text}` {why}"));
        let mut words = text.split_whitespace();
        let first = words.next().ok_or_else(|| wrong("says nothing".into()))?;
        let (mut via, mut source, mut metric, mut onlink) = (None, None, None, false);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| wrong(format!("has nothing after `{word}`")));
            let twice = match word {
                "via" => via.replace(address(value()?).map_err(wrong)?).is_some(),
                "src" => source.replace(address(value()?).map_err(wrong)?).is_some(),
                "metric" => {
                    let value = value()?;
                    let number = value.parse().map_err(|_| wrong(format!("has no number in `{value}`")))?;
                    metric.replace(number).is_some()
                }
                "onlink" => std::mem::replace(&mut onlink, true),
                "dev" => {
                    return Err(wrong(
                        "names an interface, but a port's routes always lead out of its host interface"
                            .into(),
                    ));
                }
                other => return Err(wrong(format!("has `{other}`, which is not known"))),
            };
            if twice {
                return Err(wrong(format!("has `{word}` twice")));
            }
        }
        let everything = |addr: IpAddr| if addr.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
        let net = match first {
            "default" => everything(via.or(source).unwrap_or(Ipv4Addr::UNSPECIFIED.into())),
            other => other,
        };
        let net: IpNet = net
            .parse()
            .or_else(|_| net.parse().map(|addr: IpAddr| addr.into()))
            .map_err(|_| wrong(format!("begins with `{first}`, which is no net")))?;
        if net.addr() != net.network() {
            return Err(wrong(format!("has bits after its prefix length; the net is {}", net.trunc())));
        }
        let family = |addr: Option<IpAddr>| addr.is_none_or(|addr| addr.is_ipv4() == net.addr().is_ipv4());
        if !family(via) || !family(source) {
            return Err(wrong("mixes IPv4 and IPv6".into()));
        }
        if net.addr().is_multicast() || net.addr().is_loopback() {
            return Err(wrong(
                "leads to groups or to the machine itself, for which there is no gateway".into(),
            ));
        }
        if onlink && via.is_none() {
            return Err(wrong("has `onlink` without a gateway".into()));
        }
        Ok(Self { net, via, source, metric, onlink })
    }
}

fn address(text: &str) -> Result<IpAddr, String> {
    let addr: IpAddr = text.parse().map_err(|_| format!("has no address in `{text}`"))?;
    if addr.is_unspecified() || addr.is_multicast() || addr.is_loopback() {
        return Err(format!("names {addr}, which no machine can have"));
    }
    Ok(addr)
}

impl fmt::Display for StaticRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.net {
            net if net.prefix_len() == 0 => write!(f, "default")?,
            net => write!(f, "{net}")?,
        }
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        if let Some(source) = self.source {
            write!(f, " src {source}")?;
        }
        if let Some(metric) = self.metric {
            write!(f, " metric {metric}")?;
        }
        if self.onlink {
            write!(f, " onlink")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read_as_ip_writes_them() {
        for text in [
            "default via 192.0.2.254",
            "10.0.0.0/8 via 192.0.2.253 metric 5",
            "192.0.2.254/32",
            "default via 2001:db8::1",
            "default via fe80::1 onlink",
            "2001:db8:7::/48 via fe80::1 src 2001:db8::5 metric 7",
        ] {
            assert_eq!(text.parse::<StaticRoute>().map(|route| route.to_string()), Ok(text.to_owned()));
        }
        let host: StaticRoute = " 10.1.2.3   via 192.0.2.1 ".parse().unwrap();
        assert_eq!(host.to_string(), "10.1.2.3/32 via 192.0.2.1");
    }

    #[test]
    fn what_is_no_route_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "`` says nothing"),
            ("defalt via 192.0.2.1", "begins with `defalt`, which is no net"),
            ("10.0.0.1/8 via 192.0.2.1", "has bits after its prefix length; the net is 10.0.0.0/8"),
            ("default via", "has nothing after `via`"),
            ("default via 192.0.2.1 via 192.0.2.2", "has `via` twice"),
            ("default via 192.0.2.0/24", "has no address in `192.0.2.0/24`"),
            ("default via 2001:db8::1 src 192.0.2.1", "mixes IPv4 and IPv6"),
            ("10.0.0.0/8 via 2001:db8::1", "mixes IPv4 and IPv6"),
            (
                "default via 192.0.2.1 dev eth0",
                "names an interface, but a port's routes always lead out of its host interface",
            ),
            ("default via 192.0.2.1 mtu 1400", "has `mtu`, which is not known"),
            ("default via 192.0.2.1 metric low", "has no number in `low`"),
            ("default via 127.0.0.1", "names 127.0.0.1, which no machine can have"),
            ("10.0.0.0/8 onlink", "has `onlink` without a gateway"),
            (
                "224.0.0.0/4 via 192.0.2.1",
                "leads to groups or to the machine itself, for which there is no gateway",
            ),
        ] {
            let said = text.parse::<StaticRoute>().unwrap_err().to_string();
            assert!(said.contains(why) && said.contains("; expected `default via"), "{said}");
        }
    }
}
