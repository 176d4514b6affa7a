//! The PROXY protocol, versions 1 and 2 (HAProxy's specification): a proxy that
//! passes bytes on says before them whom it speaks for, before TLS, too.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use pingora::listeners::PreTlsProcess;
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::protocols::{GetSocketDigest, SocketDigest, UniqueID};
use pingora::{Error, ErrorType};
use ppp::{HeaderResult, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use crate::edge::limits::Crowded;
use crate::edge::shared::Node;
use crate::zone::contains;

/// Both versions are longer, and here they can be told apart.
const SIGNATURE: usize = 12;
/// A header of version 2 up to what its length counts.
const V2_FIXED: usize = 16;
/// Version 1 has no longer line.
const V1_MOST: usize = 107;
/// Version 2 with what proxies add to it: certificates of clients, names.
const V2_MOST: usize = 4096;

/// Reads whom a connection is for, where its other end is one of
/// `listen.proxy_protocol`.
pub struct ProxyProtocol(pub Arc<Node>);

#[async_trait]
impl PreTlsProcess for ProxyProtocol {
    async fn process(&self, stream: &mut L4Stream) -> pingora::Result<()> {
        match learn_peer(&self.0, stream).await {
            true => Ok(()),
            false => Error::e_explain(ErrorType::ReadError, Crowded::ProxyHeader.name()),
        }
    }
}

/// False: what had to be said was not, or not in time; counted.
pub async fn learn_peer<S>(node: &Node, stream: &mut S) -> bool
where
    S: AsyncRead + GetSocketDigest + UniqueID + Unpin + ?Sized,
{
    let Some(peer) = peer_ip(stream).filter(|ip| contains(&node.listen.proxy_protocol, *ip)) else {
        return true;
    };
    let header = timeout(node.listen.head_timeout, read(stream)).await;
    let said = header.ok().and_then(Result::ok);
    match said.as_deref().and_then(parse) {
        Some(Said::Client(client)) => {
            let digest = SocketDigest::from_raw_fd(stream.id());
            let _ = digest.peer_addr.set(Some(client.into()));
            stream.set_socket_digest(digest);
            true
        }
        Some(Said::Itself) => true,
        None => {
            tracing::debug!(%peer, "no PROXY header where there had to be one");
            node.limits.refuse(Crowded::ProxyHeader);
            false
        }
    }
}

fn peer_ip(stream: &(impl GetSocketDigest + ?Sized)) -> Option<IpAddr> {
    let digest = stream.get_socket_digest()?;
    Some(digest.peer_addr()?.as_inet()?.ip())
}

/// The bytes of a header and no more: what follows is the viewer's.
async fn read(stream: &mut (impl AsyncRead + Unpin + ?Sized)) -> io::Result<Vec<u8>> {
    let mut header = vec![0; SIGNATURE];
    stream.read_exact(&mut header).await?;
    if header == v2::PROTOCOL_PREFIX {
        header.resize(V2_FIXED, 0);
        stream.read_exact(&mut header[SIGNATURE..]).await?;
        let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
        header.resize((V2_FIXED + length).min(V2_MOST), 0);
        stream.read_exact(&mut header[V2_FIXED..]).await?;
    } else if header.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) {
        while !header.ends_with(b"\r\n") && header.len() < V1_MOST {
            header.push(stream.read_u8().await?);
        }
    }
    Ok(header)
}

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Client(SocketAddr),
    /// It asks on its own behalf, or does not know for whom.
    Itself,
}

fn parse(header: &[u8]) -> Option<Said> {
    let client = |ip: IpAddr, port| Some(Said::Client((ip.to_canonical(), port).into()));
    match HeaderResult::parse(header) {
        HeaderResult::V1(header) => match header.ok()?.addresses {
            v1::Addresses::Tcp4(it) => client(it.source_address.into(), it.source_port),
            v1::Addresses::Tcp6(it) => client(it.source_address.into(), it.source_port),
            v1::Addresses::Unknown => Some(Said::Itself),
        },
        HeaderResult::V2(header) => {
            let header = header.ok()?;
            match (header.command, header.addresses) {
                (v2::Command::Local, _) => Some(Said::Itself),
                (_, v2::Addresses::IPv4(it)) => client(it.source_address.into(), it.source_port),
                (_, v2::Addresses::IPv6(it)) => client(it.source_address.into(), it.source_port),
                (_, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => Some(Said::Itself),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [
            v2::PROTOCOL_PREFIX,
            &[0x20 | command, family],
            &length,
            addresses,
        ]
        .concat()
    }

    async fn both(bytes: &[u8]) -> (Option<Said>, usize) {
        let mut left = bytes;
        let header = read(&mut left).await.ok();
        (header.as_deref().and_then(parse), left.len())
    }

    #[tokio::test]
    async fn a_header_is_read_to_its_last_byte_and_no_further() {
        let client = |text: &str| Some(Said::Client(text.parse().unwrap()));
        let four = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 1, 187];
        let with_more = [&four[..], &[0x04, 0, 3, 1, 2, 3]].concat();
        let mut six = [0; 36];
        six[..2].copy_from_slice(&[0x20, 1]);
        six[32..34].copy_from_slice(&[0, 80]);
        let table = [
            (
                b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 443\r\n".to_vec(),
                client("192.0.2.7:4660"),
            ),
            (
                b"PROXY TCP6 2001:db8::7 ::1 4660 443\r\n".to_vec(),
                client("[2001:db8::7]:4660"),
            ),
            (
                b"PROXY TCP6 ::ffff:192.0.2.7 ::1 80 443\r\n".to_vec(),
                client("192.0.2.7:80"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), Some(Said::Itself)),
            (v2(1, 0x11, &four), client("192.0.2.7:4660")),
            (v2(1, 0x11, &with_more), client("192.0.2.7:4660")),
            (v2(1, 0x21, &six), client("[2001::]:80")),
            (v2(0, 0x00, b""), Some(Said::Itself)),
            (v2(0, 0x11, &four), Some(Said::Itself)),
            (v2(1, 0x00, b""), Some(Said::Itself)),
        ];
        for (header, want) in table {
            let behind = b"GET / HTTP/1.1\r\n";
            let (said, left) = both(&[&header[..], behind].concat()).await;
            assert_eq!((said, left), (want, behind.len()), "{header:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_header_says_nothing() {
        let endless = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 200]].concat();
        let huge = v2(1, 0x11, &vec![0; V2_MOST]);
        for bytes in [
            &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..],
            b"PROXY TCP4 192.0.2.7 10.0.0.1 99999 443\r\n",
            b"PROXY TCP4 256.0.2.7 10.0.0.1 1 443\r\n",
            b"PROXY TCP4",
            b"",
            &endless,
            &huge,
            &v2(1, 0x11, &[0; 4]),
        ] {
            assert_eq!(both(bytes).await.0, None, "{bytes:?}");
        }
    }
}
