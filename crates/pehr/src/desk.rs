//! The desk: one task that owns the vault, its records and every conversation; everybody else sends it messages.
//!
//! A turn takes what waits, writes it to disk, answers those who asked, and only then lets frames leave that tell of it.

mod commands;
mod open;
mod people;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use chart::{LinkId, Now, Root, UnixMillis};
use node::{Connection, DataDir};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time;
use vault::{BackupKey, Cost, Opening, Passphrase, Restoring, Standing, Vault};

use crate::failure::{Failure, file};
use crate::folder::Folder;
use crate::invite::DeviceCode;
use crate::profile::{Kind, Profile, Reach};
use crate::request::{Answer, Request, Spoken};
use crate::rooms::Place;
use crate::view;

pub(crate) use open::{Open, Talk};

/// Messages to the desk that wait; whoever sends one more waits.
pub(crate) const ASKS_MAX: usize = 256;
/// Messages taken in one turn, which share one write to the disk.
const TURN_MAX: usize = 256;
/// How often the desk looks at the clock: days, expiries, those who wait for something.
const LOOK: Duration = Duration::from_millis(250);

pub(crate) type Reply = mpsc::Sender<Answer>;

/// What the desk is told.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Somebody at the socket wants something.
    Request { request: Request, reply: Reply },
    /// A connection was made.
    Arrived { place: Place, connection: Box<Connection> },
    /// Nobody was to be found.
    NobodyAt(Place),
    /// A frame came; what it waits on lets others follow.
    Frame { link: LinkId, frame: Vec<u8>, waits: OwnedSemaphorePermit },
    /// A frame left, and there is room for another.
    Room,
    /// A connection is over.
    Gone(LinkId),
    /// The process ends.
    End,
}

/// The directory, which is ours as long as this lives.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) path: PathBuf,
    pub(crate) dir: Arc<DataDir>,
}

/// Whether an open profile is on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// As the profile says.
    Joins,
    /// Not in this process, which only writes and ends.
    StaysAway,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Desk {
    vault_path: PathBuf,
    home: Home,
    reach: Option<Reach>,
    presence: Presence,
    asks: mpsc::WeakSender<Ask>,
    open: Option<Box<Open>>,
}

/// Both clocks.
pub(crate) fn now() -> Now {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Now { instant: Instant::now(), wall: UnixMillis(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)) }
}

pub(crate) fn answer(reply: &Reply, outcome: Result<Value, Failure>) {
    // Who asked may have gone.
    drop(reply.try_send(Answer::of(outcome)));
}

impl Desk {
    pub(crate) fn new(
        home: Home,
        reach: Option<Reach>,
        presence: Presence,
        asks: mpsc::WeakSender<Ask>,
    ) -> Self {
        let vault_path = home.path.join("vault");
        Self { vault_path, home, reach, presence, asks, open: None }
    }

    pub(crate) async fn run(&mut self, mut asks: mpsc::Receiver<Ask>) {
        loop {
            let wait =
                if self.open.as_ref().is_some_and(|open| open.has_jobs()) { Duration::ZERO } else { LOOK };
            let first = match time::timeout(wait, asks.recv()).await {
                Ok(None) => break,
                Ok(Some(ask)) => Some(ask),
                Err(_) => None,
            };
            let mut going = ControlFlow::Continue(());
            let mut next = first;
            for _ in 0..TURN_MAX {
                let Some(ask) = next else { break };
                going = self.take(ask).await;
                next = if going.is_continue() { asks.try_recv().ok() } else { None };
            }
            if let Some(ask) = next {
                going = self.take(ask).await;
            }
            if let Some(open) = &mut self.open
                && let Err(error) = open.settle()
            {
                // What cannot be written must not be spoken of: the store is closed, and opened again by a person.
                tracing::error!(%error, "the store failed and was closed");
                self.close().await;
            }
            if going.is_break() {
                break;
            }
        }
        self.close().await;
    }

