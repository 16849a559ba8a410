//! Servers among each other: whatever way frames take, they end up with the same.

use std::collections::{BTreeMap, VecDeque};

use arbtest::arbitrary::{Result, Unstructured};
use tooldb::json::Value;
use tooldb::{
    Backfill, Config, Document, Draft, Identity, Key, Kind, LinkId, Shape, Side, Source, UnixMillis,
};

use crate::sim::{Clock, EPOCH, Node, server};
use crate::vectors::identity;

/// Servers, the connections between them, and frames on their way. Each connection delivers in order; which
/// connection delivers next is anybody's guess.
struct Mesh {
    nodes: Vec<Node>,
    /// Both ends of a connection have its number as their link.
    wires: Vec<(usize, usize)>,
    travelling: BTreeMap<(usize, usize), VecDeque<(LinkId, String)>>,
}

/// The link of a client that each server has.
const CLIENT: LinkId = LinkId(99);

impl Mesh {
    fn new(wires: &[(usize, usize)], count: u16) -> Self {
        let clock = Clock::new();
        let node = |place: u16| {
            let config = Config { backfill: Backfill::Never, ..server(9_400 + place) };
            let seed = u8::try_from(place).unwrap();
            let mut node = Node::new(config, &Identity::from_seed([100 + seed; 32]), clock);
            node.welcome(CLIENT, &Identity::from_seed([200 + seed; 32]));
            node
        };
        let nodes = (0..count).map(node).collect();
        let mut mesh = Self { nodes, wires: wires.to_vec(), travelling: BTreeMap::new() };
        for (number, (dialler, listener)) in wires.iter().enumerate() {
            let link = LinkId(u64::try_from(number).unwrap());
            mesh.nodes[*listener].open(link, Side::Accepted, Source::Trusted);
            mesh.nodes[*dialler].open(link, Side::Dialled, Source::Trusted);
        }
        mesh.settle();
        mesh
    }

    /// Puts on their way what nodes have sent to each other.
    fn collect(&mut self) {
        for (number, (one, two)) in self.wires.iter().enumerate() {
            let link = LinkId(u64::try_from(number).unwrap());
            for (from, to) in [(*one, *two), (*two, *one)] {
                let texts = self.nodes[from].take(link);
                self.travelling
                    .entry((from, to))
                    .or_default()
                    .extend(texts.into_iter().map(|text| (link, text)));
            }
        }
        self.travelling.retain(|_, frames| !frames.is_empty());
    }

    fn deliver(&mut self, way: (usize, usize)) {
        if let Some((link, text)) = self.travelling.get_mut(&way).and_then(VecDeque::pop_front) {
            self.nodes[way.1].hear(link, text);
        }
        self.collect();
    }

    fn deliver_any(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let ways: Vec<_> = self.travelling.keys().copied().collect();
        if !ways.is_empty() {
            self.deliver(*input.choose(&ways)?);
        }
        Ok(())
    }

    /// Delivers everything; conversations that do not end fail the test.
    fn settle(&mut self) {
        self.collect();
        for _ in 0..10_000 {
            let Some(way) = self.travelling.keys().next().copied() else { return };
            self.deliver(way);
        }
        panic!("the servers do not stop talking");
    }

    fn client_says(&mut self, node: usize, text: &str) -> Vec<String> {
        self.nodes[node].hear(CLIENT, text);
        self.settle();
        self.nodes[node].take(CLIENT)
    }
}

const TRIANGLE: &[(usize, usize)] = &[(0, 1), (1, 2), (2, 0)];
const CHAIN: &[(usize, usize)] = &[(0, 1), (1, 2)];

/// One client's next write, with a clock that may be the same as another's.
fn write(input: &mut Unstructured<'_>, documents: &mut BTreeMap<usize, Document>) -> Result<String> {
    let who = input.int_in_range(0..=3)?;
    let names = ["alice", "bob", "carol", "server1"];
    let author = identity(names[who]);
    let time = UnixMillis(EPOCH + input.int_in_range(-5..=5)?);
    let value = Value::Number(f64::from(input.int_in_range(0..=3_u8)?));
    let key = |text: &str| Key::new(text).unwrap();
    let draft = match input.int_in_range(0..=3)? {
        0 => Draft::plain(key(input.choose(&["p1", "p2"])?), value),
        1 => Draft::plain(Key::owned(&author.address(), "own").unwrap(), value),
        2 => Draft::plain(key(input.choose(&["==n1", "==n2"])?), value),
        _ => {
            let document = documents.entry(who).or_insert_with(|| Document::new(Shape::Map));
            document.set(names[who], input.choose(&["x", "y"])?, value);
            Draft { key: key("doc"), value: document.to_value(), kind: Kind::Map }
        }
    };
    let record = draft.sign(time, &author);
    Ok(format!(
        "{{\"type\":\"put\",\"id\":\"{}\",\"to\":[],\"data\":{}}}",
        record.hash().to_hex(),
        record.raw()
    ))
}

