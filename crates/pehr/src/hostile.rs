//! A provider that does what the original let every invited provider do, so that people and tests can see it refused.
//!
//! It is a member like any other, over a connection like any other; only that it signs what its program should not.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chart::{
    AuthorKey, Certificate, Change, Channel, Chart, Cut, Digest, Event, Grant, Header, History, Hlc,
    Identity, Invitation, LinkId, Message, Operation, PairingState, Piece, Reading, RecordId, Removal,
    Revocation, Role, Scope, SealKey, Secret, Side, Signature, Signed, Version, Visit,
};
use node::{Connection, DialOptions, Node};
use tokio::time;
use vault::{Cost, Passphrase, Shelf, Standing, Vault};

use crate::desk::now;
use crate::failure::Failure;

/// No answer on loopback takes this long.
const PATIENCE: Duration = Duration::from_secs(10);
const LINK: LinkId = LinkId(1);

/// What it tries: the rows of what an invited provider could do to the patient of the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// Puts other words in the place of the patient's.
    Overwrite,
    /// Takes the patient's entry away.
    Delete,
    /// Takes the patient's access away.
    Evict,
    /// Removes the patient's device, with a signature of its own.
    RemoveDevice,
    /// Makes a key of its own one of the owner's devices.
    BecomeOwner,
    /// Lets somebody in.
    LetIn,
    /// Destroys the patient's contents.
    Erase,
    /// Writes in the patient's name.
    Impersonate,
}

impl Attack {
    /// All of them; the last ends the connection.
    pub const ALL: [Self; 8] = [
        Self::Overwrite,
        Self::Delete,
        Self::Evict,
        Self::RemoveDevice,
        Self::BecomeOwner,
        Self::LetIn,
        Self::Erase,
        Self::Impersonate,
    ];

    /// What it does, in words.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Overwrite => "overwrite the patient's entry",
            Self::Delete => "delete the patient's entry",
            Self::Evict => "take the patient's own access away",
            Self::RemoveDevice => "remove the patient's device",
            Self::BecomeOwner => "become an owner",
            Self::LetIn => "let a friend in",
            Self::Erase => "erase the patient's entry",
            Self::Impersonate => "write in the patient's name",
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Hostile {
    node: Node,
    vault: Vault,
    seed: Secret,
    visit: Option<Visit>,
    connection: Option<Connection>,
    chart: Option<Chart<Shelf>>,
    forged: Option<Signed>,
    issuer: Option<AuthorKey>,
    /// Bytes of frames that reached it.
    pub received: u64,
    /// Whether it was told to leave.
    pub ended: Option<chart::Bye>,
}

impl Hostile {
    /// Begins with an empty directory, on a node of its own.
    ///
    /// # Errors
    ///
    /// As the system does.
    pub fn new(node: Node, directory: &Path) -> Result<Self, Failure> {
        let cheap = Cost { memory_kib: 64, passes: 1, lanes: 1 };
        let vault = Vault::create(directory, &Passphrase::new("x".into()), cheap)?;
        Ok(Self {
            node,
            vault,
            seed: vault::draw()?,
            visit: None,
            connection: None,
            chart: None,
            forged: None,
            issuer: None,
            received: 0,
            ended: None,
        })
    }

    /// The key that it signs with.
    #[must_use]
    pub fn key(&self) -> AuthorKey {
        Identity::from_seed(&self.seed).author()
    }

    /// Uses an invitation; returns the six words.
    ///
    /// # Errors
    ///
    /// If it is declined, or nobody answers.
    pub async fn redeem(&mut self, code: &str, name: &str) -> Result<String, Failure> {
        let invitation = Invitation::parse(code).map_err(|_| Failure::Invalid {
            what: "the invitation",
            wanted: "the whole text, as it was given to you",
        })?;
        self.issuer = Some(invitation.issuer);
        let theirs = node::Identity::from_seed(*invitation.waiting_seed().expose()).public_key();
        let own = Arc::new(node::Identity::from_seed(*vault::draw()?.expose()));
        let dial = async {
            loop {
                if let Ok(connection) = self.node.connect(theirs, &own, DialOptions::default()).await {
                    return connection;
                }
                time::sleep(Duration::from_millis(200)).await;
            }
        };
        let connection = time::timeout(PATIENCE, dial).await.map_err(|_| Failure::NobodyThere)?;
        let identity = Identity::from_seed(&self.seed);
        self.visit =
            Some(Visit::new(invitation, connection.binding(), identity, name.into(), &vault::draw()?));
        self.connection = Some(connection);
        match self.pair(|state| matches!(state, PairingState::Compare(_))).await? {
            PairingState::Compare(words) => Ok(words.to_string()),
            _ => Err(Failure::Parted),
        }
    }

    /// Says that the words are the same, and takes in what the record has.
    ///
    /// # Errors
    ///
    /// If it is not let in.
    pub async fn confirm(&mut self) -> Result<(), Failure> {
        if let Some(visit) = &mut self.visit {
            visit.confirm();
        }
        let PairingState::Welcomed(record) =
            self.pair(|state| matches!(state, PairingState::Welcomed(_))).await?
        else {
            return Err(Failure::Parted);
        };
        let mut chart = self.vault.join(record, self.seed.clone(), Standing::Member)?;
        if let Some(issuer) = self.issuer {
            chart.introduce(issuer);
        }
        let binding = self.connection.as_ref().map(Connection::binding).unwrap_or_default();
        // It has no other connection.
        chart.open_link(now(), LINK, Channel { binding, side: Side::Dialer }).map_err(|_| Failure::Parted)?;
        self.chart = Some(chart);
        Ok(())
    }

