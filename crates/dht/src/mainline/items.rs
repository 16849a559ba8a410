use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use wire::bencode::{write_bytes, write_int};
use wire::krpc::{self, Item};
use wire::{Id, PublicKey};

use super::sha1;
use crate::key::verify;

/// Values stored; when full, a value nearer to us takes the place of the farthest.
const ITEMS_MAX: usize = 1000;
/// Bytes of a value, as it is encoded (BEP 44).
pub(super) const VALUE_MAX: usize = 1000;
/// Bytes of a salt (BEP 44).
pub(super) const SALT_MAX: usize = 64;
/// How long a value is kept (BEP 44).
const AGE_MAX: Duration = Duration::from_hours(2);

/// Values that others stored here (BEP 44).
#[derive(Debug, Default)]
pub(super) struct Items {
    /// By distance from us.
    items: BTreeMap<Id<20>, Stored>,
}

#[derive(Debug)]
struct Stored {
    value: Box<[u8]>,
    signed: Option<Signed>,
    heard: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Signed {
    key: [u8; 32],
    signature: [u8; 64],
    seq: i64,
}

/// Why a value is not taken, as the code that says so.
pub(super) type Refusal = (i64, &'static [u8]);

/// Returns where a value is stored: the hash of the value, or of its key and salt.
pub(super) fn target(item: &Item<'_>) -> Id<20> {
    match item.key {
        Some(key) => sha1(&[&key[..], item.salt.unwrap_or_default()].concat()),
        None => sha1(item.value.unwrap_or_default()),
    }
}

/// Returns what the signature of a mutable value covers.
pub(super) fn signable(salt: &[u8], seq: i64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + salt.len() + 48);
    if !salt.is_empty() {
        write_bytes(&mut out, b"salt");
        write_bytes(&mut out, salt);
    }
    write_bytes(&mut out, b"seq");
    write_int(&mut out, seq);
    write_bytes(&mut out, b"v");
    out.extend_from_slice(value);
    out
}

/// Tells whether a value that was found belongs under a target; a mutable one must be signed.
pub(super) fn is_genuine(item: &Item<'_>, wanted: &Id<20>) -> bool {
    item.value.is_some() && target(item) == *wanted && (item.key.is_none() || is_signed(item))
}

fn is_signed(item: &Item<'_>) -> bool {
    let (Some(key), Some(signature), Some(seq)) = (item.key, item.signature, item.seq) else { return false };
    let message = signable(item.salt.unwrap_or_default(), seq, item.value.unwrap_or_default());
    verify(PublicKey(key), &message, &signature)
}

impl Items {
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn get(&self, distance: &Id<20>) -> Option<Item<'_>> {
        self.items.get(distance).map(|stored| Item {
            value: Some(&stored.value),
            key: stored.signed.map(|signed| signed.key),
            signature: stored.signed.map(|signed| signed.signature),
            seq: stored.signed.map(|signed| signed.seq),
            salt: None,
        })
    }

    /// Stores a value whose token was checked.
    pub(super) fn put(
        &mut self,
        now: Instant,
        own: &Id<20>,
        item: &Item<'_>,
        cas: Option<i64>,
    ) -> Result<(), Refusal> {
        let value = item.value.ok_or((krpc::ERROR_PROTOCOL, &b"No value"[..]))?;
        if value.len() > VALUE_MAX {
            return Err((krpc::ERROR_TOO_BIG, b"Value too big"));
        }
        if item.salt.is_some_and(|salt| salt.len() > SALT_MAX) {
            return Err((krpc::ERROR_SALT, b"Salt too big"));
        }
        let distance = target(item).distance(own);
        let known = self.items.get(&distance);
        if let (Some(known), Some(seq)) = (known.and_then(|known| known.signed), item.seq) {
            if cas.is_some_and(|cas| cas != known.seq) {
                return Err((krpc::ERROR_CAS, b"Another value was stored meanwhile"));
            }
            let same = known.seq == seq && self.items.get(&distance).is_some_and(|k| *k.value == *value);
            if seq < known.seq || seq == known.seq && !same {
                return Err((krpc::ERROR_SEQ, b"Sequence number too low"));
            }
        }
        if item.key.is_some() && !is_signed(item) {
            return Err((krpc::ERROR_SIGNATURE, b"Invalid signature"));
        }
        if self.items.len() >= ITEMS_MAX && !self.items.contains_key(&distance) {
            let nearer = self.items.last_entry().filter(|farthest| *farthest.key() > distance);
            drop(nearer.ok_or((FULL, &b"Full"[..]))?.remove());
        }
        let parts = item.key.zip(item.signature).zip(item.seq);
        let signed = parts.map(|((key, signature), seq)| Signed { key, signature, seq });
        self.items.insert(distance, Stored { value: value.into(), signed, heard: now });
        Ok(())
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.items.retain(|_, stored| now.saturating_duration_since(stored.heard) < AGE_MAX);
    }

