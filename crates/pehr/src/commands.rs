use std::io::Write as _;
use std::path::{Path, PathBuf};

use pehr::{Draft, Invitee, Kind, Options, Reach, Request, Resident, Spoken, Verdict, control};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{Auditing, Cli, Command, Comparing, Device, Global, Reaching, Saying, Serving};
use crate::demo::{self, Format};
use crate::exit::Failed;
use crate::terminal::{is_yes, lines, picture, progress, secret, word};
use crate::words::words;

const PASSPHRASE: &str = "PEHR_PASSPHRASE";
const FHIR: &str = "application/fhir+json;fhirVersion=4.0";

/// Where and how a command runs.
struct Session {
    global: Global,
    dir: PathBuf,
}

pub(crate) async fn run(cli: Cli) -> Result<(), Failed> {
    let dir = directory(&cli.global)?;
    let session = Session { global: cli.global, dir };
    match cli.command {
        Command::Init { patient, name, born, reach, .. } => {
            let kind = if patient { Kind::Patient } else { Kind::Provider };
            session.init((kind, name), born, &reach).await
        }
        Command::Serve(serving) => session.serve(&serving).await,
        Command::Unlock => {
            let passphrase = session.passphrase("Passphrase")?;
            session.tell(Request::Unlock { passphrase }).await
        }
        Command::Passwd { new_passphrase_file } => {
            let old = session.passphrase("Passphrase")?;
            let new = secret(new_passphrase_file.as_deref(), "PEHR_NEW_PASSPHRASE", "New passphrase")?;
            session.tell(Request::Passwd { old, new: Spoken(new.to_string()) }).await
        }
        Command::Invite { name, role, minutes, days, history } => {
            let invitee = Invitee { name: Spoken(name), role, minutes, days, history };
            session.invite(invitee).await
        }
        Command::Redeem { code, wait } => {
            let code = if code == "-" { std::io::read_to_string(std::io::stdin())? } else { code };
            session.redeem(code, wait).await
        }
        Command::Confirm(comparing) => session.confirm(comparing).await,
        Command::Accept(comparing) => session.accept(comparing).await,
        Command::Audit(auditing) => session.audit(auditing).await,
        Command::Device(device) => session.device(device).await,
        Command::Backup { to, backup_passphrase_file } => {
            let passphrase = own_passphrase(backup_passphrase_file.as_deref())?;
            session.tell(Request::Backup { to: absolute(&to)?, passphrase }).await
        }
        Command::Restore { file, phrase_file, backup_passphrase_file } => {
            let backup_passphrase = own_passphrase(backup_passphrase_file.as_deref())?;
            session.restore(file, phrase_file, backup_passphrase).await
        }
        Command::Net { reach } => match reach_of(&reach) {
            Some(reach) => session.tell(Request::Reach { reach }).await,
            None => session.tell(Request::Net).await,
        },
        Command::Demo => demo::run(if session.global.json { Format::Json } else { Format::Text }).await,
        command => session.tell(plain(command)?).await,
    }
}

/// Commands that are one request and nothing else.
fn plain(command: Command) -> Result<Request, Failed> {
    Ok(match command {
        Command::Lock => Request::Lock,
        Command::Cancel { invitation } => Request::Cancel { invitation },
        Command::People(of) => Request::People { record: of.patient },
        Command::Revoke { person } => Request::Revoke { person },
        Command::Patients => Request::Patients,
        Command::Add { saying, of } => Request::Add { record: of.patient, draft: draft(saying)? },
        Command::Amend { entry, saying, of } => {
            Request::Amend { record: of.patient, entry, draft: draft(saying)? }
        }
        Command::Retract { entry, reason, of } => Request::Retract { record: of.patient, entry, reason },
        Command::List(of) => Request::List { record: of.patient },
        Command::Show { entry, of } => Request::Show { record: of.patient, entry },
        Command::History { entry, of } => Request::History { record: of.patient, entry },
        Command::Attach { file, media_type, reason, of } => {
            Request::Attach { record: of.patient, path: absolute(&file)?, media_type, reason }
        }
        Command::Fetch { entry, number, to, of } => {
            Request::Fetch { record: of.patient, entry, number, to: absolute(&to)? }
        }
        Command::Erase { entry, of } => Request::Erase { record: of.patient, entry },
        Command::Export { to, of } => Request::Export { record: of.patient, to: absolute(&to)? },
        _ => Request::Status,
    })
}

