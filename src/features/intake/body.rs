//! Reading bodies: unpacked and cut apart as they arrive, so that of each only its event is ever held.

use std::time::{Duration, Instant};

use actix_web::web::{Bytes, Payload};
use futures_util::StreamExt;

use super::Form;
use super::budget::{Budget, Reserved};
use super::reply::Refusal;
use crate::sentry::decode::{Decoder, MAX_COMPRESSED, MAX_DECODED};
use crate::sentry::envelope::{Envelope, Header, MAX_LINE, Reader};
use crate::sentry::event::MAX_EVENT;

/// How long a body may take to arrive. The time that it waits here for others does not count.
const ARRIVAL: Duration = Duration::from_secs(30);
/// What a packed body may become on the thread that serves others too, in bytes; what follows waits for its turn.
const INLINE_DECODED: usize = 1_200_000;
/// What a body that has its turn may become before others have theirs, in bytes.
const TURN_DECODED: usize = 4_000_000;
/// Bytes that are decoded at once.
const STEP: usize = 16 * 1024;
/// What the server keeps of a connection that sends faster than we read, in bytes: a full buffer, and as much on its
/// way to us. A body that has sent less has less there.
const IN_TRANSIT: usize = 256 * 1024;
/// What a reader may hold at most, in bytes.
const READER: usize = 2 * MAX_EVENT + 4 * MAX_LINE;

/// A body on its way in.
pub(super) struct Arrival {
    payload: Payload,
    /// Bytes that have arrived, and how long they took.
    arrived: usize,
    took: Duration,
    /// Nothing while they are on another thread, and after an error there.
    parts: Option<Parts>,
}

/// What is held of a body, and the part of the budget that it takes.
struct Parts {
    decoder: Decoder,
    reader: Reader,
    /// Bytes that are taken to be in the server's buffers.
    in_transit: usize,
    reserved: Reserved,
}

/// Why reading stopped.
enum Stop {
    /// Nothing is left to read until more arrives.
    Dry,
    /// The budget must give so many bytes.
    NoRoom(usize),
    /// It takes long, and others wait.
    Long,
}

impl Arrival {
    /// A body of this form, encoding and announced length. A length over the limit is refused before anything is
    /// read.
    pub(super) fn new(
        budget: &Budget,
        payload: Payload,
        announced: Option<usize>,
        form: Form,
        encoding: Option<&str>,
    ) -> Result<Self, Refusal> {
        if announced.is_some_and(|length| length > MAX_COMPRESSED) {
            return Err(Refusal::too_large());
        }
        let parts = Parts {
            decoder: Decoder::new(encoding, MAX_DECODED)?,
            reader: match form {
                Form::Envelope => Reader::default(),
                Form::Store => Reader::for_store(),
            },
            in_transit: 0,
            reserved: budget.reserve(),
        };
        Ok(Self {
            payload,
            arrived: 0,
            took: Duration::ZERO,
            parts: Some(parts),
        })
    }

    /// The header of the envelope, once it has arrived.
    pub(super) fn header(&self) -> Option<&Header> {
        self.parts.as_ref()?.reader.header()
    }

    /// Reads what arrives next; false at the end.
    pub(super) async fn more(&mut self) -> Result<bool, Refusal> {
        let chunk = self.chunk().await?;
        let parts = self.parts.as_mut().ok_or_else(Refusal::internal)?;
        match &chunk {
            None => parts.decoder.finish()?,
            Some(chunk) => {
                self.arrived = self.arrived.saturating_add(chunk.len());
                if self.arrived > MAX_COMPRESSED {
                    return Err(Refusal::too_large());
                }
                parts.in_transit = IN_TRANSIT.min(2 * self.arrived);
                let wanted = parts.decoder.held_with(chunk.len()) + parts.reader.held();
                parts.reserved.resize(wanted + parts.in_transit).await?;
                parts.decoder.feed(chunk);
            }
        }
        let more = chunk.is_some();
        drop(chunk);
        self.read().await?;
        Ok(more)
    }

    /// What arrives next, as it comes; nothing at the end.
    async fn chunk(&mut self) -> Result<Option<Bytes>, Refusal> {
        let since = Instant::now();
        let chunk = tokio::time::timeout(ARRIVAL.saturating_sub(self.took), self.payload.next());
        let chunk = chunk.await.map_err(|_| Refusal::incomplete())?;
        self.took = self.took.saturating_add(since.elapsed());
        chunk.transpose().map_err(|_| Refusal::incomplete())
    }

    /// The whole envelope, and the part of the budget that it takes.
    pub(super) fn finish(self) -> Result<(Envelope, Reserved), Refusal> {
        let parts = self.parts.ok_or_else(Refusal::internal)?;
        Ok((parts.reader.finish()?, parts.reserved))
    }

    /// Reads what has arrived.
    async fn read(&mut self) -> Result<(), Refusal> {
        loop {
            let parts = self.parts.as_mut().ok_or_else(Refusal::internal)?;
            let stop = if parts.takes_long() {
                self.read_elsewhere().await?
            } else {
                parts.read(INLINE_DECODED, true)?
            };
            let parts = self.parts.as_mut().ok_or_else(Refusal::internal)?;
            match stop {
                Stop::Dry => {
                    // Never fails: it is less than what was taken to get here.
                    let _ = parts.reserved.try_resize(parts.held());
                    return Ok(());
                }
                Stop::NoRoom(bytes) => parts.reserved.resize(bytes).await?,
                Stop::Long => {}
            }
        }
    }

    /// Reads on a blocking thread, one body at a time.
    async fn read_elsewhere(&mut self) -> Result<Stop, Refusal> {
        let mut parts = self.parts.take().ok_or_else(Refusal::internal)?;
        // A decoder with a window is not left before its end, so all it can need is taken first.
        let windowed = parts.decoder.has_window();
        if windowed {
            let wanted = parts.decoder.held() + READER + parts.in_transit;
            parts.reserved.resize(wanted).await?;
        }
        let turn = parts.reserved.turn().await?;
        let most = if windowed { MAX_DECODED } else { TURN_DECODED };
        let read = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let stop = parts.read(most, !windowed)?;
            Ok((parts, stop))
        });
        let (parts, stop) = read.await.unwrap_or_else(|_| Err(Refusal::internal()))?;
        self.parts = Some(parts);
        Ok(stop)
    }
}

impl Parts {
    fn takes_long(&self) -> bool {
        let decoder = &self.decoder;
        decoder.has_window() || (!decoder.is_plain() && decoder.decoded() >= INLINE_DECODED)
    }

    fn held(&self) -> usize {
        self.decoder.held() + self.reader.held() + self.in_transit
    }

    /// Decodes and cuts apart until nothing is left or `most` bytes came out. Without `by_step` the caller has taken
    /// the room already.
    fn read(&mut self, most: usize, by_step: bool) -> Result<Stop, Refusal> {
        let mut buffer = [0; STEP];
        let end = self.decoder.decoded().saturating_add(most);
        loop {
            let wanted = self.decoder.held() + self.reader.held_with(STEP) + self.in_transit;
            if by_step && !self.reserved.try_resize(wanted) {
                return Ok(Stop::NoRoom(wanted));
            }
            let count = self.decoder.read(&mut buffer)?;
            if count == 0 {
                return Ok(Stop::Dry);
            }
            self.reader.push(buffer.get(..count).unwrap_or_default())?;
            if self.decoder.decoded() >= end && !self.decoder.is_plain() {
                return Ok(Stop::Long);
            }
        }
    }
}
