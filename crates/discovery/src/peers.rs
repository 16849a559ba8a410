//! Peers as `dns-discovery` packs them: six bytes each, in base64.

use std::net::{Ipv4Addr, SocketAddrV4};

use data_encoding::{BASE64, BASE64_NOPAD};

/// Bytes of a packed peer.
const PEER_LEN: usize = 6;
/// Peers that fit into one text, which has 255 bytes at most. The reference sends more and is not understood then
/// (`dns-discovery` 6.2.3: the length byte wraps).
pub(crate) const PEERS_MAX: usize = 31;

/// Packs peers; what does not fit is left out.
pub(crate) fn pack(peers: impl IntoIterator<Item = SocketAddrV4>) -> String {
    let mut bytes = Vec::with_capacity(PEERS_MAX * PEER_LEN);
    for peer in peers.into_iter().take(PEERS_MAX) {
        bytes.extend(peer.ip().octets());
        bytes.extend(peer.port().to_be_bytes());
    }
    BASE64.encode(&bytes)
}

/// Unpacks peers, with padding or without; an unspecified host is the sender's.
pub(crate) fn unpack(text: &[u8], sender: Ipv4Addr) -> Vec<SocketAddrV4> {
    let Some(bytes) = decode_base64(text) else { return Vec::new() };
    let peers = bytes.chunks_exact(PEER_LEN).take(PEERS_MAX).filter_map(|peer| match *peer {
        [a, b, c, d, high, low] => {
            let host = Ipv4Addr::new(a, b, c, d);
            let host = if host.is_unspecified() { sender } else { host };
            Some(SocketAddrV4::new(host, u16::from_be_bytes([high, low])))
        }
        _ => None,
    });
    peers.collect()
}

/// Decodes base64 with padding or without.
pub(crate) fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    BASE64_NOPAD.decode(text.get(..end)?).ok()
}
