//! Undoing the `Content-Encoding` of an SDK's request body as it arrives, with hard limits (sentry.md §11.3, §11.5).
//!
//! A [`Decoder`] takes a body in pieces of any size and gives out what it holds in pieces too, so a large body is
//! never in memory as a whole, neither packed nor unpacked. gzip, which every SDK speaks, is undone on the way;
//! deflate, brotli and zstd are kept packed until their end, because their decoders cannot stop half-way or need a
//! window of megabytes: at most 16 MiB for brotli (the format's own bound) and [`MAX_ZSTD_WINDOW`] for zstd, where
//! a header that asks for more is refused.

use std::io::{self, BufRead, Read};

use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::sentry::keep::Pieces;

/// Largest request body as it arrives, in bytes (sentry.md §11.5: 20 MB compressed).
pub const MAX_COMPRESSED: usize = 20 * 1000 * 1000;
/// Largest request body once decoded, in bytes (sentry.md §11.5: 100 MB unpacked).
pub const MAX_DECODED: usize = 100 * 1000 * 1000;
/// Largest window a zstd frame may ask for; every level up to 19 stays within it.
pub const MAX_ZSTD_WINDOW: u64 = 8 * 1024 * 1024;

/// What a gzip decoder takes, in bytes: its window and its tables.
const GZIP_STATE: usize = 48 * 1024;
const CHUNK: usize = 16 * 1024;

/// Why a body could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The encoding is not one of gzip, deflate, br, zstd, identity, or there are several.
    #[error("unsupported content encoding")]
    Unsupported,
    /// The decoded body is larger than allowed.
    #[error("the decoded body is larger than {max} bytes")]
    TooLarge {
        /// The limit, in bytes.
        max: usize,
    },
    /// The compressed stream ends in the middle.
    #[error("the compressed body ends too early")]
    Truncated,
    /// The bytes are not a stream of the encoding named.
    #[error("the body is not valid {0}")]
    Corrupt(&'static str),
}

impl DecodeError {
    /// Stable code for error answers and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unsupported => "unsupported_encoding",
            Self::TooLarge { .. } => "too_large",
            Self::Truncated => "truncated_body",
            Self::Corrupt(_) => "corrupt_body",
        }
    }
}

#[derive(Clone, Copy)]
enum Encoding {
    Identity,
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Encoding {
    fn from_header(header: Option<&str>) -> Result<Self, DecodeError> {
        let name = header.unwrap_or_default().trim();
        let is = |word: &str| name.eq_ignore_ascii_case(word);
        if name.is_empty() || is("identity") {
            Ok(Self::Identity)
        } else if is("gzip") || is("x-gzip") {
            Ok(Self::Gzip)
        } else if is("deflate") {
            Ok(Self::Deflate)
        } else if is("br") {
            Ok(Self::Brotli)
        } else if is("zstd") {
            Ok(Self::Zstd)
        } else {
            Err(DecodeError::Unsupported)
        }
    }
}

/// A body on its way from the bytes that arrive to the bytes that were meant.
///
/// [`feed`](Self::feed) it what arrives and [`read`](Self::read) until nothing comes; after the last piece,
/// [`finish`](Self::finish) it and read again until nothing comes.
pub struct Decoder {
    source: Source,
    decoded: usize,
    max: usize,
}

enum Source {
    /// Nothing has arrived: a connection that says nothing costs nothing.
    Idle(Encoding),
    Plain(Feed),
    Gzip {
        decoder: Box<MultiGzDecoder<Feed>>,
        /// Bytes fed since something came out.
        silent: usize,
    },
    /// Still arriving; decoded at the end.
    Kept(Encoding, Pieces),
    /// Here as a whole.
    Whole {
        name: &'static str,
        reader: Box<dyn Read + Send>,
        packed: usize,
    },
}

impl Decoder {
    /// A decoder for a body with this `Content-Encoding`, which may become `max` bytes.
    ///
    /// `deflate` is taken zlib-wrapped, as the standard says, and raw, as some clients send it.
    ///
    /// # Errors
    /// When the encoding is none that we know.
    pub fn new(encoding: Option<&str>, max: usize) -> Result<Self, DecodeError> {
        Ok(Self {
            source: Source::Idle(Encoding::from_header(encoding)?),
            decoded: 0,
            max,
        })
    }