impl Session {
    /// Asks the running process, and prints what it says.
    async fn tell(&self, request: Request) -> Result<(), Failed> {
        let answer = self.ask(&request).await?;
        self.print(&answer, &words(&request, &answer))
    }

    async fn ask(&self, request: &Request) -> Result<Value, Failed> {
        let asked = control::ask(&self.dir, request, progress);
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            answer = asked => Ok(answer?),
            _ = interrupt.recv() => Err(Failed::new("interrupted", "interrupted")),
        }
    }

    fn print(&self, answer: &Value, text: &str) -> Result<(), Failed> {
        let mut out = std::io::stdout().lock();
        if self.global.json {
            writeln!(out, "{answer}")?;
        } else {
            writeln!(out, "{}", text.trim_end())?;
        }
        Ok(out.flush()?)
    }

    fn passphrase(&self, prompt: &str) -> Result<Spoken, Failed> {
        let read = secret(self.global.passphrase_file.as_deref(), PASSPHRASE, prompt)?;
        Ok(Spoken(read.to_string()))
    }

    /// Asks the running process; where none runs, does it here.
    async fn ask_or_do(&self, request: Request) -> Result<Value, Failed> {
        match control::ask(&self.dir, &request, progress).await {
            Err(control::ControlError::NotRunning(_)) => {
                // The process that will be started joins the network; this one only writes.
                let resident = Resident::quiet(&self.dir)?;
                let answer = resident.ask(request).await;
                resident.shutdown().await;
                Ok(answer?)
            }
            asked => Ok(asked?),
        }
    }

    async fn init(
        &self,
        (kind, name): (Kind, String),
        born: Option<String>,
        reach: &Reaching,
    ) -> Result<(), Failed> {
        let passphrase = self.passphrase("Choose a passphrase")?;
        let request = Request::Init { kind, name: Spoken(name), born, passphrase, reach: reach_of(reach) };
        let answer = self.ask_or_do(request).await?;
        let mut text = String::from("The profile is made. Run: pehr serve\n");
        if let Some(phrase) = answer["phrase"].as_str() {
            text.push_str(
                "\nWrite these 24 words on paper. They are shown once, they open everything, and nobody can replace them:\n\n  ",
            );
            text.push_str(phrase);
            text.push('\n');
        }
        self.print(&answer, &text)
    }

    async fn restore(
        &self,
        file: PathBuf,
        phrase_file: Option<PathBuf>,
        backup_passphrase: Option<Spoken>,
    ) -> Result<(), Failed> {
        let is_needed = phrase_file.is_some() || backup_passphrase.is_none();
        let phrase = if is_needed { Some(phrase(phrase_file.as_deref())?) } else { None };
        let passphrase = self.passphrase("Choose a passphrase")?;
        let from = absolute(&file)?;
        let answer = self.ask_or_do(Request::Restore { from, phrase, backup_passphrase, passphrase }).await?;
        self.print(&answer, &format!("{}Run: pehr serve", lines(&answer)))
    }

    async fn serve(&self, Serving { reach, locked }: &Serving) -> Result<(), Failed> {
        let given = self.global.passphrase_file.is_some() || std::env::var_os(PASSPHRASE).is_some();
        let exists = self.dir.join("vault").join("key").exists();
        let is_asked = given || std::io::IsTerminal::is_terminal(&std::io::stdin());
        let passphrase = if exists && !*locked && is_asked {
            Some(secret(self.global.passphrase_file.as_deref(), PASSPHRASE, "Passphrase")?)
        } else {
            None
        };
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let resident = Resident::start(&self.dir, Options { passphrase, reach: reach_of(reach) }).await?;
        let status = resident.ask(Request::Status).await?;
        let text = match (exists, status["locked"].as_bool()) {
            (false, _) => "Ready. There is no profile yet, and nothing is sent to anybody. Run: pehr init",
            (true, Some(true)) => "Ready, and locked. Run: pehr unlock",
            _ => "Ready.",
        };
        let ready = json!({"event": "ready", "status": status});
        self.print(&ready, text)?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        resident.shutdown().await;
        Ok(())
    }

    async fn invite(&self, invitee: Invitee) -> Result<(), Failed> {
        let answer = self.ask(&Request::Invite(invitee)).await?;
        let code = answer["code"].as_str().unwrap_or_default();
        let text = format!(
            "{}\n{code}\n\nThis code works once, until {}. {} still needs your OK: run pehr accept.",
            picture(code).unwrap_or_default(),
            word(&answer["until"]),
            word(&answer["name"]),
        );
        self.print(&answer, &text)
    }

    async fn redeem(&self, code: String, wait: u32) -> Result<(), Failed> {
        let answer = self.ask(&Request::Redeem { code: Spoken(code), wait }).await?;
        let text = format!(
            "The six words are:\n\n  {}\n\nAsk the person who invited you to read theirs. The same? Run: pehr confirm",
            word(&answer["words"])
        );
        self.print(&answer, &text)
    }

    async fn confirm(&self, comparing: Comparing) -> Result<(), Failed> {
        let ours = if comparing.words.is_some() {
            Value::Null
        } else {
            json!("the six words that pehr redeem printed")
        };
        let verdict = match &comparing {
            Comparing { no: true, .. } => Verdict::No,
            // The process knows its own words; what is typed here was read to us by the other.
            Comparing { words: Some(words), .. } => self.compare(words).await?,
            _ if is_yes(&format!("Are {} the same on both sides?", word(&ours)))? => Verdict::Yes,
            _ => Verdict::No,
        };
        let answer = self.ask(&Request::Confirm { verdict, wait: comparing.wait }).await?;
        let text = match verdict {
            Verdict::Yes => "You have been let in. The record is on its way: pehr patients",
            Verdict::No => "Stopped. Nothing was shared.",
        };
        differ(verdict, &comparing)?;
        self.print(&answer, text)
    }

    /// Compares words read by the other side with those of the latest redeem.
    async fn compare(&self, words: &str) -> Result<Verdict, Failed> {
        let ours = self.ask(&Request::Words).await?;
        Ok(if same(words, ours["words"].as_str().unwrap_or_default()) { Verdict::Yes } else { Verdict::No })
    }

    async fn accept(&self, comparing: Comparing) -> Result<(), Failed> {
        let waiting = self.ask(&Request::Visitors { wait: comparing.wait }).await?;
        let visitor = &waiting["visitors"][0];
        let ours = visitor["words"].as_str().unwrap_or_default();
        let verdict = match &comparing {
            Comparing { no: true, .. } => Verdict::No,
            Comparing { words: Some(words), .. } if same(words, ours) => Verdict::Yes,
            Comparing { words: Some(_), .. } => Verdict::No,
            _ => {
                let question = format!(
                    "Somebody who says to be {:?} uses the invitation for {:?}.\n\n  {ours}\n\nAsk them to read their six words. The same?",
                    word(&visitor["claims"]),
                    word(&visitor["name"])
                );
                if is_yes(&question)? { Verdict::Yes } else { Verdict::No }
            }
        };
        let invitation = visitor["invitation"].as_str().map(str::to_owned);
        let answer = self.ask(&Request::Accept { invitation, verdict }).await?;
        let text = match verdict {
            Verdict::Yes => "Accepted, as soon as they confirm as well.",
            Verdict::No => "Declined. Nothing was shared.",
        };
        differ(verdict, &comparing)?;
        self.print(&answer, text)
    }

    async fn audit(&self, Auditing { refused, of }: Auditing) -> Result<(), Failed> {
        let request = Request::Audit { record: of.patient };
        let mut answer = self.ask(&request).await?;
        if refused && let Some(deeds) = answer["deeds"].as_array_mut() {
            deeds.retain(|deed| !deed["refused"].is_null() || deed["did"] == "refused");
        }
        self.print(&answer, &words(&request, &answer))
    }

    async fn device(&self, device: Device) -> Result<(), Failed> {
        match device {
            Device::List => self.tell(Request::Devices).await,
            Device::Code { minutes } => self.tell(Request::DeviceCode { minutes }).await,
            Device::Remove { device, phrase_file } => {
                let phrase = phrase(phrase_file.as_deref())?;
                self.tell(Request::DeviceRemove { device, phrase }).await
            }
            Device::Join { code_file, phrase_file, name, reach } => {
                let code = secret(Some(&code_file), "PEHR_DEVICE_CODE", "Code")?;
                let phrase = phrase(phrase_file.as_deref())?;
                let passphrase = self.passphrase("Choose a passphrase")?;
                // The other device is looked for at once, so that a process has to be there.
                self.tell(Request::DeviceJoin {
                    code: Spoken(code.to_string()),
                    phrase,
                    name: Spoken(name),
                    passphrase,
                    reach: reach_of(&reach),
                })
                .await
            }
        }
    }
}

