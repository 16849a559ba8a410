//! Work on files, done in steps between other things, with flat memory.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use chart::{Attachment, AttachmentError, Digest, Now, Private, RecordId, Scope, Sealer, Statement};
use serde_json::{Value, json};

use crate::desk::Reply;
use crate::failure::{Failure, file};
use crate::folder::Folder;
use crate::request::Answer;

/// Bytes of a step: some milliseconds, in which nobody else is heard.
const STEP_LEN: usize = 512 * 1024;
/// Chunks of a step.
const CHUNKS: usize = STEP_LEN / chart::CHUNK_LEN;

/// Work on one file.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) record: RecordId,
    pub(crate) reply: Reply,
    path: PathBuf,
    open: File,
    done: u64,
    total: u64,
    work: Work,
}

#[derive(Debug)]
enum Work {
    Attach { sealer: Option<Sealer>, media_type: String, reason: String },
    Save { attachment: Box<Attachment>, next: u64, state: State },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// What is in the file is a part.
    Partial,
    Whole,
}

impl Drop for Job {
    /// A part of a file would be taken for all of it.
    fn drop(&mut self) {
        if matches!(self.work, Work::Save { state: State::Partial, .. })
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::debug!(%error, "a partial file stays");
        }
    }
}

/// How far a job is.
pub(crate) enum Step {
    More,
    /// Parts have to come first.
    Waits(Digest),
    Done(Value),
    Failed(Failure),
}

impl Job {
    pub(crate) fn attach(
        (record, folder): (RecordId, &mut Folder),
        path: PathBuf,
        (media_type, reason): (String, String),
        reply: Reply,
    ) -> Result<Self, Failure> {
        let open = File::open(&path).map_err(file("open", &path))?;
        let total = open.metadata().map_err(file("read", &path))?.len();
        if total > chart::ATTACHMENT_MAX {
            return Err(chart::TooLarge.into());
        }
        let work = Work::Attach { sealer: Some(folder.chart.attach()), media_type, reason };
        Ok(Self { record, reply, path, open, done: 0, total, work })
    }

    /// Writes an attachment to a file that must not be there yet.
    pub(crate) fn save(
        record: RecordId,
        attachment: Attachment,
        path: PathBuf,
        reply: Reply,
    ) -> Result<Self, Failure> {
        let open = create(&path)?;
        let total = attachment.len;
        let work = Work::Save { attachment: Box::new(attachment), next: 0, state: State::Partial };
        Ok(Self { record, reply, path, open, done: 0, total, work })
    }

    pub(crate) fn step(&mut self, now: Now, folder: &mut Folder) -> Step {
        let outcome = match self.work {
            Work::Attach { .. } => self.push(now, folder),
            Work::Save { .. } => self.write(folder),
        };
        if matches!(outcome, Ok(Step::More)) && self.reply.capacity() > 1 {
            // A reader that is too slow for progress does without; the last place is for the answer.
            drop(self.reply.try_send(Answer::Progress { done: self.done, total: self.total }));
        }
        outcome.unwrap_or_else(Step::Failed)
    }

    fn push(&mut self, now: Now, folder: &mut Folder) -> Result<Step, Failure> {
        let Work::Attach { sealer, media_type, reason } = &mut self.work else { return Ok(Step::More) };
        let mut bytes = Vec::new();
        let limit = u64::try_from(STEP_LEN).expect("512 KiB fit");
        let len = (&self.open).take(limit).read_to_end(&mut bytes).map_err(file("read", &self.path))?;
        if len > 0 {
            if let Some(sealer) = sealer {
                folder.chart.store_parts(sealer.push(&bytes)?)?;
            }
            self.done += u64::try_from(len).expect("512 KiB fit");
            return Ok(Step::More);
        }
        let Some(sealer) = sealer.take() else { return Ok(Step::More) };
        let (attachment, parts) = sealer.finish(file_name(&self.path), media_type.clone());
        folder.chart.store_parts(parts)?;
        let bytes = attachment.len;
        let statement = Statement {
            media_type: "text/plain".into(),
            reason: Private(reason.clone()),
            labels: Private(vec!["file".into()]),
            attachments: vec![attachment],
            ..Statement::default()
        };
        let entry = folder.chart.add(now, Scope::GENERAL, &statement)?;
        Ok(Step::Done(json!({"entry": entry.to_string(), "bytes": bytes})))
    }

    fn write(&mut self, folder: &mut Folder) -> Result<Step, Failure> {
        let Work::Save { attachment, next, state } = &mut self.work else { return Ok(Step::More) };
        for _ in 0..CHUNKS {
            match folder.chart.read_chunk(attachment, *next) {
                Ok(Some(bytes)) => {
                    self.open.write_all(&bytes).map_err(file("write", &self.path))?;
                    *next += 1;
                    self.done += u64::try_from(bytes.len()).expect("a chunk fits");
                }
                Ok(None) => {
                    self.open.sync_all().map_err(file("write", &self.path))?;
                    *state = State::Whole;
                    return Ok(Step::Done(json!({"bytes": self.done, "to": self.path})));
                }
                Err(AttachmentError::Missing) => {
                    folder.chart.fetch(attachment);
                    return Ok(Step::Waits(attachment.root));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Step::More)
    }
}

/// Makes a file that only its owner can read, where there is none.
pub(crate) fn create(path: &Path) -> Result<File, Failure> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(file("create", path))
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