    async fn take(&mut self, ask: Ask) -> ControlFlow<()> {
        match (ask, &mut self.open) {
            (Ask::End, _) => return ControlFlow::Break(()),
            (Ask::Request { request, reply }, _) => self.request(request, reply).await,
            (Ask::Arrived { place, connection }, Some(open)) => open.arrived(place, *connection),
            (Ask::NobodyAt(place), Some(open)) => open.nobody_at(place),
            (Ask::Frame { link, frame, waits }, Some(open)) => {
                open.frame(link, &frame);
                drop(waits);
            }
            (Ask::Gone(link), Some(open)) => open.gone(link),
            (Ask::Room, _) | (_, None) => {}
        }
        ControlFlow::Continue(())
    }

    async fn request(&mut self, request: Request, reply: Reply) {
        let outcome = match (request, &mut self.open) {
            (Request::Status, None) => Ok(self.closed_status()),
            (Request::Init { .. } | Request::DeviceJoin { .. } | Request::Restore { .. }, Some(_)) => {
                Err(Failure::ProfileExists)
            }
            (Request::Init { kind, name, born, passphrase, reach }, None) => {
                self.init((kind, name), born.as_deref(), &passphrase, reach).await
            }
            (Request::DeviceJoin { code, phrase, name, passphrase, reach }, None) => {
                self.join((&code, &phrase), name, &passphrase, reach).await
            }
            (Request::Restore { from, phrase, backup_passphrase, passphrase }, None) => {
                self.restore(&from, (phrase, backup_passphrase), &passphrase).await
            }
            (Request::Unlock { .. }, Some(_)) => Err(Failure::NotLocked),
            (Request::Unlock { passphrase }, None) => self.unlock(&passphrase).await,
            (Request::Lock, _) => {
                self.close().await;
                Ok(json!({"locked": true}))
            }
            (Request::Reach { reach }, Some(open)) => open.reach(reach).await,
            (Request::Net, Some(open)) => open.net().await,
            (request, Some(open)) => return open.request(request, reply),
            (_, None) if Vault::is_in(&self.vault_path) => Err(Failure::Locked),
            (_, None) => Err(Failure::NoProfile),
        };
        answer(&reply, outcome);
    }

    fn closed_status(&self) -> Value {
        let profile = if Vault::is_in(&self.vault_path) { "locked" } else { "none" };
        json!({"profile": profile, "locked": true, "network": "not joined", "sockets": 0})
    }

    async fn init(
        &mut self,
        (kind, name): (Kind, Spoken),
        born: Option<&str>,
        passphrase: &Spoken,
        reach: Option<Reach>,
    ) -> Result<Value, Failure> {
        if born.is_some_and(|born| !view::is_date(born)) {
            return Err(Failure::Invalid {
                what: "the date of birth",
                wanted: "a date that exists, as 1950-02-28",
            });
        }
        if name.0.trim().is_empty() {
            return Err(Failure::Invalid { what: "the name", wanted: "what people call you" });
        }
        let mut vault = self.create(passphrase)?;
        let profile = self.profile(kind, name.clone(), reach);
        profile.save(&vault)?;
        let mut answer = json!({"profile": kind, "name": name.0});
        if kind == Kind::Patient {
            let root = Root::from_bytes(vault::draw()?);
            let mut chart = vault.found(now(), &root)?;
            let statement = chart::Statement {
                media_type: FHIR.into(),
                labels: chart::Private(vec!["demographics".into()]),
                body: chart::Private(view::patient(&name.0, born).into_bytes()),
                ..chart::Statement::default()
            };
            chart.add(now(), chart::Scope::GENERAL, &statement)?;
            chart.flush()?;
            answer["record"] = json!(chart.record().to_string());
            answer["key"] = json!(chart.author().to_string());
            answer["phrase"] = json!(root.phrase().as_str());
            // Its shelf is opened again with the others.
            drop(chart);
        }
        self.enter(vault, profile).await?;
        Ok(answer)
    }

    fn create(&self, passphrase: &Spoken) -> Result<Vault, Failure> {
        if Vault::is_in(&self.vault_path) {
            return Err(Failure::ProfileExists);
        }
        if passphrase.0.is_empty() {
            return Err(Failure::Invalid { what: "the passphrase", wanted: "at least one character" });
        }
        Ok(Vault::create(&self.vault_path, &Passphrase::new(passphrase.0.clone()), Cost::STANDARD)?)
    }