/// The passphrase of a backup, where a file has one.
fn own_passphrase(file: Option<&Path>) -> Result<Option<Spoken>, Failed> {
    let read = file
        .map(|file| secret(Some(file), "PEHR_BACKUP_PASSPHRASE", "Passphrase of the backup"))
        .transpose()?;
    Ok(read.map(|read| Spoken(read.to_string())))
}

fn phrase(file: Option<&Path>) -> Result<Spoken, Failed> {
    let read = secret(file, "PEHR_PHRASE", "Recovery phrase (24 words)")?;
    Ok(Spoken(read.to_string()))
}

/// Words as people type them.
fn same(one: &str, other: &str) -> bool {
    let plain = |text: &str| text.to_lowercase().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    plain(one) == plain(other)
}

/// Words that are not the same are a failure, unless that was said to begin with.
fn differ(verdict: Verdict, comparing: &Comparing) -> Result<(), Failed> {
    if verdict == Verdict::Yes || comparing.no {
        return Ok(());
    }
    Err(Failed::new("words-differ", "the words are not the same: somebody may stand between you"))
}

fn draft(saying: Saying) -> Result<Draft, Failed> {
    let Saying { text, fhir, kind, reason } = saying;
    let (media_type, body) = match (fhir, text) {
        (Some(path), _) if path.as_os_str() == "-" => (FHIR, std::io::read_to_string(std::io::stdin())?),
        (Some(path), _) => {
            let read = std::fs::read_to_string(&path);
            let read = read.map_err(|error| {
                Failed::new("file", format_args!("cannot read {}: {error}", path.display()))
            })?;
            (FHIR, read)
        }
        (None, text) => ("text/plain", text.unwrap_or_default()),
    };
    Ok(Draft { kind, media_type: media_type.into(), body, reason })
}

fn reach_of(reach: &Reaching) -> Option<Reach> {
    match reach {
        Reaching { offline: true, .. } => Some(Reach::Offline),
        Reaching { public: true, .. } => Some(Reach::Public),
        Reaching { bootstrap, .. } if !bootstrap.is_empty() => Some(Reach::Private(bootstrap.clone())),
        _ => None,
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Failed> {
    Ok(std::path::absolute(path)?)
}

fn directory(global: &Global) -> Result<PathBuf, Failed> {
    if let Some(dir) = &global.data_dir {
        return absolute(dir);
    }
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let data = data.or_else(|| Some(home?.join(".local/share")));
    data.map(|data| data.join("pehr"))
        .ok_or_else(|| Failed::new("usage", "there is no home directory; name one with --data-dir"))
}