    /// Sorts anew after our id has changed.
    pub(super) fn rebase(&mut self, from: &Id<20>, to: &Id<20>) {
        let shift = from.distance(to);
        let items = std::mem::take(&mut self.items);
        self.items =
            items.into_iter().map(|(distance, stored)| (distance.distance(&shift), stored)).collect();
    }
}

/// "Server error" (BEP 5): there is no room.
pub(super) const FULL: i64 = 202;

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs an origin to count from")]
    use super::*;
    use crate::key::KeyPair;
    use crate::mainline::tests::{hex, vector};

    const OWN: Id<20> = Id([0; 20]);

    #[test]
    fn targets_and_signatures_are_those_that_the_bep_prints() {
        let rows = &vector()["bep44"];
        for name in ["mutable", "mutable_salt", "immutable"] {
            let row = &rows[name];
            let (key, signature) = (&row["k"], &row["sig"]);
            let salt = row["salt"].as_str();
            let item = Item {
                value: row["v_bencoded"].as_str().map(str::as_bytes),
                key: key.is_string().then(|| hex(key).try_into().unwrap()),
                signature: signature.is_string().then(|| hex(signature).try_into().unwrap()),
                seq: key.is_string().then_some(1),
                salt: salt.map(str::as_bytes),
            };
            let wanted = row["target"].as_str().unwrap().parse().unwrap();
            assert_eq!(target(&item), wanted, "{name}");
            assert!(is_genuine(&item, &wanted), "{name}");
            if let Some(signed) = row["signed"].as_str() {
                let message = signable(salt.unwrap_or_default().as_bytes(), 1, item.value.unwrap());
                assert_eq!(message, signed.as_bytes());
                assert!(!is_genuine(&Item { seq: Some(2), ..item }, &wanted));
            }
        }
    }

    fn signed<'a>(key: &KeyPair, seq: i64, value: &'a [u8]) -> Item<'a> {
        let signature = key.sign(&signable(b"", seq, value));
        let key = Some(key.public_key().0);
        Item { value: Some(value), key, signature: Some(signature), seq: Some(seq), salt: None }
    }

    #[test]
    fn a_higher_number_replaces_a_lower_and_nothing_else_does() {
        let (now, key) = (Instant::now(), KeyPair::from_seed([7; 32]));
        let mut items = Items::default();
        let mut put = |item: Item<'_>, cas| items.put(now, &OWN, &item, cas).map_err(|(code, _)| code);
        assert_eq!(put(signed(&key, 5, b"i1e"), None), Ok(()));
        assert_eq!(put(signed(&key, 5, b"i1e"), None), Ok(()));
        assert_eq!(put(signed(&key, 5, b"i2e"), None), Err(krpc::ERROR_SEQ));
        assert_eq!(put(signed(&key, 4, b"i2e"), None), Err(krpc::ERROR_SEQ));
        assert_eq!(put(signed(&key, 6, b"i2e"), Some(4)), Err(krpc::ERROR_CAS));
        assert_eq!(put(signed(&key, 6, b"i2e"), Some(5)), Ok(()));
        let forged = Item { seq: Some(7), ..signed(&key, 6, b"i2e") };
        assert_eq!(put(forged, None), Err(krpc::ERROR_SIGNATURE));
        let long = vec![b'x'; VALUE_MAX + 1];
        let item = Item { value: Some(&long), ..Item::default() };
        assert_eq!(put(item, None), Err(krpc::ERROR_TOO_BIG));
        let item = Item { salt: Some(&long[..65]), ..signed(&key, 7, b"i3e") };
        assert_eq!(put(item, None), Err(krpc::ERROR_SALT));
        let found = items.get(&target(&signed(&key, 6, b"i2e"))).unwrap();
        assert_eq!((found.seq, found.value), (Some(6), Some(&b"i2e"[..])));
    }

    #[test]
    fn a_full_store_keeps_the_nearest_values_for_two_hours() {
        let now = Instant::now();
        let mut items = Items::default();
        let mut nearest: Vec<Id<20>> = Vec::new();
        for n in 0..2 * ITEMS_MAX {
            let value = format!("i{n}e").into_bytes();
            let item = Item { value: Some(&value), ..Item::default() };
            nearest.push(target(&item));
            let kept = items.put(now, &OWN, &item, None).is_ok();
            assert_eq!(kept, items.get(&target(&item)).is_some());
        }
        nearest.sort();
        nearest.truncate(ITEMS_MAX);
        assert!(nearest.iter().all(|distance| items.get(distance).is_some()));
        assert_eq!(items.len(), ITEMS_MAX);
        items.expire(now + AGE_MAX);
        assert_eq!(items.len(), 0);
    }
}