    /// Takes the next bytes that arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        if let Source::Idle(encoding) = self.source {
            self.source = encoding.start();
        }
        match &mut self.source {
            Source::Plain(feed) => feed.put(bytes),
            Source::Gzip { decoder, silent } => {
                *silent = silent.saturating_add(bytes.len());
                decoder.get_mut().put(bytes);
            }
            Source::Kept(_, kept) => kept.append(bytes),
            Source::Idle(_) | Source::Whole { .. } => {}
        }
    }

    /// Says that nothing more arrives.
    ///
    /// # Errors
    /// When the first bytes show already that the body cannot be decoded.
    pub fn finish(&mut self) -> Result<(), DecodeError> {
        if let Source::Idle(encoding) = self.source {
            self.source = encoding.start();
        }
        match &mut self.source {
            Source::Plain(feed) => feed.ended = true,
            Source::Gzip { decoder, .. } => decoder.get_mut().ended = true,
            Source::Kept(encoding, kept) => {
                let packed = std::mem::take(kept);
                self.source = encoding.open(packed, self.max)?;
            }
            Source::Idle(_) | Source::Whole { .. } => {}
        }
        Ok(())
    }

    /// The next decoded bytes: how many were put into `out`. Nothing means that more must be fed, or, after
    /// [`finish`](Self::finish), the end.
    ///
    /// # Errors
    /// See [`DecodeError`]. After an error the decoder is of no use.
    pub fn read(&mut self, out: &mut [u8]) -> Result<usize, DecodeError> {
        let (name, result) = match &mut self.source {
            Source::Idle(_) | Source::Kept(..) => return Ok(0),
            Source::Plain(feed) => ("identity", feed.read(out)),
            Source::Gzip { decoder, .. } => ("gzip", decoder.read(out)),
            Source::Whole { name, reader, .. } => (*name, reader.read(out)),
        };
        let count = match result {
            Ok(count) => count,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => 0,
                io::ErrorKind::UnexpectedEof => return Err(DecodeError::Truncated),
                io::ErrorKind::FileTooLarge => {
                    return Err(DecodeError::TooLarge { max: self.max });
                }
                _ => return Err(DecodeError::Corrupt(name)),
            },
        };
        if let (Source::Gzip { silent, .. }, true) = (&mut self.source, count > 0) {
            *silent = 0;
        }
        self.decoded = self.decoded.saturating_add(count);
        if self.decoded > self.max {
            return Err(DecodeError::TooLarge { max: self.max });
        }
        Ok(count)
    }

    /// Bytes that came out so far.
    #[must_use]
    pub fn decoded(&self) -> usize {
        self.decoded
    }

    /// Memory that it takes, in bytes, but for the window of brotli or zstd (see [`Self::has_window`]).
    #[must_use]
    pub fn held(&self) -> usize {
        match &self.source {
            Source::Idle(_) => 0,
            Source::Plain(feed) => feed.bytes.capacity(),
            Source::Gzip { decoder, silent } => {
                // A file name and a comment in the header are kept by the decoder.
                let header = decoder.header().map_or(*silent, |header| {
                    let length = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
                    length(header.extra()) + length(header.filename()) + length(header.comment())
                });
                GZIP_STATE + header + decoder.get_ref().bytes.capacity()
            }
            Source::Kept(_, kept) => kept.held(),
            Source::Whole { packed, .. } => *packed,
        }
    }

    /// Memory that it takes at most once so many bytes more have been fed.
    #[must_use]
    pub fn held_with(&self, more: usize) -> usize {
        match &self.source {
            Source::Kept(_, kept) => kept.held_with(more),
            // Once as it waits, once as a part of the gzip header.
            Source::Idle(Encoding::Gzip) => GZIP_STATE + 2 * more,
            Source::Gzip { .. } => self.held() + 2 * more,
            Source::Idle(_) | Source::Plain(_) | Source::Whole { .. } => self.held() + more,
        }
    }

    /// Whether reading takes megabytes for a window.
    #[must_use]
    pub fn has_window(&self) -> bool {
        matches!(self.source, Source::Whole { .. })
    }

    /// Whether the bytes that come out are those that went in.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        matches!(
            self.source,
            Source::Plain(_) | Source::Idle(Encoding::Identity)
        )
    }
}