    fn profile(&self, kind: Kind, name: Spoken, reach: Option<Reach>) -> Profile {
        let reach = reach.or_else(|| self.reach.clone()).unwrap_or(Reach::Public);
        Profile { kind, name, reach, ended: std::collections::BTreeSet::new() }
    }

    /// Becomes another device of an owner: what is in the record comes from whoever gave the code.
    async fn join(
        &mut self,
        (code, phrase): (&Spoken, &Spoken),
        name: Spoken,
        passphrase: &Spoken,
        reach: Option<Reach>,
    ) -> Result<Value, Failure> {
        let code = DeviceCode::parse(&code.0)?;
        let root = Root::from_phrase(&phrase.0).map_err(|_| Failure::Phrase)?;
        if root.public() != code.genesis.root {
            return Err(Failure::Phrase);
        }
        let mut vault = self.create(passphrase)?;
        let profile = self.profile(Kind::Patient, name, reach);
        profile.save(&vault)?;
        let record = code.genesis.record();
        let mut chart = vault.join(record, vault::draw()?, Standing::Owner)?;
        chart.enrol(now(), &code.genesis, &root)?;
        chart.flush()?;
        let key = chart.author();
        drop(chart);
        self.enter(vault, profile).await?;
        if let Some(open) = &mut self.open {
            open.joining(record, &code, root)?;
        }
        Ok(json!({"record": record.to_string(), "key": key.to_string()}))
    }

    /// Brings a backup back. A patient's becomes a new device of the record, for which the phrase is needed.
    async fn restore(
        &mut self,
        from: &std::path::Path,
        (phrase, backup_passphrase): (Option<Spoken>, Option<Spoken>),
        passphrase: &Spoken,
    ) -> Result<Value, Failure> {
        let root =
            phrase.map(|phrase| Root::from_phrase(&phrase.0)).transpose().map_err(|_| Failure::Phrase)?;
        let opening = match (&root, backup_passphrase) {
            (_, Some(passphrase)) => Opening::Under(Passphrase::new(passphrase.0.clone())),
            (Some(root), None) => Opening::With(BackupKey::of(root)),
            (None, None) => return Err(Failure::Phrase),
        };
        if passphrase.0.is_empty() {
            return Err(Failure::Invalid { what: "the passphrase", wanted: "at least one character" });
        }
        let file = std::fs::File::open(from).map_err(file("open", from))?;
        let passphrase = Passphrase::new(passphrase.0.clone());
        let to = Restoring { directory: &self.vault_path, passphrase: &passphrase, cost: Cost::STANDARD };
        let vault = vault::restore(file, &opening, to, |_| {})?;
        let profile = Profile::load(&vault)?;
        let mut renewed = 0_usize;
        if let (Kind::Patient, Some(root)) = (profile.kind, &root) {
            for record in vault.records().copied().collect::<Vec<_>>() {
                drop(vault.renew(now(), &record, root)?);
                renewed += 1;
            }
        }
        let records = vault.records().count();
        self.enter(vault, profile).await?;
        Ok(json!({"records": records, "renewed": renewed}))
    }

    async fn unlock(&mut self, passphrase: &Spoken) -> Result<Value, Failure> {
        if !Vault::is_in(&self.vault_path) {
            return Err(Failure::NoProfile);
        }
        let vault = Vault::open(&self.vault_path, &Passphrase::new(passphrase.0.clone()))?;
        let mut profile = Profile::load(&vault)?;
        if let Some(reach) = &self.reach {
            profile.reach = reach.clone();
        }
        self.enter(vault, profile).await?;
        Ok(json!({"locked": false}))
    }

    async fn enter(&mut self, vault: Vault, profile: Profile) -> Result<(), Failure> {
        let mut open = Box::new(Open::new(vault, profile, self.home.clone(), self.asks.clone()));
        for record in open.vault.records().copied().collect::<Vec<_>>() {
            open.folders.insert(record, Folder::open(&open.vault, &record)?);
        }
        if self.presence == Presence::Joins {
            open.connect().await?;
        }
        self.open = Some(open);
        Ok(())
    }

    async fn close(&mut self) {
        if let Some(open) = self.open.take() {
            open.close().await;
        }
    }
}

/// What FHIR R4 is called.
pub(crate) const FHIR: &str = "application/fhir+json;fhirVersion=4.0";