fn agree(mesh: &Mesh) {
    let all = Key::new("").unwrap();
    let [first, others @ ..] = mesh.nodes.as_slice() else { panic!("no nodes") };
    let keys = |node: &Node| tooldb::Store::keys(node.replica.store(), &all, 1_000).unwrap();
    for other in others {
        assert_eq!(keys(first), keys(other));
        for key in keys(first) {
            let (one, two) = (first.replica.get(&key).unwrap(), other.replica.get(&key).unwrap());
            let (document, twin) =
                (first.replica.document(&key).unwrap(), other.replica.document(&key).unwrap());
            assert_eq!(document, twin, "{key}");
            if document.is_none() {
                assert_eq!(one, two, "{key}");
            }
        }
    }
}

#[test]
fn servers_end_equal_whatever_way_frames_take() {
    let mut runs = 0;
    arbtest::arbtest(|input| {
        let wires = if input.arbitrary()? { TRIANGLE } else { CHAIN };
        let mut mesh = Mesh::new(wires, 3);
        let mut documents = BTreeMap::new();
        for _ in 0..input.int_in_range(1..=30)? {
            let node = input.int_in_range(0..=2)?;
            let text = write(input, &mut documents)?;
            mesh.nodes[node].hear(CLIENT, text);
            mesh.collect();
            for _ in 0..input.int_in_range(0..=3)? {
                mesh.deliver_any(input)?;
            }
        }
        mesh.settle();
        agree(&mesh);
        runs += 1;
        Ok(())
    })
    .budget_ms(6_000);
    assert!(runs > 20, "{runs}");
}

fn put(name: &str) -> String {
    let record =
        Draft::plain(Key::new(name).unwrap(), Value::Null).sign(UnixMillis(EPOCH), &identity("alice"));
    format!("{{\"type\":\"put\",\"id\":\"put-{name}\",\"to\":[],\"data\":{}}}", record.raw())
}

#[test]
fn a_write_visits_every_server_once() {
    for wires in [TRIANGLE, CHAIN] {
        let mut mesh = Mesh::new(wires, 3);
        mesh.client_says(0, &put("k"));
        for node in &mesh.nodes {
            assert_eq!(node.replica.store().records().len(), 1);
            assert_eq!(node.replica.stats().admitted, 1);
        }
    }
}

#[test]
fn a_question_finds_its_answer_two_servers_away() {
    let mut mesh = Mesh::new(CHAIN, 3);
    // Written before the far server was connected to anybody: nobody relays it.
    let far = Draft::plain(Key::new("far").unwrap(), Value::Number(7.0));
    let record = far.sign(UnixMillis(EPOCH), &identity("alice"));
    mesh.nodes[2].act(|replica, now| replica.put_signed(now, &record).unwrap());
    mesh.nodes[2].sent.clear();
    let answers = mesh.client_says(0, "{\"type\":\"get\",\"to\":[],\"key\":\"far\",\"id\":\"question01\"}");
    assert_eq!(answers.len(), 1);
    assert!(answers[0].contains("\"id\":\"question01\"") && answers[0].contains("\"v\":7"), "{answers:?}");
    assert!(mesh.nodes.iter().all(|node| node.replica.store().records().len() == 1));
}

#[test]
fn questions_that_nobody_can_answer_go_round_once() {
    let mut mesh = Mesh::new(TRIANGLE, 3);
    let answers = mesh.client_says(0, "{\"type\":\"get\",\"to\":[],\"key\":\"none\",\"id\":\"question01\"}");
    assert_eq!(answers, [""; 0]);
    for node in &mut mesh.nodes {
        node.pass(5_000);
        assert_eq!(node.replica.poll_timeout(), None);
    }
}

#[test]
fn keys_of_all_servers_are_gathered_over_two_hops_and_a_silent_one_is_not_waited_for() {
    let mut mesh = Mesh::new(CHAIN, 3);
    for (node, name) in ["a", "b", "c"].into_iter().enumerate() {
        mesh.nodes[node].hear(CLIENT, put(name));
        mesh.nodes[node].sent.clear();
    }
    let query = |id: &str| format!("{{\"type\":\"query\",\"to\":[],\"key\":\"\",\"id\":\"{id}\"}}");
    let answers = mesh.client_says(0, &query("q1"));
    assert_eq!(answers.len(), 1);
    assert!(answers[0].ends_with("\"keys\":[\"a\",\"b\",\"c\"]}"), "{answers:?}");

    mesh.nodes[0].hear(CLIENT, query("q2"));
    mesh.nodes[0].pass(599);
    assert_eq!(mesh.nodes[0].take(CLIENT), [""; 0]);
    mesh.nodes[0].pass(1);
    let answers = mesh.nodes[0].take(CLIENT);
    assert!(answers[0].ends_with("\"keys\":[\"a\"]}"), "{answers:?}");
}

