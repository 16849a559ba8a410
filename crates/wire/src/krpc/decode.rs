use super::{
    BLOOM_LEN, Body, Family, Item, Message, Method, Nodes, Query, Response, Samples, TID_MAX, Values, Want,
    read_addr,
};
use crate::bencode::Cursor;
use crate::compact::DecodeError;
use crate::id::Id;

/// Where the parts of a message are; of several entries under one key the first counts.
#[derive(Default)]
struct Parts<'a> {
    arguments: Option<Cursor<'a>>,
    results: Option<Cursor<'a>>,
    error: Option<Cursor<'a>>,
    method: Option<&'a [u8]>,
    kind: Option<&'a [u8]>,
    tid: Option<&'a [u8]>,
    client: Option<&'a [u8]>,
    ip: Option<&'a [u8]>,
    read_only: Option<i64>,
}

impl<'a> Message<'a> {
    /// Reads a message. Keys may come in any order, unknown ones and trailing bytes are ignored, and an optional
    /// part that is malformed counts as absent.
    ///
    /// # Errors
    ///
    /// Fails where the syntax is broken, or the kind, the transaction or the sender's id is missing.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let parts = Parts::read(bytes)?;
        let tid =
            parts.tid.filter(|tid| (1..=TID_MAX).contains(&tid.len())).ok_or(DecodeError::Incomplete)?;
        let body = match parts.kind.ok_or(DecodeError::Incomplete)? {
            b"q" => {
                let method = Method::from_name(parts.method.ok_or(DecodeError::Incomplete)?);
                let arguments = parts.arguments.ok_or(DecodeError::Incomplete)?;
                let read_only = parts.read_only.is_some_and(|ro| ro != 0);
                Body::Query(Query { read_only, ..read_query(method, arguments)? })
            }
            b"r" => Body::Response(read_response(parts.results.ok_or(DecodeError::Incomplete)?)?),
            b"e" => read_error(parts.error.ok_or(DecodeError::Incomplete)?),
            _ => return Err(DecodeError::Malformed),
        };
        Ok(Self { tid, client: parts.client, ip: parts.ip.and_then(read_addr), body })
    }
}

impl<'a> Parts<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        let mut parts = Self::default();
        cursor.dict()?;
        while let Some(key) = cursor.key()? {
            let value = Cursor::new(cursor.value()?);
            match key {
                b"a" => parts.arguments = parts.arguments.or(Some(value)),
                b"r" => parts.results = parts.results.or(Some(value)),
                b"e" => parts.error = parts.error.or(Some(value)),
                b"q" => set(&mut parts.method, value, Cursor::bytes),
                b"y" => set(&mut parts.kind, value, Cursor::bytes),
                b"t" => set(&mut parts.tid, value, Cursor::bytes),
                b"v" => set(&mut parts.client, value, Cursor::bytes),
                b"ip" => set(&mut parts.ip, value, Cursor::bytes),
                b"ro" => set(&mut parts.read_only, value, Cursor::int),
                _ => {}
            }
        }
        Ok(parts)
    }
}

fn set<'a, T>(
    slot: &mut Option<T>,
    mut value: Cursor<'a>,
    read: impl Fn(&mut Cursor<'a>) -> Result<T, DecodeError>,
) {
    if slot.is_none() {
        *slot = read(&mut value).ok();
    }
}

fn array<const N: usize>(cursor: &mut Cursor<'_>) -> Result<[u8; N], DecodeError> {
    cursor.bytes()?.try_into().map_err(|_| DecodeError::Malformed)
}

fn id(cursor: &mut Cursor<'_>) -> Result<Id<20>, DecodeError> {
    array(cursor).map(Id)
}

fn flag(cursor: &mut Cursor<'_>) -> Result<bool, DecodeError> {
    cursor.int().map(|value| value != 0)
}

fn port(cursor: &mut Cursor<'_>) -> Result<u16, DecodeError> {
    u16::try_from(cursor.int()?).map_err(|_| DecodeError::OutOfRange)
}

fn want(cursor: &mut Cursor<'_>) -> Result<Want, DecodeError> {
    let mut want = Want::default();
    cursor.list()?;
    while let Some(item) = cursor.item()? {
        want.v4 |= item == b"2:n4";
        want.v6 |= item == b"2:n6";
    }
    Ok(want)
}

fn raw<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], DecodeError> {
    cursor.value()
}

