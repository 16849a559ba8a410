use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Keep a health record, share it by invitation, take access back.
#[derive(Debug, Parser)]
#[command(name = "pehr", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed, or refused by the record or by another person
  2    wrong use
  3    nobody there: no pehr is running, the network is off, or the other cannot be reached
  4    this computer refused: directory in use, file unreadable, store damaged
  5    locked, or a wrong passphrase or recovery phrase
  130  interrupted before it was done

ENTRY, PERSON, INVITATION and RECORD are the beginning of a key; a person, an invitation and a record also go by name.
The passphrase is asked for on the terminal, or read from --passphrase-file or from PEHR_PASSPHRASE.";

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// Directory of the profile. [default: ~/.local/share/pehr]
    #[arg(long, global = true, value_name = "DIR", env = "PEHR_DATA_DIR", hide_env_values = true)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// File whose first line is the passphrase.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Log more to standard error; repeats. Nothing about people is logged.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// Where others are looked for.
#[derive(Clone, Debug, Default, Args)]
#[group(multiple = false)]
pub(crate) struct Reaching {
    /// Stay offline: open no socket, send no packet.
    #[arg(long)]
    pub(crate) offline: bool,
    /// Use a network of your own, by its bootstrap nodes; repeats.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) bootstrap: Vec<String>,
    /// Use the public network.
    #[arg(long)]
    pub(crate) public: bool,
}

/// How the process is started.
#[derive(Clone, Debug, Args)]
pub(crate) struct Serving {
    #[command(flatten)]
    pub(crate) reach: Reaching,
    /// Stay locked until pehr unlock.
    #[arg(long)]
    pub(crate) locked: bool,
}

/// Which deeds.
#[derive(Clone, Debug, Args)]
pub(crate) struct Auditing {
    /// Only what was refused.
    #[arg(long)]
    pub(crate) refused: bool,
    #[command(flatten)]
    pub(crate) of: Of,
}

/// Which record.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Of {
    /// Record, by key or by its patient's name; needed where there are several.
    #[arg(long, value_name = "RECORD")]
    pub(crate) patient: Option<String>,
}

/// What is said.
#[derive(Clone, Debug, Args)]
pub(crate) struct Saying {
    /// The text.
    #[arg(required_unless_present = "fhir")]
    pub(crate) text: Option<String>,
    /// File with a FHIR R4 resource in JSON, kept as it is; - reads standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    pub(crate) fhir: Option<PathBuf>,
    /// Category.
    #[arg(long, default_value = "note")]
    pub(crate) kind: String,
    /// Why it is said.
    #[arg(long, default_value = "")]
    pub(crate) reason: String,
}