#[test]
fn a_query_that_comes_by_two_ways_is_answered_without_waiting() {
    let mut mesh = Mesh::new(&[(0, 1), (1, 2), (2, 3), (3, 0), (0, 2), (1, 3)], 4);
    for (node, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
        mesh.nodes[node].hear(CLIENT, put(name));
        mesh.nodes[node].sent.clear();
    }
    let answers = mesh.client_says(0, "{\"type\":\"query\",\"to\":[],\"key\":\"\",\"id\":\"q1\"}");
    assert_eq!(answers.len(), 1);
    assert!(answers[0].ends_with("\"keys\":[\"a\",\"b\",\"c\",\"d\"]}"), "{answers:?}");
    assert!(mesh.nodes.iter().all(|node| node.replica.poll_timeout().is_none()));
}

#[test]
fn what_an_owner_wrote_before_their_claim_was_known_is_fetched_with_it() {
    let mut mesh = Mesh::new(&[(0, 1)], 2);
    let write = |value: f64, millis: i64, author: &str| {
        let draft = Draft::plain(Key::new("==n").unwrap(), Value::Number(value));
        let record = draft.sign(UnixMillis(EPOCH + millis), &identity(author));
        format!("{{\"type\":\"put\",\"id\":\"{value}\",\"to\":[],\"data\":{}}}", record.raw())
    };
    // Both claim the name at the same time, and Alice writes again; Bob's claim is the older one.
    mesh.nodes[1].hear(CLIENT, write(1.0, -5, "bob"));
    mesh.nodes[0].hear(CLIENT, write(2.0, -4, "alice"));
    mesh.nodes[0].hear(CLIENT, write(3.0, -1, "alice"));
    mesh.collect();
    mesh.deliver((0, 1));
    mesh.deliver((0, 1));
    assert_eq!(mesh.nodes[1].replica.stats().rejected, 2);
    // Before server 0 hears of that, Alice's other device brings what she wrote first of all.
    mesh.nodes[0].hear(CLIENT, write(4.0, -9, "alice"));
    mesh.settle();
    agree(&mesh);
    let record = mesh.nodes[1].replica.get(&Key::new("==n").unwrap()).unwrap().unwrap();
    assert_eq!(record.value(), "3");
}

#[test]
fn a_query_is_answered_when_the_last_server_leaves() {
    let mut mesh = Mesh::new(CHAIN, 3);
    mesh.nodes[0].hear(CLIENT, "{\"type\":\"query\",\"to\":[],\"key\":\"\",\"id\":\"q1\"}");
    mesh.nodes[0].close(LinkId(0));
    assert_eq!(mesh.nodes[0].take(CLIENT).len(), 1);
    assert_eq!(mesh.nodes[0].replica.poll_timeout(), None);
}

#[test]
fn servers_further_in_wait_less_so_that_the_first_hears_them_in_time() {
    for (visited, span) in [(1, 600), (2, 450), (3, 300), (4, 150), (9, 150)] {
        let mut mesh = Mesh::new(CHAIN, 3);
        let names: Vec<String> = (0..visited)
            .map(|seed| format!("\"{}\"", Identity::from_seed([seed; 32]).address().client_id()))
            .collect();
        let to = names.join(",");
        mesh.nodes[0]
            .hear(CLIENT, format!("{{\"type\":\"query\",\"to\":[{to}],\"key\":\"\",\"id\":\"q1\"}}"));
        mesh.nodes[0].pass(span - 1);
        assert_eq!(mesh.nodes[0].take(CLIENT), [""; 0], "{visited}");
        mesh.nodes[0].pass(1);
        assert_eq!(mesh.nodes[0].take(CLIENT).len(), 1, "{visited}");
    }
}

#[test]
fn a_relayed_write_passes_by_those_it_visited() {
    let mut mesh = Mesh::new(CHAIN, 3);
    let far = mesh.nodes[1].replica.client_id();
    let relayed = put("k").replace("\"to\":[]", &format!("\"to\":[\"{far}\"]"));
    mesh.nodes[0].hear(CLIENT, relayed);
    assert_eq!(mesh.nodes[0].take(LinkId(0)), [""; 0]);
}