fn read_query<'a>(method: Method<'a>, mut cursor: Cursor<'a>) -> Result<Query<'a>, DecodeError> {
    let (mut sender, mut implied_port, mut seed, mut noseed, mut scrape) = (None, None, None, None, None);
    let mut query = Query::new(method, Id([0; 20]));
    cursor.dict()?;
    while let Some(key) = cursor.key()? {
        let value = Cursor::new(cursor.value()?);
        match key {
            b"id" => set(&mut sender, value, id),
            b"target" | b"info_hash" => set(&mut query.target, value, id),
            b"token" => set(&mut query.token, value, Cursor::bytes),
            b"port" => set(&mut query.port, value, port),
            b"implied_port" => set(&mut implied_port, value, flag),
            b"seed" => set(&mut seed, value, flag),
            b"noseed" => set(&mut noseed, value, flag),
            b"scrape" => set(&mut scrape, value, flag),
            b"want" => set(&mut query.want, value, want),
            b"cas" => set(&mut query.cas, value, Cursor::int),
            _ => read_item(&mut query.item, key, value),
        }
    }
    query.id = sender.ok_or(DecodeError::Incomplete)?;
    query.implied_port = implied_port.unwrap_or(false);
    query.seed = seed.unwrap_or(false);
    query.noseed = noseed.unwrap_or(false);
    query.scrape = scrape.unwrap_or(false);
    Ok(query)
}

fn read_item<'a>(item: &mut Item<'a>, key: &[u8], value: Cursor<'a>) {
    match key {
        b"k" => set(&mut item.key, value, array),
        b"sig" => set(&mut item.signature, value, array),
        b"seq" => set(&mut item.seq, value, Cursor::int),
        b"salt" => set(&mut item.salt, value, Cursor::bytes),
        b"v" => set(&mut item.value, value, raw),
        _ => {}
    }
}

fn read_response(mut cursor: Cursor<'_>) -> Result<Response<'_>, DecodeError> {
    let (mut sender, mut nodes, mut nodes6, mut values) = (None, None, None, None);
    let (mut seeds, mut downloaders, mut samples) = (None, None, None);
    let (mut interval, mut num) = (None, None);
    let mut response = Response::new(Id([0; 20]));
    cursor.dict()?;
    while let Some(key) = cursor.key()? {
        let value = Cursor::new(cursor.value()?);
        match key {
            b"id" => set(&mut sender, value, id),
            b"nodes" => set(&mut nodes, value, Cursor::bytes),
            b"nodes6" => set(&mut nodes6, value, Cursor::bytes),
            b"token" => set(&mut response.token, value, Cursor::bytes),
            b"values" => set(&mut values, value, items),
            b"BFsd" => set(&mut seeds, value, bloom),
            b"BFpe" => set(&mut downloaders, value, bloom),
            b"samples" => set(&mut samples, value, Cursor::bytes),
            b"interval" => set(&mut interval, value, Cursor::int),
            b"num" => set(&mut num, value, Cursor::int),
            _ => read_item(&mut response.item, key, value),
        }
    }
    response.id = sender.ok_or(DecodeError::Incomplete)?;
    response.nodes = nodes.map(|packed| Nodes::from_packed(Family::V4, packed));
    response.nodes6 = nodes6.map(|packed| Nodes::from_packed(Family::V6, packed));
    response.values = values.unwrap_or_default();
    response.blooms = seeds.zip(downloaders);
    response.samples = samples.map(|packed| Samples {
        packed,
        interval: interval.and_then(|interval| interval.try_into().ok()).unwrap_or(u16::MAX),
        num: num.and_then(|num| num.try_into().ok()).unwrap_or_default(),
    });
    Ok(response)
}

fn items<'a>(cursor: &mut Cursor<'a>) -> Result<Values<'a>, DecodeError> {
    cursor.list()?;
    // The list was read whole before, so that the last byte is its end.
    let items = cursor.rest().split_last().map_or(&[][..], |(_, items)| items);
    Ok(Values::from_items(items))
}

fn bloom<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8; BLOOM_LEN], DecodeError> {
    cursor.bytes()?.try_into().map_err(|_| DecodeError::Malformed)
}

/// Reads the code and the text; whatever form a refusal has, it is one.
fn read_error(mut cursor: Cursor<'_>) -> Body<'_> {
    let listed = cursor.list().is_ok();
    let code = cursor.int().ok().filter(|_| listed).unwrap_or_default();
    Body::Error(code, cursor.bytes().unwrap_or_default())
}
