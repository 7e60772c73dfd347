//! Ports of the host, kept from others as long as they are published: a socket that is bound and
//! never used. Who wants such a port, on either side, is told that it is in use.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt,
};

use crate::launch::network::error::Error;
use crate::launch::network::publish::{Protocol, Publish};

/// Of ranges longer than that (media servers publish thousands) no port is kept: each would cost a
/// descriptor.
const MAX_RANGE: u16 = 256;
/// How many random ports are tried.
const TRIES: usize = 100;

/// The families of addresses that lead to the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Families {
    pub(crate) v4: bool,
    pub(crate) v6: bool,
}

/// Ports that are kept.
#[derive(Debug, Default)]
pub(crate) struct Reserved {
    _sockets: Vec<OwnedFd>,
}

/// Keeps the ports of the host, until what is returned is dropped.
///
/// # Errors
/// Where one is in use, or may not be used.
pub(crate) fn reserve(ports: &[Publish], families: Families) -> Result<Reserved, Error> {
    let mut sockets = Vec::new();
    for publish in ports.iter().filter(|publish| publish.count <= MAX_RANGE) {
        for (port, _) in publish.pairs() {
            for address in addresses(publish.host_ip, families) {
                let failed = |source| Error::Port { port, publish: *publish, source };
                sockets.extend(bound(publish.protocol, address, port).map_err(failed)?);
            }
        }
    }
    Ok(Reserved { _sockets: sockets })
}

/// Chooses ports of the host where none were asked for.
///
/// # Errors
/// Where none are free.
pub(crate) fn choose(mut ports: Vec<Publish>) -> Result<Vec<Publish>, Error> {
    for at in 0..ports.len() {
        if ports[at].host.is_none() {
            let (others, wanted) = (ports.clone(), ports[at]);
            ports[at].host = Some(free(wanted, &others)?);
        }
    }
    Ok(ports)
}

fn free(wanted: Publish, others: &[Publish]) -> Result<u16, Error> {
    let any = Families { v4: true, v6: false };
    for _ in 0..TRIES {
        let address = addresses(wanted.host_ip, any).next().unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        let failed = |source| Error::Port { port: 0, publish: wanted, source };
        let Some(socket) = bound(wanted.protocol, address, 0).map_err(failed)? else {
            break;
        };
        let Some(host) = port_of(&socket).filter(|host| host.checked_add(wanted.count).is_some())
        else {
            continue;
        };
        drop(socket);
        let chosen = Publish { host: Some(host), ..wanted };
        if !others.iter().any(|other| other.overlaps(&chosen)) && reserve(&[chosen], any).is_ok() {
            return Ok(host);
        }
    }
    Err(Error::NoPort(wanted))
}

/// The addresses of the host at which a port is published.
fn addresses(asked: Option<IpAddr>, families: Families) -> impl Iterator<Item = IpAddr> {
    let v4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let v6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let all = match asked {
        Some(ip) => [Some(ip), None],
        None => [families.v4.then_some(v4), families.v6.then_some(v6)],
    };
    all.into_iter().flatten()
}

/// A socket bound to a port; `None` where the kernel has no such sockets.
fn bound(protocol: Protocol, ip: IpAddr, port: u16) -> io::Result<Option<OwnedFd>> {
    let family = if ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, rustix::net::ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, rustix::net::ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, rustix::net::ipproto::SCTP),
    };
    let socket = match socket_with(family, kind, SocketFlags::CLOEXEC, Some(number)) {
        Err(Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT | Errno::NOPROTOOPT) => return Ok(None),
        socket => socket?,
    };
    if ip.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if protocol == Protocol::Tcp {
        // Connections that are over keep nobody from the port, as with any server.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &SocketAddr::new(ip, port))?;
    if protocol == Protocol::Tcp {
        // With it on, another that has it on could listen there.
        sockopt::set_socket_reuseaddr(&socket, false)?;
    }
    Ok(Some(socket))
}

fn port_of(socket: &OwnedFd) -> Option<u16> {
    let address = SocketAddr::try_from(getsockname(socket).ok()?).ok()?;
    Some(address.port())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    const V4: Families = Families { v4: true, v6: false };

    fn publish(text: &str) -> Publish {
        text.parse().unwrap()
    }

    #[test]
    fn a_port_is_kept_until_it_is_not() {
        let chosen = choose(vec![publish("127.0.0.1::80"), publish("80/udp")]).unwrap();
        let reserved = reserve(&chosen, V4).unwrap();
        let (tcp, udp) = (chosen[0].host.unwrap(), chosen[1].host.unwrap());
        assert!(TcpListener::bind(("127.0.0.1", tcp)).is_err());
        assert!(UdpSocket::bind(("0.0.0.0", udp)).is_err());
        assert!(matches!(reserve(&chosen, V4), Err(Error::Port { .. })));
        drop(reserved);
        TcpListener::bind(("127.0.0.1", tcp)).unwrap();
    }

    #[test]
    fn a_port_in_use_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let wanted = publish(&format!("{port}:80"));
        let refused = reserve(&[wanted], V4);
        assert!(matches!(refused, Err(Error::Port { port: told, .. }) if told == port));
    }

    #[test]
    fn ranges_are_chosen_whole() {
        let chosen = choose(vec![publish("1000-1009"), publish("1000-1009/udp")]).unwrap();
        assert_eq!(chosen[0].pairs().count(), 10);
        reserve(&chosen, V4).unwrap();
    }
}
