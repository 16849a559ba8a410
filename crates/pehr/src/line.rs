//! One connection with a peer: two tasks that carry frames between it and the desk.

use std::sync::Arc;
use std::time::Duration;

use chart::{FRAME_MAX, LinkId};
use node::Connection;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time;

use crate::desk::Ask;

/// Time for a peer to read a goodbye; what it does not read by then it never reads.
const FAREWELL: Duration = Duration::from_secs(1);

/// Bytes of a peer's frames that wait for the desk, besides one frame: enough that a write to the disk is for several.
const WAITING_MAX: usize = 512 * 1024;
/// What the shortest frame counts for.
const FRAME_COST: u32 = 64;

/// The desk's end of a connection.
#[derive(Debug)]
pub(crate) struct Line {
    out: mpsc::Sender<Vec<u8>>,
    reader: JoinHandle<()>,
    writer: JoinHandle<()>,
}

impl Line {
    /// Begins to carry. Beyond what may wait for the desk no frames are read, so that the peer has to wait.
    pub(crate) fn start(link: LinkId, mut connection: Connection, asks: &mpsc::Sender<Ask>) -> Self {
        let sender = connection.sender();
        let (out, mut frames) = mpsc::channel::<Vec<u8>>(1);
        let asks_of_writer = asks.clone();
        let writer = tokio::spawn(async move {
            while let Some(frame) = frames.recv().await {
                if sender.send(&frame).await.is_err() || asks_of_writer.send(Ask::Room).await.is_err() {
                    return;
                }
            }
            sender.finish();
        });
        let asks = asks.clone();
        let reader = tokio::spawn(async move {
            let waiting = Arc::new(Semaphore::new(FRAME_MAX + WAITING_MAX));
            while let Some(frame) = connection.recv().await {
                let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
                if frame.len() > FRAME_MAX {
                    break;
                }
                // An empty frame costs something, too.
                let Ok(waits) = Arc::clone(&waiting).acquire_many_owned(len.max(FRAME_COST)).await else {
                    break;
                };
                if asks.send(Ask::Frame { link, frame, waits }).await.is_err() {
                    break;
                }
            }
            // The desk may be gone, and then nobody needs to know.
            drop(asks.send(Ask::Gone(link)).await);
        });
        Self { out, reader, writer }
    }

    /// A place for one frame, if the last has left.
    pub(crate) fn place(&self) -> Option<mpsc::Permit<'_, Vec<u8>>> {
        self.out.try_reserve().ok()
    }

    /// Ends the connection once what waits has left, and soon in any case.
    pub(crate) fn close(self) {
        let Self { out, reader, writer } = self;
        drop(out);
        tokio::spawn(async move {
            time::sleep(FAREWELL).await;
            writer.abort();
            reader.abort();
        });
    }
}
