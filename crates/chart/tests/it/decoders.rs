//! What holds for every decoder on any bytes. The fuzz targets include this file.

use chart::{Genesis, Invitation, Message, PairingMessage, Root, Signed, Statement};

/// Panics where a decoder breaks a promise on these bytes.
pub(crate) type Check = fn(&[u8]);

/// Every decoder by name with its check.
pub(crate) const DECODERS: &[(&str, Check)] = &[
    ("chart_genesis", genesis),
    ("chart_header", header),
    ("chart_invitation", invitation),
    ("chart_message", message),
    ("chart_pairing", pairing),
    ("chart_phrase", phrase),
    ("chart_statement", statement),
];

/// Defines a check: what decodes has one form, the one that it came in.
macro_rules! check {
    ($name:ident, $kind:ident) => {
        fn $name(bytes: &[u8]) {
            if let Ok(value) = $kind::decode(bytes) {
                assert_eq!(value.encode(), bytes, "{value:?}");
            }
        }
    };
}

check!(genesis, Genesis);
check!(message, Message);
check!(pairing, PairingMessage);
check!(statement, Statement);

fn header(bytes: &[u8]) {
    if let Ok(signed) = Signed::decode(bytes) {
        assert_eq!(signed.encode(), bytes, "{signed:?}");
        // Nobody signs by chance; what a signature covers is told apart by all its bytes.
        assert_eq!(signed.verify(), signed.verify());
    }
}

fn invitation(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(invitation) = Invitation::parse(text)
    {
        assert_eq!(Invitation::parse(&invitation.text()), Ok(invitation));
    }
}

fn phrase(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(root) = Root::from_phrase(text)
    {
        let again = Root::from_phrase(&root.phrase()).expect("the words of a root");
        assert_eq!(again.public(), root.public());
    }
}