    async fn pair(&mut self, is_wanted: impl Fn(PairingState) -> bool) -> Result<PairingState, Failure> {
        let (Some(visit), Some(connection)) = (&mut self.visit, &mut self.connection) else {
            return Err(Failure::NobodyWaiting);
        };
        loop {
            while let Some(frame) = visit.poll_transmit() {
                connection.send(&frame).await.map_err(|_| Failure::Parted)?;
            }
            match visit.state() {
                state if is_wanted(state) => return Ok(state),
                PairingState::Declined(why) => return Err(why.into()),
                _ => {}
            }
            let frame = time::timeout(PATIENCE, connection.recv()).await.map_err(|_| Failure::Late)?;
            visit.handle_frame(&frame.ok_or(Failure::Parted)?);
        }
    }

    /// Listens and answers for a while.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn listen(&mut self, time_max: Duration) -> Result<(), Failure> {
        let until = time::Instant::now() + time_max;
        let (Some(chart), Some(connection)) = (&mut self.chart, &mut self.connection) else { return Ok(()) };
        loop {
            while let Some(frame) = chart.poll_transmit(now(), LINK)? {
                if connection.send(&frame).await.is_err() {
                    return Ok(());
                }
            }
            while let Some(event) = chart.poll_event() {
                if let Event::Closed { why, .. } = event {
                    self.ended = Some(why);
                }
            }
            match time::timeout_at(until, connection.recv()).await {
                Err(_) | Ok(None) => return Ok(()),
                Ok(Some(frame)) => {
                    self.received += u64::try_from(frame.len()).unwrap_or(u64::MAX);
                    chart.handle_frame(now(), LINK, &frame)?;
                }
            }
        }
    }

    /// Texts of entries that it can read.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub fn texts(&self) -> Result<Vec<String>, Failure> {
        let Some(chart) = &self.chart else { return Ok(Vec::new()) };
        let mut texts = Vec::new();
        for (_, entry) in chart.entries() {
            for head in entry.heads() {
                if let Reading::Statement(statement) = chart.read(&head)? {
                    texts.push(String::from_utf8_lossy(&statement.body.0).into_owned());
                }
            }
        }
        Ok(texts)
    }

    /// Signs and sends what its program should not.
    ///
    /// # Errors
    ///
    /// If there is nothing to attack yet.
    pub async fn try_to(&mut self, attack: Attack) -> Result<(), Failure> {
        let (Some(chart), Some(issuer)) = (&self.chart, self.issuer) else {
            return Err(Failure::NobodyWaiting);
        };
        let theirs = chart.entries().find_map(|(id, entry)| {
            let head = entry.heads().last()?;
            (chart.header(id)?.author == issuer).then_some((*id, head))
        });
        let (entry, head) = theirs.ok_or_else(|| Failure::NotFound {
            kind: "entry",
            name: String::new(),
            list: "pehr list",
        })?;
        let identity = Identity::from_seed(&self.seed);
        let signed = match attack {
            Attack::Impersonate => {
                let last = chart.log(&issuer).last();
                let operation = version(Change::Creation, None, Vec::new());
                next(chart.record(), issuer, last, operation).sign(&identity)
            }
            other => {
                let last = self.forged.as_ref().or_else(|| chart.log(&identity.author()).last());
                let operation = operation(other, chart, issuer, (entry, head));
                next(chart.record(), identity.author(), last, operation).sign(&identity)
            }
        };
        let frame = Message::Batch(vec![Piece { signed: signed.clone(), content: None }]).encode();
        if attack != Attack::Impersonate {
            self.forged = Some(signed);
        }
        let Some(connection) = &self.connection else { return Err(Failure::Parted) };
        connection.send(&frame).await.map_err(|_| Failure::Parted)
    }
}

fn operation(
    attack: Attack,
    chart: &Chart<Shelf>,
    owner: AuthorKey,
    (entry, head): (Digest, Digest),
) -> Operation {
    let nothing = Cut { height: 0, head: Digest::ZERO };
    let signature = Signature([7; 64]);
    let friend = AuthorKey([9; 32]);
    match attack {
        Attack::Overwrite | Attack::Impersonate => version(Change::Amendment, Some(entry), vec![head]),
        Attack::Delete => version(Change::Retraction, Some(entry), vec![head]),
        Attack::Evict => Operation::Revoke(Revocation { author: owner, cut: nothing }),
        Attack::RemoveDevice => Operation::Remove(Removal { device: owner, cut: nothing, signature }),
        Attack::BecomeOwner => match chart.genesis() {
            Some(genesis) => Operation::Enrol(
                *genesis,
                Certificate { device: chart.author(), seal: SealKey([9; 32]), signature },
            ),
            None => Operation::Erase(vec![entry]),
        },
        Attack::LetIn => Operation::Grant(Grant {
            grantee: friend,
            seal: SealKey([9; 32]),
            role: Role::Contributor,
            history: History::Whole,
            scopes: vec![Scope::GENERAL],
            expires: None,
            quota: 1 << 20,
            invitation: None,
        }),
        Attack::Erase => Operation::Erase(vec![entry]),
    }
}

const fn version(change: Change, entry: Option<Digest>, follows: Vec<Digest>) -> Operation {
    Operation::Version(Version { change, entry, follows, scope: Scope::GENERAL, blobs: Vec::new() })
}

fn next(record: RecordId, author: AuthorKey, last: Option<&Signed>, operation: Operation) -> Header {
    let wall = now().wall;
    let (height, previous, hlc) = last
        .map_or((0, Digest::ZERO, Hlc(0)), |last| (last.header().height + 1, last.id(), last.header().hlc));
    let hlc = Hlc((hlc.0 + 1).max(wall.0 << 16));
    Header { record, author, height, previous, hlc, wall, content: None, operation }
}
