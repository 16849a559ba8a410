//! What can be asked of a database.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{broadcast, oneshot};
use tooldb::json::Value;
use tooldb::message::{Code, Verdict};
use tooldb::{
    Admitted, Digest, Document, Draft, Identity, Iv, Key, Kind, PutError, Receipt, Record, Rules, Shape,
    SignInError, Source, StoreError,
};

use super::{Db, Stopped};
use crate::event::Event;
use crate::host;
use crate::import::{Imported, Importer};
use crate::store::{BackupError, Ban, Changes, FeedError, Seq, Token};

/// Why something asked of a database was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The record is not believed, there is no room, or the store failed.
    #[error(transparent)]
    Put(#[from] PutError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store's file failed.
    #[error("the store failed")]
    Database(#[from] redb::Error),
    /// The database was shut down.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// No server said anything in time.
    #[error("no server answered")]
    NoAnswer,
    /// The name is taken.
    #[error("the name is taken")]
    Taken,
    /// There is no such account.
    #[error("there is no such account")]
    NoAccount,
    /// The account does not open.
    #[error(transparent)]
    SignIn(#[from] SignInError),
    /// A name or argument that cannot be one.
    #[error("not a valid {0}")]
    Invalid(&'static str),
    /// The system has no randomness to give.
    #[error("no randomness")]
    Entropy(#[source] std::io::Error),
    /// The directory to import cannot be read.
    #[error("cannot read {}", .0.display())]
    Import(PathBuf, #[source] std::io::Error),
}

/// A record of ours that is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Its hash.
    pub hash: Digest,
    /// What became of it.
    pub admitted: Admitted,
}

/// How long servers are waited for, as in the library.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long servers are waited for when an account is looked for.
const SIGN_IN_PATIENCE: Duration = Duration::from_secs(2);
/// How long a function is waited for.
const CALL_PATIENCE: Duration = Duration::from_secs(10);
/// Values of an import that are taken in one turn, so that others are served meanwhile.
const IMPORT_CHUNK: usize = 256;

impl Db {
    /// Signs a value and keeps it; returns once it is on disk. Servers are sent it now or when they are met.
    ///
    /// # Errors
    ///
    /// If it would not be believed, or cannot be kept.
    pub async fn put(&self, draft: Draft, author: &Identity) -> Result<Kept, Error> {
        let author = author.clone();
        let put = self.with(move |host, now| host.put(now, &draft, &author)).await??;
        self.kept(put).await
    }

    /// Keeps a record that is signed already, like [`put`](Self::put).
    ///
    /// # Errors
    ///
    /// As for [`put`](Self::put).
    pub async fn put_signed(&self, record: Record) -> Result<Kept, Error> {
        let put = self.with(move |host, now| host.put_signed(now, &record)).await??;
        self.kept(put).await
    }

    async fn kept(&self, put: host::Put) -> Result<Kept, Error> {
        self.durable(put.seq).await?;
        Ok(Kept { hash: put.hash, admitted: put.admitted })
    }

    /// Waits until a write is on disk.
    async fn durable(&self, seq: Seq) -> Result<(), Error> {
        let (told, done) = oneshot::channel();
        let ask = move |host: &mut host::Host, _| {
            if host.replica.store().durable() >= seq {
                host::tell(told, ());
            } else {
                host.waiting.tell_after(seq, told);
            }
        };
        self.with(ask).await?;
        done.await.map_err(|_| Stopped.into())
    }

    /// Waits until a server says what became of a record of ours; at once if one has. Servers of the JavaScript
    /// library never say.
    ///
    /// # Errors
    ///
    /// If the database is shut down.
    pub async fn confirmed(&self, hash: Digest) -> Result<Verdict, Error> {
        let (told, verdict) = oneshot::channel();
        let ask = move |host: &mut host::Host, _| {
            if let Some(verdict) = host.waiting.said(hash) {
                host::tell(told, verdict);
            } else {
                host.waiting.sweep();
                host.waiting.verdicts.entry(hash).or_default().push(told);
            }
        };
        self.with(ask).await?;
        verdict.await.map_err(|_| Stopped.into())
    }

    /// Deletes a value as the library's applications do: the newest value is `null`.
    ///
    /// # Errors
    ///
    /// As for [`put`](Self::put).
    pub async fn delete(&self, key: Key, author: &Identity) -> Result<Kept, Error> {
        self.put(Draft::plain(key, Value::Null), author).await
    }

    /// What this node has for a key, without asking anybody.
    ///
    /// # Errors
    ///
    /// If the store failed.
    pub async fn local(&self, key: Key) -> Result<Option<Record>, Error> {
        Ok(self.with(move |host, _| host.replica.get(&key)).await??)
    }

    /// The newest value of a key as far as this node and its servers know: waits for the first server that has
    /// one, or a second.
    ///
    /// # Errors
    ///
    /// If the store failed.
    pub async fn get(&self, key: Key) -> Result<Option<Record>, Error> {
        self.fetch(key.clone(), PATIENCE).await?;
        self.local(key).await
    }

    async fn fetch(&self, key: Key, patience: Duration) -> Result<(), Error> {
        let (told, done) = oneshot::channel();
        let ask = move |host: &mut host::Host, now| {
            host.waiting.sweep();
            if let Some(id) = host.replica.fetch(now, &key) {
                host.waiting.fetches.insert(id, told);
            }
        };
        self.with(ask).await?;
        // Nobody to ask, or nobody who knows: both are answers.
        let answered = tokio::time::timeout(patience, done).await;
        drop(answered);
        Ok(())
    }

    /// The document of a key, merged from what this node and its servers have.
    ///
    /// # Errors
    ///
    /// If the store failed.
    pub async fn document(&self, key: Key) -> Result<Option<Document>, Error> {
        self.fetch(key.clone(), PATIENCE).await?;
        Ok(self.with(move |host, _| host.replica.document(&key)).await??)
    }

    /// Changes a document: `change` is given all that is known of it, and returns it changed.
    ///
    /// # Errors
    ///
    /// As for [`put`](Self::put).
    pub async fn update(
        &self,
        (key, shape): (Key, Shape),
        author: &Identity,
        change: impl FnOnce(&mut Document, &str) + Send,
    ) -> Result<Kept, Error> {
        let known = self.document(key.clone()).await?.filter(|known| known.shape() == shape);
        let mut document = known.unwrap_or_else(|| Document::new(shape));
        change(&mut document, &author.address().to_string());
        let kind = match shape {
            Shape::Map => Kind::Map,
            Shape::List => Kind::List,
        };
        self.put(Draft { key, value: document.to_value(), kind }, author).await
    }

    /// Keys that start with a text, here and at all servers that answer within 600 ms.
    ///
    /// # Errors
    ///
    /// If the store failed.
    pub async fn query(&self, prefix: Key) -> Result<Vec<Key>, Error> {
        let (told, keys) = oneshot::channel();
        let ask = move |host: &mut host::Host, now| {
            host.waiting.sweep();
            let id = host.replica.list(now, prefix)?;
            host.waiting.lists.insert(id, told);
            Ok::<(), StoreError>(())
        };
        self.with(ask).await??;
        keys.await.map_err(|_| Stopped.into())
    }

    /// Asks servers for the result of a function, and returns what the first of them says.
    ///
    /// # Errors
    ///
    /// If no server answers within ten seconds.
    pub async fn call(&self, name: Key, args: String) -> Result<(Code, Option<Box<str>>), Error> {
        let (told, returned) = oneshot::channel();
        let ask = move |host: &mut host::Host, _| {
            host.waiting.sweep();
            if let Some(id) = host.replica.call(name, &args) {
                host.waiting.calls.insert(id, told);
            }
        };
        self.with(ask).await?;
        let returned = tokio::time::timeout(CALL_PATIENCE, returned).await;
        returned.ok().and_then(Result::ok).ok_or(Error::NoAnswer)
    }

    /// Subscribes to a key, here and at every server.
    ///
    /// # Errors
    ///
    /// If there are more subscriptions than a node may have.
    pub async fn subscribe(&self, key: Key) -> Result<Watch, Error> {
        let watch = self.watch(key.clone());
        if self.with(move |host, _| host.replica.subscribe(key)).await? {
            Ok(watch)
        } else {
            Err(Error::Invalid("number of subscriptions"))
        }
    }

    /// Tells of changes at this node of all keys that start with a text.
    pub fn watch(&self, prefix: Key) -> Watch {
        Watch { db: self.clone(), events: self.events(), prefix }
    }

    /// Creates an account, unless one of that name is known here or at a server.
    ///
    /// # Errors
    ///
    /// If the name is taken, or as for [`put`](Self::put).
    pub async fn sign_up(&self, user: &str, password: &str) -> Result<Identity, Error> {
        let key = Key::frozen(user).ok_or(Error::Invalid("name"))?;
        self.fetch(key.clone(), SIGN_IN_PATIENCE).await?;
        if self.local(key).await?.is_some() {
            return Err(Error::Taken);
        }
        let [seed, iv] = [node::seed(), node::seed()].map(|seed| seed.map_err(Error::Entropy));
        let (identity, [iv @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _]) =
            (Identity::from_seed(seed?), iv?);
        let (user, password, new) = (user.to_owned(), password.to_owned(), identity.clone());
        let wall = host::now().wall;
        let sealed = move || tooldb::sign_up(&user, &password, &new, (Iv(iv), wall));
        let record = tokio::task::spawn_blocking(sealed).await.map_err(|_| Stopped)?;
        self.put_signed(record.ok_or(Error::Invalid("name"))?).await?;
        Ok(identity)
    }

    /// Opens an account.
    ///
    /// # Errors
    ///
    /// If there is none, or the password is wrong.
    pub async fn sign_in(&self, user: &str, password: &str) -> Result<Identity, Error> {
        let key = Key::frozen(user).ok_or(Error::Invalid("name"))?;
        if self.local(key.clone()).await?.is_none() {
            self.fetch(key.clone(), SIGN_IN_PATIENCE).await?;
        }
        let record = self.local(key).await?.ok_or(Error::NoAccount)?;
        let receipt = Receipt { now: host::now().wall, source: Source::Trusted, claim: None };
        let record = record.verify(&Rules::default(), &receipt).map_err(PutError::from)?;
        let password = password.to_owned();
        let opened = tokio::task::spawn_blocking(move || tooldb::sign_in(&record, &password));
        Ok(opened.await.map_err(|_| Stopped)??)
    }

    /// Which keys changed since a place in the change feed; from the beginning if none is named.
    ///
    /// # Errors
    ///
    /// If the database was shut down. The inner error tells of tokens of other stores.
    pub async fn changes(
        &self,
        since: Option<Token>,
        limit: usize,
    ) -> Result<Result<Changes, FeedError>, Stopped> {
        self.with(move |host, _| {
            let store = host.replica.store();
            store.changes(since.unwrap_or_else(|| store.beginning()), limit)
        })
        .await
    }

    /// Writes a copy of the store to a file while the database goes on; returns how many keys are in it.
    ///
    /// # Errors
    ///
    /// If the file exists already or cannot be written.
    pub async fn backup(&self, path: &Path) -> Result<Result<u64, BackupError>, Error> {
        let snapshot = self
            .with(|host, _| {
                host.replica.store_mut().sync()?;
                host.replica.store().snapshot().map_err(super::failed)
            })
            .await??;
        let path = path.to_owned();
        let copied = tokio::task::spawn_blocking(move || snapshot.write(&path));
        Ok(copied.await.map_err(|_| Stopped)?)
    }

    /// Bans an author or a network address, or lifts the ban. What a banned author wrote before stays.
    ///
    /// # Errors
    ///
    /// If the name is neither, or the store cannot be written.
    pub async fn ban(&self, name: &str, ban: Ban) -> Result<(), Error> {
        if name.parse::<std::net::IpAddr>().is_err() && tooldb::Address::parse(name).is_none() {
            return Err(Error::Invalid("address of an author or a host"));
        }
        let name = name.to_owned();
        let done = self.with(move |host, _| {
            host.replica.store().set_ban(&name, ban)?;
            match ban {
                Ban::Set => host.enforce(&name),
                Ban::Lifted => host.lift(&name),
            }
            Ok::<(), redb::Error>(())
        });
        Ok(done.await??)
    }

    /// Names that are banned.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub async fn bans(&self) -> Result<Vec<String>, Error> {
        Ok(self.with(|host, _| host.replica.store().bans()).await??)
    }

    /// Takes the records of a JavaScript server's LevelDB directory.
    ///
    /// # Errors
    ///
    /// If the directory cannot be read.
    pub async fn import(&self, directory: &Path) -> Result<Imported, Error> {
        let path = directory.to_owned();
        let read = tokio::task::spawn_blocking(move || Importer::read(&path)).await.map_err(|_| Stopped)?;
        let mut importer = read.map_err(|error| Error::Import(directory.into(), error))?;
        while !importer.is_done() {
            importer = self
                .with(move |host, now| {
                    importer.take(
                        IMPORT_CHUNK,
                        |record| host.replica.put_signed(now, record),
                        &host.identity,
                        now,
                    );
                    importer
                })
                .await?;
            let last = self.with(|host, _| host.replica.store().last()).await?;
            self.durable(last).await?;
        }
        Ok(importer.imported())
    }
}

/// Changes of keys that start with a text.
#[derive(Debug)]
pub struct Watch {
    db: Db,
    events: broadcast::Receiver<Event>,
    prefix: Key,
}

impl Watch {
    /// Waits for the next change; returns the key's record as it is then, or `None` at the end of the database.
    /// Changes that come faster than they are read are passed over, never the latest. Cancellation-safe.
    pub async fn next(&mut self) -> Option<Record> {
        loop {
            let key = match self.events.recv().await {
                Ok(Event::Changed { key, .. }) if key.as_str().starts_with(self.prefix.as_str()) => key,
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => return None,
            };
            if let Some(record) = self.db.local(key).await.ok()? {
                return Some(record);
            }
        }
    }
}
