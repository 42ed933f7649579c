//! Parses the PROXY protocol, versions 1 and 2: a header in which a proxy names the client, before
//! any other data (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).

use std::io;
use std::net::{IpAddr, SocketAddr};

const V1: &[u8] = b"PROXY ";
/// Maximum length of a version 1 header, including its line end.
const V1_MAX_BYTES: usize = 107;
const V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_FIXED_BYTES: usize = 16;
/// Limit on a version 2 header; real ones are far shorter.
const V2_MAX_BYTES: usize = 4096;

/// The result of parsing the start of a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Header {
    /// More bytes are needed.
    Incomplete,
    /// The header is complete.
    Complete {
        /// The length in bytes.
        length: usize,
        /// The client; `None` when the proxy connects on its own behalf.
        client: Option<SocketAddr>,
    },
}

/// Parses the header at the start of `bytes`.
///
/// # Errors
/// When the header is missing or malformed.
pub fn parse(bytes: &[u8]) -> io::Result<Header> {
    let common = |sign: &[u8]| bytes.iter().zip(sign).all(|(a, b)| a == b);
    if common(V2) {
        return if bytes.len() < V2_FIXED_BYTES { Ok(Header::Incomplete) } else { v2(bytes) };
    }
    if common(V1) {
        return v1(bytes);
    }
    Err(malformed())
}

fn v1(bytes: &[u8]) -> io::Result<Header> {
    let Some(end) = bytes.windows(2).take(V1_MAX_BYTES - 1).position(|two| two == b"\r\n") else {
        let too_long = bytes.len() >= V1_MAX_BYTES;
        return if too_long { Err(malformed()) } else { Ok(Header::Incomplete) };
    };
    let line = std::str::from_utf8(&bytes[..end]).map_err(|_| malformed())?;
    let length = end + 2;
    let words: Vec<&str> = line.split(' ').collect();
    let client = match words[..] {
        ["PROXY", "UNKNOWN", ..] => None,
        ["PROXY", family, source, destination, port, destination_port] => {
            let source: IpAddr = source.parse().map_err(|_| malformed())?;
            let destination: IpAddr = destination.parse().map_err(|_| malformed())?;
            let port: u16 = port.parse().map_err(|_| malformed())?;
            let _: u16 = destination_port.parse().map_err(|_| malformed())?;
            let fits = match family {
                "TCP4" => source.is_ipv4() && destination.is_ipv4(),
                "TCP6" => source.is_ipv6() && destination.is_ipv6(),
                _ => false,
            };
            Some(SocketAddr::new(source, port)).filter(|_| fits).ok_or_else(malformed)?.into()
        }
        _ => return Err(malformed()),
    };
    Ok(Header::Complete { length, client })
}

fn v2(bytes: &[u8]) -> io::Result<Header> {
    let (version_and_command, family) = (bytes[12], bytes[13]);
    let length = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if version_and_command >> 4 != 2 || length > V2_MAX_BYTES {
        return Err(malformed());
    }
    let Some(addresses) = bytes.get(V2_FIXED_BYTES..length) else {
        return Ok(Header::Incomplete);
    };
    let client = match (version_and_command & 0xf, family >> 4) {
        (1, 1) => Some(source::<4>(addresses, 8)?),
        (1, 2) => Some(source::<16>(addresses, 32)?),
        // `LOCAL`, which proxies use for health checks; an unspecified family; a Unix socket.
        (0, _) | (1, 0 | 3) => None,
        _ => return Err(malformed()),
    };
    Ok(Header::Complete { length, client })
}

/// The source address and port. Both addresses come first, then both ports.
fn source<const BYTES: usize>(addresses: &[u8], ports: usize) -> io::Result<SocketAddr>
where
    IpAddr: From<[u8; BYTES]>,
{
    let ip = addresses.first_chunk::<BYTES>().ok_or_else(malformed)?;
    let port = addresses.get(ports..).and_then(<[u8]>::first_chunk::<4>).ok_or_else(malformed)?;
    Ok(SocketAddr::new(IpAddr::from(*ip), u16::from_be_bytes([port[0], port[1]])))
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no PROXY header")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn v2_of(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [&V2[..], &[0x20 | command, family], &length[..], addresses].concat()
    }

    #[test]
    fn both_versions_name_the_client() {
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x10, 0x20, 0, 80];
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        v6[32..34].copy_from_slice(&[0x10, 0x20]);
        let with_extension = [&v4[..], &[4, 0, 1, 0]].concat();
        for (header, client) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 4128 80\r\n".to_vec(), Some("192.0.2.7:4128")),
            (b"PROXY TCP6 2001:db8::7 ::1 4128 80\r\n".to_vec(), Some("[2001:db8::7]:4128")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (v2_of(1, 0x11, &v4), Some("192.0.2.7:4128")),
            (v2_of(1, 0x11, &with_extension), Some("192.0.2.7:4128")),
            (v2_of(1, 0x21, &v6), Some("[2001:db8::7]:4128")),
            (v2_of(0, 0x00, &[]), None),
            (v2_of(0, 0x11, &v4), None),
            (v2_of(1, 0x31, &[0; 216]), None),
        ] {
            let complete = Header::Complete {
                length: header.len(),
                client: client.map(|client| client.parse().unwrap()),
            };
            let followed = [&header[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
            assert_eq!(parse(&followed).unwrap(), complete, "{header:?}");
            for end in 0..header.len() {
                assert_eq!(parse(&header[..end]).unwrap(), Header::Incomplete, "{header:?} {end}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let too_long = [&b"PROXY TCP4 "[..], &[b'1'; 120]].concat();
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PROXYTCP4",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4128\r\n",
            b"PROXY TCP4 2001:db8::7 ::1 4128 80\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 70000 80\r\n",
            b"PROXY TCP4  192.0.2.7 10.0.0.1 1 80\r\n",
            b"PROXY UDP4 192.0.2.7 10.0.0.1 1 80\r\n",
            &too_long,
            &v2_of(1, 0x11, &[192, 0, 2]),
            &v2_of(2, 0x11, &[0; 12]),
            &v2_of(1, 0x51, &[0; 12]),
            &v2_of(1, 0x11, &[0; 5000]),
            &[&V2[..], &[0x11, 0x11, 0, 0]].concat(),
        ] {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
    }
}