impl Encoding {
    fn start(self) -> Source {
        match self {
            Self::Identity => Source::Plain(Feed::default()),
            Self::Gzip => Source::Gzip {
                decoder: Box::new(MultiGzDecoder::new(Feed::default())),
                silent: 0,
            },
            Self::Deflate | Self::Brotli | Self::Zstd => Source::Kept(self, Pieces::default()),
        }
    }

    /// A body that is here as a whole.
    fn open(self, body: Pieces, max: usize) -> Result<Source, DecodeError> {
        let packed = body.held();
        let (name, reader): (_, Box<dyn Read + Send>) = match (self, body.peek::<2>()) {
            (_, (_, 0)) | (Self::Deflate, (_, 1)) => return Err(DecodeError::Truncated),
            // Raw deflate can look like a zlib header only with a block whose padding is not zero; nobody writes one.
            (Self::Deflate, (head @ [cmf, _], _))
                if cmf & 0x0f == 8 && u16::from_be_bytes(head).is_multiple_of(31) =>
            {
                ("deflate", Box::new(ZlibDecoder::new(body)))
            }
            (Self::Deflate, _) => ("deflate", Box::new(DeflateDecoder::new(body))),
            // The "large window" variant, which no browser sends: its windows reach a gigabyte.
            (Self::Brotli, ([bits, _], _)) if bits & 0x7f == 0x11 => {
                return Err(DecodeError::Corrupt("brotli"));
            }
            (Self::Brotli, _) => {
                let reader = brotli_decompressor::Decompressor::new(NoEnd(body), CHUNK);
                ("brotli", Box::new(reader))
            }
            (Self::Zstd, _) => {
                let frame = None;
                ("zstd", Box::new(Zstd { body, frame, max }))
            }
            // The others are never kept.
            (Self::Identity | Self::Gzip, _) => return Err(DecodeError::Unsupported),
        };
        Ok(Source::Whole {
            name,
            reader,
            packed,
        })
    }
}

/// Bytes that arrived and wait to be read; a reader that finds none is told to come back, until the end is known.
#[derive(Default)]
struct Feed {
    bytes: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Feed {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.reserve_exact(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }
}

impl BufRead for Feed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at >= self.bytes.len() && !self.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(self.bytes.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.at = self.at.saturating_add(count);
        if self.at >= self.bytes.len() {
            // Between two pieces nothing is held: most connections wait for the other side.
            self.bytes = Vec::new();
            self.at = 0;
        }
    }
}

impl Read for Feed {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(out)?;
        self.consume(count);
        Ok(count)
    }
}

/// Input whose end is an error: the brotli decoder only asks for more when the stream is cut.
struct NoEnd(Pieces);

impl Read for NoEnd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            other => other,
        }
    }
}

/// Zstandard: any number of frames one after the other; skippable frames are skipped (RFC 8878 §3.1).
struct Zstd {
    body: Pieces,
    frame: Option<FrameDecoder>,
    max: usize,
}

