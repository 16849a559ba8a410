//! DNS messages of local discovery: a codec around `simple-dns`, with the little that is said here.

use std::net::{Ipv4Addr, SocketAddrV4};

use simple_dns::rdata::{RData, SRV, TXT};
use simple_dns::{
    CLASS, CharacterString, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, ResourceRecord, TYPE,
};

/// Bytes of a DNS header.
const HEADER_LEN: usize = 12;
/// Bytes of the shortest question: a root name, type and class.
const QUESTION_LEN_MIN: usize = 5;
/// Bytes of the shortest record: a root name, type, class, time to live and length.
const RECORD_LEN_MIN: usize = 11;
/// Questions and records in a message; `dns-discovery` sends one of each.
const PARTS_MAX: usize = 32;
/// Bytes of a text in a record (RFC 1035, 3.3): its length is one byte.
const TEXT_LEN_MAX: usize = 255;

/// Whether a message asks or answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Query,
    Response,
}

/// A message as far as it concerns local discovery; names are in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: u16,
    pub(crate) kind: Kind,
    /// Names whose texts are asked for.
    pub(crate) questions: Vec<String>,
    pub(crate) texts: Vec<Texts>,
    pub(crate) services: Vec<Service>,
}

/// Texts of the form `key=value` that belong to a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Texts {
    pub(crate) name: String,
    pub(crate) pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// An address that belongs to a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) address: SocketAddrV4,
}

impl Texts {
    /// The last value of a key, as in `dns-discovery`.
    pub(crate) fn get(&self, key: &str) -> Option<&[u8]> {
        self.all(key).last()
    }

    /// Every value of a key.
    pub(crate) fn all(&self, key: &str) -> impl Iterator<Item = &[u8]> {
        self.pairs.iter().filter(move |(k, _)| k == key.as_bytes()).map(|(_, value)| &**value)
    }
}

impl Message {
    /// Reads a message; `None` for what is none. Records of other types are passed over.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if !counts_are_possible(bytes) {
            return None;
        }
        let packet = Packet::parse(bytes).ok()?;
        let kind = if packet.has_flags(PacketFlag::RESPONSE) { Kind::Response } else { Kind::Query };
        let mut message =
            Self { id: packet.id(), kind, questions: Vec::new(), texts: Vec::new(), services: Vec::new() };
        for question in &packet.questions {
            if matches!(question.qtype, QTYPE::TYPE(TYPE::TXT) | QTYPE::ANY) {
                message.questions.push(text(&question.qname));
            }
        }
        for record in packet.answers.iter().chain(&packet.additional_records) {
            message.take(record);
        }
        Some(message)
    }

    fn take(&mut self, record: &ResourceRecord<'_>) {
        let name = text(&record.name);
        if let RData::TXT(texts) = &record.rdata {
            let pairs =
                texts.iter_raw().map(|(key, value)| (key.to_vec(), value.unwrap_or_default().to_vec()));
            self.texts.push(Texts { name, pairs: pairs.collect() });
        } else if let RData::SRV(service) = &record.rdata
            && let Ok(host) = service.target.to_string().parse()
        {
            self.services.push(Service { name, address: SocketAddrV4::new(host, service.port) });
        }
    }
}

fn text(name: &Name<'_>) -> String {
    name.to_string().to_ascii_lowercase()
}

/// Tells whether the bytes can hold as many parts as the header claims, before anybody makes room for them.
fn counts_are_possible(bytes: &[u8]) -> bool {
    let Some((header, rest)) = bytes.split_at_checked(HEADER_LEN) else { return false };
    let count = |at: usize| match header.get(at..at + 2) {
        Some(&[high, low]) => usize::from(high) << 8 | usize::from(low),
        _ => 0,
    };
    let (questions, records) = (count(4), count(6) + count(8) + count(10));
    questions + records <= PARTS_MAX && questions * QUESTION_LEN_MIN + records * RECORD_LEN_MIN <= rest.len()
}

/// A message to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) id: u16,
    pub(crate) form: Form,
    /// The name asked about; answers repeat it.
    pub(crate) question: Option<&'a str>,
    pub(crate) record: Option<Record<'a>>,
}

/// In which of its forms a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A question to everybody on the link.
    MulticastQuery,
    /// An answer to everybody on the link, with authority.
    MulticastResponse,
    /// A question to a server.
    Query,
    /// An answer of a server.
    Response,
}

/// What a message carries: an answer's in the answer section, a query's behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Record<'a> {
    /// Texts of a name.
    Texts { name: &'a str, texts: &'a [String] },
    /// An address of a name.
    Service { name: &'a str, address: SocketAddrV4 },
}

impl Draft<'_> {
    /// Writes the message; `None` where a text or name is too long for DNS, which callers prevent.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let is_query = matches!(self.form, Form::MulticastQuery | Form::Query);
        let mut packet = if is_query { Packet::new_query(self.id) } else { Packet::new_reply(self.id) };
        match self.form {
            Form::Query => packet.set_flags(PacketFlag::RECURSION_DESIRED),
            Form::MulticastResponse => packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER),
            Form::MulticastQuery | Form::Response => {}
        }
        if let Some(name) = self.question {
            let (kind, class) = (QTYPE::TYPE(TYPE::TXT), QCLASS::CLASS(CLASS::IN));
            packet.questions.push(Question::new(Name::new(name).ok()?, kind, class, false));
        }
        let host;
        if let Some(record) = self.record {
            let (name, rdata) = match record {
                Record::Texts { name, texts } => (name, RData::TXT(pack(texts)?)),
                Record::Service { name, address } => {
                    host = address.ip().to_string();
                    let target = Name::new(&host).ok()?;
                    let (priority, weight, port) = (0, 0, address.port());
                    (name, RData::SRV(SRV { priority, weight, port, target }))
                }
            };
            // Time to live 0, as `dns-discovery` has it: nobody caches.
            let record = ResourceRecord::new(Name::new(name).ok()?, CLASS::IN, 0, rdata);
            if is_query { packet.additional_records.push(record) } else { packet.answers.push(record) }
        }
        // Servers must not answer with much more than they were asked with; nobody else saves bytes, so that what
        // is sent is what the reference sends.
        if self.form == Form::Response {
            packet.build_bytes_vec_compressed()
        } else {
            packet.build_bytes_vec()
        }
        .ok()
    }
}

fn pack(texts: &[String]) -> Option<TXT<'_>> {
    let mut packed = TXT::new();
    for text in texts.iter().filter(|text| text.len() <= TEXT_LEN_MAX) {
        packed.add_char_string(CharacterString::new(text.as_bytes()).ok()?);
    }
    Some(packed)
}

/// Tells whether somebody can be reached at an address.
pub(crate) fn is_dialable(address: SocketAddrV4) -> bool {
    let host = address.ip();
    address.port() != 0 && !host.is_unspecified() && !host.is_multicast() && *host != Ipv4Addr::BROADCAST
}
