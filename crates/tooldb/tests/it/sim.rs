//! A store in memory, a clock that is told the time, and nodes between which frames take any path.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tooldb::{
    Address, Claim, Config, Digest, Endpoint, Event, Identity, Key, LinkId, Now, Record, Replica, Side,
    Source, Span, State, Store, StoreError, Topic, UnixMillis, Write,
};

/// The twin of a store on disk; fails on demand.
#[derive(Debug, Default, Clone)]
pub(crate) struct MemoryStore {
    plain: BTreeMap<Key, Record>,
    envelopes: BTreeMap<Key, Vec<Record>>,
    claims: BTreeMap<Key, Claim>,
    displaced: BTreeMap<(Key, Address), Record>,
    pub(crate) broken: bool,
}

impl MemoryStore {
    pub(crate) fn records(&self) -> Vec<&str> {
        let envelopes = self.envelopes.values().flatten();
        let mut records: Vec<&str> = self.plain.values().chain(envelopes).map(Record::raw).collect();
        records.sort_unstable();
        records
    }
}

impl Store for MemoryStore {
    fn plain(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        Ok(self.plain.get(key).cloned())
    }

    fn envelopes(&self, key: &Key) -> Result<Vec<Record>, StoreError> {
        Ok(self.envelopes.get(key).cloned().unwrap_or_default())
    }

    fn claim(&self, key: &Key) -> Result<Option<Claim>, StoreError> {
        Ok(self.claims.get(key).cloned())
    }

    fn keys(&self, prefix: &Key, limit: usize) -> Result<Vec<Key>, StoreError> {
        let mut keys: Vec<Key> = self.plain.keys().chain(self.envelopes.keys()).cloned().collect();
        keys.retain(|key| key.as_str().starts_with(prefix.as_str()));
        keys.sort();
        keys.dedup();
        keys.truncate(limit);
        Ok(keys)
    }

    fn displaced(&self, key: &Key, author: &Address) -> Result<Option<Record>, StoreError> {
        Ok(self.displaced.get(&(key.clone(), *author)).cloned())
    }

    fn records(&self, key: &Key) -> Result<Vec<Record>, StoreError> {
        let claim = self.claims.get(key).map(|claim| claim.record.clone());
        let envelopes = self.envelopes.get(key).cloned().unwrap_or_default();
        Ok(claim.into_iter().chain(self.plain.get(key).cloned()).chain(envelopes).collect())
    }

    fn states(&self, span: &Span, limit: usize) -> Result<Vec<State>, StoreError> {
        let keys = self.keys(&Key::first(), usize::MAX)?;
        let inside = |key: &Key| *key >= span.from && span.until.as_ref().is_none_or(|until| key < until);
        let states = keys.into_iter().filter(inside).take(limit);
        states.map(|key| Ok(State { digest: self.state(&key)?.unwrap(), key })).collect()
    }

    fn state(&self, key: &Key) -> Result<Option<Digest>, StoreError> {
        let (plain, claim) = (self.plain.get(key), self.claims.get(key).map(|claim| &claim.record));
        let envelopes = self.envelopes.get(key).map(Vec::as_slice).unwrap_or_default();
        let known = plain.is_some() || !envelopes.is_empty();
        Ok(known.then(|| tooldb::digest_of(plain, envelopes, claim)))
    }

    fn author_bytes(&self, author: &Address) -> Result<u64, StoreError> {
        let records = self.plain.values().chain(self.envelopes.values().flatten());
        Ok(records.filter(|record| record.author() == *author).map(|record| record.raw().len() as u64).sum())
    }

    fn write(&mut self, write: Write) -> Result<(), StoreError> {
        if self.broken {
            return Err(StoreError("disk full".into()));
        }
        let (key, claim) = match write {
            Write::Plain { record, claim, displaced } => {
                let key = record.key().clone();
                self.displaced.extend(displaced.map(|record| ((key.clone(), record.author()), record)));
                self.plain.insert(key.clone(), record.into_inner());
                (key, claim)
            }
            Write::Envelope { record, claim, superseded } => {
                let key = record.key().clone();
                let envelopes = self.envelopes.entry(key.clone()).or_default();
                envelopes.retain(|envelope| !superseded.contains(&envelope.hash()));
                envelopes.push(record.into_inner());
                (key, claim)
            }
            Write::Claim { claim } => (claim.record.key().clone(), Some(claim)),
        };
        if let Some(claim) = claim {
            self.claims.insert(key, claim);
        }
        Ok(())
    }
}