impl Zstd {
    /// Starts the next frame that holds data; nothing at the end.
    fn next_frame(&mut self) -> io::Result<Option<FrameDecoder>> {
        loop {
            let (head, length) = self.body.peek::<ZSTD_HEADER>();
            let head = head.get(..length).unwrap_or_default();
            if head.is_empty() {
                return Ok(None);
            }
            match zstd_frame(head)? {
                ZstdFrame::Skippable(length) if length <= self.body.len() => {
                    io::copy(&mut (&mut self.body).take(length as u64), &mut io::sink())?;
                }
                ZstdFrame::Skippable(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
                ZstdFrame::Data { window } if window > MAX_ZSTD_WINDOW.max(self.max as u64) => {
                    return Err(io::ErrorKind::FileTooLarge.into());
                }
                ZstdFrame::Data { window } if window > MAX_ZSTD_WINDOW => {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                ZstdFrame::Data { .. } => {
                    let mut frame = FrameDecoder::new();
                    let begun = frame.init(&mut self.body);
                    begun.map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))?;
                    return Ok(Some(frame));
                }
            }
        }
    }
}

impl Read for Zstd {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let frame = match &mut self.frame {
                Some(frame) => frame,
                None => match self.next_frame()? {
                    Some(frame) => self.frame.insert(frame),
                    None => return Ok(0),
                },
            };
            while frame.can_collect() < out.len() && !frame.is_finished() {
                let wanted = BlockDecodingStrategy::UptoBytes(out.len() - frame.can_collect());
                frame
                    .decode_blocks(&mut self.body, wanted)
                    .map_err(|error| zstd_error(&error))?;
            }
            match frame.read(out)? {
                0 => self.frame = None,
                count => return Ok(count),
            }
        }
    }
}

/// Tells a stream that ends early from one that is wrong, which the decoder reports alike.
fn zstd_error(error: &(dyn std::error::Error + 'static)) -> io::Error {
    let mut cause = Some(error);
    while let Some(inner) = cause {
        let ended = inner
            .downcast_ref::<io::Error>()
            .is_some_and(|io| io.kind() == io::ErrorKind::UnexpectedEof);
        if ended {
            return io::ErrorKind::UnexpectedEof.into();
        }
        cause = inner.source();
    }
    io::ErrorKind::InvalidData.into()
}

/// Largest header of a frame, in bytes (RFC 8878 §3.1.1): magic number, descriptor, window, dictionary, content size.
const ZSTD_HEADER: usize = 4 + 1 + 1 + 4 + 8;

enum ZstdFrame {
    /// Whole length of the frame, in bytes.
    Skippable(usize),
    /// Bytes the decoder would allocate.
    Data { window: u64 },
}

/// Reads a frame header just far enough to know what it will cost (RFC 8878 §3.1.1.1).
fn zstd_frame(body: &[u8]) -> io::Result<ZstdFrame> {
    let (magic, rest) = body
        .split_first_chunk::<4>()
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    let magic = u32::from_le_bytes(*magic);
    if magic & 0xffff_fff0 == 0x184d_2a50 {
        let length = rest
            .first_chunk::<4>()
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        return Ok(ZstdFrame::Skippable(length.saturating_add(8)));
    }
    if magic != 0xfd2f_b528 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let (&descriptor, rest) = rest.split_first().ok_or(io::ErrorKind::UnexpectedEof)?;
    let single_segment = descriptor & 0x20 != 0;
    if !single_segment {
        let window = *rest.first().ok_or(io::ErrorKind::UnexpectedEof)?;
        let base = 1_u64 << (10 + (window >> 3));
        return Ok(ZstdFrame::Data {
            window: base + (base / 8) * u64::from(window & 7),
        });
    }
    let dictionary = [0, 1, 2, 4]
        .get(usize::from(descriptor & 3))
        .copied()
        .unwrap_or_default();
    let rest = rest.get(dictionary..).ok_or(io::ErrorKind::UnexpectedEof)?;
    let (size, add) = match descriptor >> 6 {
        0 => (1, 0),
        1 => (2, 256),
        2 => (4, 0),
        _ => (8, 0),
    };
    let field = rest.get(..size).ok_or(io::ErrorKind::UnexpectedEof)?;
    let content = field
        .iter()
        .rev()
        .fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
    Ok(ZstdFrame::Data {
        window: content.saturating_add(add),
    })
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