/// Whether six words were the same on both sides.
#[derive(Clone, Debug, Args)]
pub(crate) struct Comparing {
    /// The words that the other side reads to you; if they differ, it ends. Without them you are asked.
    #[arg(long, value_name = "SIX WORDS")]
    pub(crate) words: Option<String>,
    /// End it: the words differ, or it is not who you expect.
    #[arg(long, conflicts_with = "words")]
    pub(crate) no: bool,
    /// Seconds to wait for the other side.
    #[arg(long, default_value_t = 120)]
    pub(crate) wait: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a profile; from then on this computer is on the network, unless --offline.
    #[command(after_help = "Examples:
  pehr init --patient --name 'Martha Jones' --born 1950-02-28
  pehr init --provider --name 'Dr Smith' --bootstrap 192.0.2.7:49737")]
    Init {
        /// You own a record.
        #[arg(long, required_unless_present = "provider", conflicts_with = "provider")]
        patient: bool,
        /// You are invited to the records of others.
        #[arg(long)]
        provider: bool,
        /// What people call you.
        #[arg(long)]
        name: String,
        /// Date of birth, which becomes part of the record.
        #[arg(long, value_name = "YYYY-MM-DD", conflicts_with = "provider")]
        born: Option<String>,
        #[command(flatten)]
        reach: Reaching,
    },
    /// Run the process that keeps the records; Ctrl-C ends it.
    #[command(after_help = "Examples:
  pehr serve
  pehr serve --offline
  pehr serve --passphrase-file secret.txt")]
    Serve(Serving),
    /// Show how things are.
    #[command(after_help = "Example:\n  pehr status --json")]
    Status,
    /// Open the store of a running process.
    #[command(after_help = "Example:\n  pehr unlock")]
    Unlock,
    /// Close the store and every connection.
    #[command(after_help = "Example:\n  pehr lock")]
    Lock,
    /// Change the passphrase.
    #[command(after_help = "Example:\n  pehr passwd --new-passphrase-file new.txt")]
    Passwd {
        /// File whose first line is the new passphrase.
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
    },
    /// Invite somebody: prints a text and a picture of it, good for one person and once.
    #[command(after_help = "Examples:
  pehr invite 'Dr Smith'
  pehr invite 'Sam' --role reader --days 30 --history from-now")]
    Invite {
        /// What you call them.
        name: String,
        /// reader, contributor or helper.
        #[arg(long, default_value = "contributor")]
        role: String,
        /// Minutes in which the invitation can be used.
        #[arg(long, default_value_t = 60)]
        minutes: u32,
        /// Days after which their access ends.
        #[arg(long)]
        days: Option<u32>,
        /// whole, or from-now: what they may read of the time before.
        #[arg(long, default_value = "whole")]
        history: String,
    },
    /// Take an invitation back.
    #[command(after_help = "Example:\n  pehr cancel 'Dr Smith'")]
    Cancel {
        /// Invitation, by key or by the name that it is for.
        invitation: String,
    },
    /// Use an invitation: prints six words, which you and the one who invited you compare.
    #[command(after_help = "Example:\n  pehr redeem pehr:AEBA…")]
    Redeem {
        /// The text of the invitation; - reads standard input.
        code: String,
        /// Seconds to wait for whoever issued it.
        #[arg(long, default_value_t = 60)]
        wait: u32,
    },
    /// Say that the six words after a redeem were the same.
    #[command(after_help = "Example:\n  pehr confirm --words 'absurd amount doctor acoustic avoid letter'")]
    Confirm(Comparing),
    /// Let somebody in who used your invitation, once the six words are the same.
    #[command(after_help = "Examples:
  pehr accept
  pehr accept --words 'absurd amount doctor acoustic avoid letter'
  pehr accept --no")]
    Accept(Comparing),
    /// Show who can see a record, who could, and who is invited.
    #[command(after_help = "Example:\n  pehr people")]
    People(Of),
    /// End somebody's access, at once.
    #[command(after_help = "Example:\n  pehr revoke 'Dr Smith'")]
    Revoke {
        /// Who.
        person: String,
    },
    /// List the records that are here.
    #[command(after_help = "Example:\n  pehr patients")]
    Patients,
    /// Add an entry.
    #[command(after_help = "Examples:
  pehr add 'Headache since Monday' --kind symptom
  pehr add --fhir allergy.json --kind allergy --patient 'Martha Jones'")]
    Add {
        #[command(flatten)]
        saying: Saying,
        #[command(flatten)]
        of: Of,
    },
    /// Correct an entry: the version before stays readable.
    #[command(after_help = "Example:\n  pehr amend 3f2a 'Headache since Tuesday' --reason 'wrong day'")]
    Amend {
        /// Which.
        entry: String,
        #[command(flatten)]
        saying: Saying,
        #[command(flatten)]
        of: Of,
    },
    /// Hide an entry, with a reason that stays readable.
    #[command(after_help = "Example:\n  pehr retract 3f2a --reason 'of another person'")]
    Retract {
        /// Which.
        entry: String,
        /// Why.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        of: Of,
    },
    /// List the entries.
    #[command(after_help = "Example:\n  pehr list --patient 'Martha Jones'")]
    List(Of),
    /// Show an entry: what was said, by whom, when, and how it came here.
    #[command(after_help = "Example:\n  pehr show 3f2a")]
    Show {
        /// Which.
        entry: String,
        #[command(flatten)]
        of: Of,
    },
    /// Show all versions of an entry.
    #[command(after_help = "Example:\n  pehr history 3f2a")]
    History {
        /// Which.
        entry: String,
        #[command(flatten)]
        of: Of,
    },
    /// Add a file.
    #[command(after_help = "Example:\n  pehr attach scan.pdf --media-type application/pdf")]
    Attach {
        /// The file.
        file: PathBuf,
        /// What it is.
        #[arg(long, default_value = "application/octet-stream")]
        media_type: String,
        /// Why it is added.
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        of: Of,
    },
    /// Bring a file here and write it; goes on where an earlier fetch stopped.
    #[command(after_help = "Example:\n  pehr fetch 3f2a --to scan.pdf")]
    Fetch {
        /// The entry that it belongs to.
        entry: String,
        /// Which of its files.
        #[arg(long, default_value_t = 0)]
        number: usize,
        /// Where to; a file that is there is not overwritten.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        #[command(flatten)]
        of: Of,
    },
    /// Destroy what an entry says, here and, as far as they follow, with everybody else.
    #[command(after_help = "Example:\n  pehr erase 3f2a")]
    Erase {
        /// Which.
        entry: String,
        #[command(flatten)]
        of: Of,
    },
    /// Show what everybody did, and what was refused.
    #[command(after_help = "Examples:\n  pehr audit\n  pehr audit --refused")]
    Audit(Auditing),
    /// Your own devices.
    #[command(subcommand)]
    Device(Device),
    /// Write the entries to a file that other programs read (FHIR R4).
    #[command(after_help = "Example:\n  pehr export --to record.json")]
    Export {
        /// Where to; a file that is there is not overwritten.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        #[command(flatten)]
        of: Of,
    },
    /// Write everything to one encrypted file, which the recovery phrase opens, or a passphrase; `age` opens it, too.
    #[command(after_help = "Examples:
  pehr backup --to record.age
  pehr backup --to records.age --backup-passphrase-file backup.txt")]
    Backup {
        /// Where to; a file that is there is not overwritten.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// File whose first line is a passphrase of the backup's own; a provider needs one.
        #[arg(long, value_name = "FILE")]
        backup_passphrase_file: Option<PathBuf>,
    },
    /// Make a profile of a backup. A patient needs the recovery phrase: this computer becomes a new device.
    #[command(after_help = "Examples:
  pehr restore record.age --phrase-file phrase.txt
  pehr restore records.age --backup-passphrase-file backup.txt")]
    Restore {
        /// The backup.
        file: PathBuf,
        /// File with the 24 words; asked for on the terminal where neither is named.
        #[arg(long, value_name = "FILE")]
        phrase_file: Option<PathBuf>,
        /// File whose first line is the passphrase of the backup.
        #[arg(long, value_name = "FILE")]
        backup_passphrase_file: Option<PathBuf>,
    },
    /// Show the network, or choose another.
    #[command(after_help = "Examples:\n  pehr net\n  pehr net --offline\n  pehr net --public")]
    Net {
        #[command(flatten)]
        reach: Reaching,
    },
    /// Run a patient, providers and strangers on a private network on this computer, and check every step.
    #[command(after_help = "Example:\n  pehr demo")]
    Demo,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Device {
    /// List them.
    #[command(after_help = "Example:\n  pehr device list")]
    List,
    /// Print a code for another device, and wait for it.
    #[command(after_help = "Example:\n  pehr device code --minutes 30")]
    Code {
        /// Minutes in which it can be used.
        #[arg(long, default_value_t = 30)]
        minutes: u32,
    },
    /// Make this computer another device of yours, or the first after a loss, with a code and your recovery phrase.
    #[command(
        after_help = "Example:\n  pehr device join --code-file code.txt --phrase-file phrase.txt --name 'Martha Jones'"
    )]
    Join {
        /// File with the code that another device, or somebody you share with, printed.
        #[arg(long, value_name = "FILE")]
        code_file: PathBuf,
        /// File with the 24 words; asked for on the terminal where it is missing.
        #[arg(long, value_name = "FILE")]
        phrase_file: Option<PathBuf>,
        /// What people call you.
        #[arg(long)]
        name: String,
        #[command(flatten)]
        reach: Reaching,
    },
    /// Take a device away, with your recovery phrase.
    #[command(after_help = "Example:\n  pehr device remove 3f2a --phrase-file phrase.txt")]
    Remove {
        /// Which, by its key.
        device: String,
        /// File with the 24 words; asked for on the terminal where it is missing.
        #[arg(long, value_name = "FILE")]
        phrase_file: Option<PathBuf>,
    },
}
