use wire::Datagram;

/// The first bytes of a stream packet (libudx: magic byte, version 1), as long as its fixed header.
fn stream_header() -> [u8; 20] {
    let mut header = [0; 20];
    header[..2].copy_from_slice(&[0xff, 0x01]);
    header
}

#[test]
fn a_stream_packet_has_a_whole_header() {
    let header = stream_header();
    assert_eq!(Datagram::classify(&header), Ok(Datagram::Stream(&header)));
    assert!(Datagram::classify(&header[..19]).is_err());
}

#[test]
fn a_stream_packet_of_another_version_is_refused() {
    let mut header = stream_header();
    header[1] = 2;
    assert!(Datagram::classify(&header).is_err());
}

#[test]
fn a_probe_is_at_most_one_byte_whatever_it_is() {
    assert_eq!(Datagram::classify(&[]), Ok(Datagram::Probe));
    for byte in [0x00, 0x03, 0x13, 0xff] {
        assert_eq!(Datagram::classify(&[byte]), Ok(Datagram::Probe), "{byte:#04x}");
    }
}
