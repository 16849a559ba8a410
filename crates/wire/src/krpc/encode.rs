use super::{Body, Item, Message, Nodes, Query, Response, Want, write_addr};
use crate::bencode::{write_bytes, write_int};

impl Message<'_> {
    /// Appends the message to `out` in its one canonical form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(b'd');
        match &self.body {
            Body::Query(query) => {
                out.extend_from_slice(b"1:ad");
                query.write_arguments(out);
                out.extend_from_slice(b"e1:q");
                write_bytes(out, query.method.name());
                if query.read_only {
                    out.extend_from_slice(b"2:roi1e");
                }
            }
            Body::Response(response) => {
                self.write_ip(out);
                out.extend_from_slice(b"1:rd");
                response.write_results(out);
                out.push(b'e');
            }
            Body::Error(code, text) => {
                out.extend_from_slice(b"1:el");
                write_int(out, *code);
                write_bytes(out, text);
                out.push(b'e');
                self.write_ip(out);
            }
        }
        entry(out, b"t", self.tid);
        optional(out, b"v", self.client);
        let kind = match self.body {
            Body::Query(_) => b"q",
            Body::Response(_) => b"r",
            Body::Error(..) => b"e",
        };
        entry(out, b"y", kind);
        out.push(b'e');
    }

    fn write_ip(&self, out: &mut Vec<u8>) {
        if let Some(ip) = &self.ip {
            out.extend_from_slice(if ip.is_ipv4() { b"2:ip6:" } else { b"2:ip18:" });
            write_addr(out, ip);
        }
    }
}

impl Query<'_> {
    fn write_arguments(&self, out: &mut Vec<u8>) {
        optional_int(out, b"cas", self.cas);
        entry(out, b"id", &self.id.0);
        if self.port.is_some() || self.implied_port {
            write_bytes(out, b"implied_port");
            write_int(out, i64::from(self.implied_port));
        }
        let by_hash = matches!(self.method.name(), b"get_peers" | b"announce_peer");
        optional(out, b"info_hash", self.target.as_ref().filter(|_| by_hash).map(|id| &id.0[..]));
        optional(out, b"k", self.item.key.as_ref().map(|key| &key[..]));
        optional_int(out, b"noseed", self.noseed.then_some(1));
        optional_int(out, b"port", self.port.map(i64::from));
        optional(out, b"salt", self.item.salt);
        optional_int(out, b"scrape", self.scrape.then_some(1));
        optional_int(out, b"seed", self.seed.then_some(1));
        self.item.write_rest(out);
        optional(out, b"target", self.target.as_ref().filter(|_| !by_hash).map(|id| &id.0[..]));
        optional(out, b"token", self.token);
        self.item.write_value(out);
        if let Some(Want { v4, v6 }) = self.want {
            out.extend_from_slice(b"4:wantl");
            out.extend_from_slice(if v4 { b"2:n4" } else { b"" });
            out.extend_from_slice(if v6 { b"2:n6" } else { b"" });
            out.push(b'e');
        }
    }
}

impl Item<'_> {
    fn write_rest(&self, out: &mut Vec<u8>) {
        optional_int(out, b"seq", self.seq);
        optional(out, b"sig", self.signature.as_ref().map(|signature| &signature[..]));
    }

    fn write_value(&self, out: &mut Vec<u8>) {
        if let Some(value) = self.value {
            out.extend_from_slice(b"1:v");
            out.extend_from_slice(value);
        }
    }
}

impl Response<'_> {
    fn write_results(&self, out: &mut Vec<u8>) {
        if let Some((seeds, downloaders)) = self.blooms {
            entry(out, b"BFpe", downloaders);
            entry(out, b"BFsd", seeds);
        }
        entry(out, b"id", &self.id.0);
        optional_int(out, b"interval", self.samples.map(|samples| i64::from(samples.interval)));
        optional(out, b"k", self.item.key.as_ref().map(|key| &key[..]));
        optional(out, b"nodes", self.nodes.map(|Nodes { packed, .. }| packed));
        optional(out, b"nodes6", self.nodes6.map(|Nodes { packed, .. }| packed));
        optional_int(out, b"num", self.samples.map(|samples| i64::from(samples.num)));
        optional(out, b"samples", self.samples.map(|samples| samples.packed));
        self.item.write_rest(out);
        optional(out, b"token", self.token);
        self.item.write_value(out);
        if !self.values.is_empty() {
            out.extend_from_slice(b"6:valuesl");
            out.extend_from_slice(self.values.items);
            out.push(b'e');
        }
    }
}

fn entry(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    write_bytes(out, key);
    write_bytes(out, value);
}

fn optional(out: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>) {
    if let Some(value) = value {
        entry(out, key, value);
    }
}

fn optional_int(out: &mut Vec<u8>, key: &[u8], value: Option<i64>) {
    if let Some(value) = value {
        write_bytes(out, key);
        write_int(out, value);
    }
}
