//! Frames as text, members in the order in which the library writes them.

use std::fmt::Write as _;

use super::{Body, Carrier, Frame, Manner, Reply, Role, sync};
use crate::key::Key;
use crate::peer::Peer;

/// Writes one object member by member.
struct Printer(String);

impl Printer {
    fn raw(&mut self, name: &str, value: &str) {
        let separator = if self.0.is_empty() { '{' } else { ',' };
        write!(self.0, "{separator}\"{name}\":{value}").expect("writing to a String cannot fail");
    }

    /// A string that needs no escapes.
    fn bare(&mut self, name: &str, value: &str) {
        self.raw(name, &format!("\"{value}\""));
    }

    fn key(&mut self, name: &str, key: &Key) {
        self.raw(name, "");
        key.print(&mut self.0);
    }

    fn list<T>(&mut self, name: &str, items: &[T], mut print: impl FnMut(&T, &mut String)) {
        self.raw(name, "[");
        for (place, item) in items.iter().enumerate() {
            if place > 0 {
                self.0.push(',');
            }
            print(item, &mut self.0);
        }
        self.0.push(']');
    }

    fn common(&mut self, frame: &Frame<'_>, member: Common) {
        match member {
            Common::Id => self.bare("id", frame.id.as_str()),
            Common::To => self.list("to", &frame.visited.0, |client, out| {
                write!(out, "\"{client}\"").expect("writing to a String cannot fail");
            }),
        }
    }

    fn role(&mut self, role: Role) {
        self.raw("isServer", if role == Role::Server { "true" } else { "false" });
    }

    fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

#[derive(Clone, Copy)]
enum Common {
    Id,
    To,
}

impl Frame<'_> {
    /// The frame's text.
    pub fn encode(&self) -> String {
        let mut out = Printer(String::new());
        self.print(&mut out);
        out.finish()
    }

    fn print(&self, out: &mut Printer) {
        match &self.body {
            Body::Put { carrier, manner, record } => self.print_put(out, *carrier, (*manner, record)),
            Body::Ranges { .. }
            | Body::Items { .. }
            | Body::Need { .. }
            | Body::Given
            | Body::Confirm { .. } => {
                self.print_ours(out);
            }
            Body::FunctionReturn { code, value } => {
                if let Some(value) = value {
                    out.raw("return", value);
                }
                out.bare("type", "functionReturn");
                out.common(self, Common::Id);
                out.bare("code", code.as_str());
                out.common(self, Common::To);
            }
            Body::Ping { client, role, peer } => {
                out.bare("type", "ping");
                out.bare("clientId", client.as_str());
                out.common(self, Common::To);
                out.role(*role);
                out.common(self, Common::Id);
                out.raw("peer", &peer.to_json());
            }
            Body::Pong { client, role, servers } => {
                out.bare("type", "pong");
                out.role(*role);
                out.bare("clientId", client.as_str());
                out.common(self, Common::To);
                out.list("servers", servers, Peer::print);
                out.common(self, Common::Id);
            }
            Body::Get { carrier, key } => {
                out.bare("type", if *carrier == Carrier::Document { "crdtGet" } else { "get" });
                self.print_question(out, key);
            }
            Body::Query { prefix } => {
                out.bare("type", "query");
                self.print_question(out, prefix);
            }
            Body::QueryAck { keys } => {
                out.bare("type", "queryAck");
                out.common(self, Common::Id);
                out.common(self, Common::To);
                out.list("keys", keys, Key::print);
            }
            Body::Subscribe { key } => {
                out.bare("type", "subscribe");
                out.key("key", key);
                out.common(self, Common::To);
                out.common(self, Common::Id);
            }
            Body::Function { name, args } => {
                out.bare("type", "function");
                out.common(self, Common::To);
                out.key("function", name);
                out.raw("args", args);
                out.common(self, Common::Id);
            }
        }
    }

    /// What JavaScript nodes do not know.
    fn print_ours(&self, out: &mut Printer) {
        match &self.body {
            Body::Ranges { list } => {
                self.begin(out, "ranges");
                out.list("list", list, sync::print_range);
            }
            Body::Items { reply, items } => {
                self.begin(out, "items");
                out.raw("reply", if *reply == Reply::Wanted { "true" } else { "false" });
                out.raw("cut", if items.cut { "true" } else { "false" });
                out.list("list", &items.list, sync::print_items);
            }
            Body::Need { keys } => {
                self.begin(out, "need");
                out.list("keys", keys, Key::print);
            }
            Body::Given => {
                self.begin(out, "given");
            }
            Body::Confirm { hash, verdict } => {
                self.begin(out, "confirm");
                out.bare("h", &hash.to_hex());
                out.bare("code", verdict.as_str());
            }
            _ => {}
        }
    }

    fn begin(&self, out: &mut Printer, kind: &str) {
        out.bare("type", kind);
        out.common(self, Common::Id);
        out.common(self, Common::To);
    }

    fn print_question(&self, out: &mut Printer, key: &Key) {
        out.common(self, Common::To);
        out.key("key", key);
        out.common(self, Common::Id);
    }

    fn print_put(&self, out: &mut Printer, carrier: Carrier, (manner, record): (Manner, &str)) {
        let kind = if carrier == Carrier::Document { "crdtPut" } else { "put" };
        match manner {
            Manner::Write | Manner::Confirmed => {
                out.bare("type", kind);
                out.common(self, Common::Id);
                out.common(self, Common::To);
                out.raw("data", record);
                if manner == Manner::Confirmed {
                    out.raw("ack", "true");
                }
            }
            Manner::Answer => {
                out.bare("type", kind);
                out.raw("data", record);
                out.common(self, Common::To);
                out.common(self, Common::Id);
            }
            Manner::Push => {
                out.raw("data", record);
                out.common(self, Common::Id);
                out.bare("type", kind);
                out.common(self, Common::To);
            }
        }
    }
}