/// Both clocks, at zero when the captured conversations began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
    millis: i64,
}

/// The wall clock at time zero of the captured conversations.
pub(crate) const EPOCH: i64 = 1_795_198_888_771;

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "an arbitrary start; only differences are looked at")]
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), millis: 0 }
    }

    pub(crate) fn now(&self) -> Now {
        Now { instant: self.instant(self.millis), wall: UnixMillis(EPOCH + self.millis) }
    }

    fn instant(&self, millis: i64) -> Instant {
        self.start + Duration::from_millis(u64::try_from(millis).unwrap())
    }

    pub(crate) fn millis(&self) -> i64 {
        self.millis
    }
}

/// One replica with everything that came out of it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) replica: Replica<MemoryStore>,
    pub(crate) clock: Clock,
    /// When, over which connection, what.
    pub(crate) sent: Vec<(i64, LinkId, String)>,
    pub(crate) events: Vec<Event>,
}

pub(crate) fn topic() -> Topic {
    Topic::new("test-topic").unwrap()
}

pub(crate) fn server(port: u16) -> Config {
    let config = Config::server(topic(), Endpoint::new("127.0.0.1", port).unwrap());
    Config { upkeep: tooldb::Upkeep::Never, ..config }
}

impl Node {
    pub(crate) fn new(config: Config, identity: &Identity, clock: Clock) -> Self {
        let Some(seed) = identity.to_pkcs8().get(36..68).and_then(|scalar| scalar.try_into().ok()) else {
            unreachable!("a key has a scalar")
        };
        let replica = Replica::new(config, identity.clone(), MemoryStore::default(), (seed, clock.now()));
        Self { replica, clock, sent: Vec::new(), events: Vec::new() }
    }

    fn drain(&mut self) {
        let at = self.clock.millis();
        while let Some((link, text)) = self.replica.poll_send() {
            self.sent.push((at, link, text.to_string()));
        }
        while let Some(event) = self.replica.poll_event() {
            self.events.push(event);
        }
    }

    /// Lets time pass, doing what becomes due when it does.
    pub(crate) fn pass_until(&mut self, millis: i64) {
        while let Some(due) = self.replica.poll_timeout().filter(|due| *due <= self.clock.instant(millis)) {
            let at = due.saturating_duration_since(self.clock.start).as_millis();
            self.clock.millis = self.clock.millis.max(i64::try_from(at).unwrap());
            self.replica.handle_timeout(self.clock.now());
            self.drain();
        }
        self.clock.millis = self.clock.millis.max(millis);
    }

    pub(crate) fn pass(&mut self, millis: i64) {
        self.pass_until(self.clock.millis() + millis);
    }

    pub(crate) fn open(&mut self, link: LinkId, side: Side, source: Source) {
        self.replica.open(self.clock.now(), link, (side, source));
        self.drain();
    }

    pub(crate) fn close(&mut self, link: LinkId) {
        self.replica.closed(self.clock.now(), link);
        self.drain();
    }

    pub(crate) fn hear(&mut self, link: LinkId, text: impl AsRef<[u8]>) {
        self.replica.handle_message(self.clock.now(), link, text.as_ref());
        self.drain();
    }

    pub(crate) fn act<T>(&mut self, act: impl FnOnce(&mut Replica<MemoryStore>, Now) -> T) -> T {
        let result = act(&mut self.replica, self.clock.now());
        self.drain();
        result
    }

    /// Takes what was sent over a connection.
    pub(crate) fn take(&mut self, link: LinkId) -> Vec<String> {
        let (taken, left) = std::mem::take(&mut self.sent).into_iter().partition(|(_, to, _)| *to == link);
        self.sent = left;
        let taken: Vec<(i64, LinkId, String)> = taken;
        taken.into_iter().map(|(_, _, text)| text).collect()
    }

    /// Opens a connection from a client and has it introduce itself; the pong is taken away.
    pub(crate) fn welcome(&mut self, link: LinkId, client: &Identity) {
        self.open(link, Side::Accepted, Source::Stranger);
        let ping = crate::greetings::ping(client, self.clock.now().wall, "false");
        self.hear(link, ping);
        let sent = self.take(link);
        assert!(sent.first().is_some_and(|pong| pong.contains("\"type\":\"pong\"")), "{sent:?}");
    }
}
