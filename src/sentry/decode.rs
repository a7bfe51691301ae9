//! Undoing the `Content-Encoding` of an SDK's request body, with hard limits (sentry.md §11.3, §11.5).
//!
//! The output never grows beyond the limit given, whatever the input claims. Beside the output a
//! decoder holds its window: 32 KiB for gzip and deflate, at most 16 MiB for brotli (the format's own
//! bound) and at most [`MAX_ZSTD_WINDOW`] for zstd, where a header that asks for more is refused.

use std::borrow::Cow;
use std::io::{self, Read};

use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// Largest request body as it arrives, in bytes (sentry.md §11.5: 20 MB compressed).
pub const MAX_COMPRESSED: usize = 20 * 1000 * 1000;
/// Largest request body once decoded, in bytes (sentry.md §11.5: 100 MB unpacked).
pub const MAX_DECODED: usize = 100 * 1000 * 1000;
/// Largest window a zstd frame may ask for; every level up to 19 stays within it.
pub const MAX_ZSTD_WINDOW: u64 = 8 * 1024 * 1024;

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

/// Decodes `body`, which was sent with the `Content-Encoding` given.
///
/// An unencoded body is borrowed. `deflate` is taken zlib-wrapped, as the standard says, and raw, as
/// some clients send it.
///
/// # Errors
/// See [`DecodeError`]; nothing is returned of a body that fails half-way.
pub fn decode<'a>(
    encoding: Option<&str>,
    body: &'a [u8],
    max_out: usize,
) -> Result<Cow<'a, [u8]>, DecodeError> {
    let limit = Limit::new(body, max_out);
    match Encoding::from_header(encoding)? {
        Encoding::Identity if body.len() > max_out => Err(DecodeError::TooLarge { max: max_out }),
        Encoding::Identity => Ok(Cow::Borrowed(body)),
        Encoding::Gzip => limit
            .read_all(MultiGzDecoder::new(body), "gzip")
            .map(Cow::Owned),
        Encoding::Deflate => deflate(body, limit).map(Cow::Owned),
        Encoding::Brotli if body.is_empty() => Err(DecodeError::Truncated),
        // The "large window" variant, which no browser sends: its windows reach a gigabyte.
        Encoding::Brotli if body.first().is_some_and(|bits| bits & 0x7f == 0x11) => {
            Err(DecodeError::Corrupt("brotli"))
        }
        Encoding::Brotli => limit
            .read_all(
                brotli_decompressor::Decompressor::new(NoEnd(body), CHUNK),
                "brotli",
            )
            .map(Cow::Owned),
        Encoding::Zstd => zstd(body, limit).map(Cow::Owned),
    }
}

/// How much may come out of a decoder.
#[derive(Clone, Copy)]
struct Limit {
    max: usize,
    /// First allocation: JSON mostly shrinks three to eight times.
    hint: usize,
}

impl Limit {
    fn new(body: &[u8], max: usize) -> Self {
        Self {
            max,
            hint: body
                .len()
                .saturating_mul(4)
                .clamp(1024, 1024 * 1024)
                .min(max),
        }
    }

    fn read_all(self, source: impl Read, name: &'static str) -> Result<Vec<u8>, DecodeError> {
        let mut out = Vec::with_capacity(self.hint);
        self.read_into(&mut out, source, name)?;
        Ok(out)
    }

    fn read_into(
        self,
        out: &mut Vec<u8>,
        mut source: impl Read,
        name: &'static str,
    ) -> Result<(), DecodeError> {
        let mut chunk = [0; CHUNK];
        loop {
            let count = match source.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(DecodeError::Truncated);
                }
                Err(_) => return Err(DecodeError::Corrupt(name)),
            };
            let wanted = out.len().saturating_add(count);
            if wanted > self.max {
                return Err(DecodeError::TooLarge { max: self.max });
            }
            if wanted > out.capacity() {
                // Doubling by hand: a Vec left alone would double beyond the limit.
                let target = out.capacity().saturating_mul(2).clamp(wanted, self.max);
                out.reserve_exact(target.saturating_sub(out.len()));
            }
            out.extend_from_slice(chunk.get(..count).unwrap_or_default());
        }
    }
}

/// Input whose end is an error: the brotli decoder only asks for more when the stream is cut.
struct NoEnd<'a>(&'a [u8]);

impl Read for NoEnd<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            other => other,
        }
    }
}

fn deflate(body: &[u8], limit: Limit) -> Result<Vec<u8>, DecodeError> {
    let &[cmf, flg, ..] = body else {
        return Err(DecodeError::Truncated);
    };
    let zlib_header = cmf & 0x0f == 8 && u16::from_be_bytes([cmf, flg]).is_multiple_of(31);
    if zlib_header {
        match limit.read_all(ZlibDecoder::new(body), "deflate") {
            // A raw stream can start like a zlib header by chance.
            Err(DecodeError::Corrupt(_)) => {}
            done => return done,
        }
    }
    limit.read_all(DeflateDecoder::new(body), "deflate")
}

/// Zstandard: any number of frames one after the other; skippable frames are skipped (RFC 8878 §3.1).
fn zstd(mut body: &[u8], limit: Limit) -> Result<Vec<u8>, DecodeError> {
    const NAME: &str = "zstd";
    if body.is_empty() {
        return Err(DecodeError::Truncated);
    }
    let mut out = Vec::with_capacity(limit.hint);
    while !body.is_empty() {
        match zstd_frame(body)? {
            ZstdFrame::Skippable(length) => {
                body = body.get(length..).ok_or(DecodeError::Truncated)?
            }
            ZstdFrame::Data { window } if window > MAX_ZSTD_WINDOW.max(limit.max as u64) => {
                return Err(DecodeError::TooLarge { max: limit.max });
            }
            ZstdFrame::Data { window } if window > MAX_ZSTD_WINDOW => {
                return Err(DecodeError::Corrupt(NAME));
            }
            ZstdFrame::Data { .. } => {
                let before = body.len();
                let decoder = ruzstd::decoding::StreamingDecoder::new(&mut body)
                    .map_err(|_| DecodeError::Truncated)?;
                limit.read_into(&mut out, ZstdReader(decoder), NAME)?;
                if body.len() == before {
                    return Err(DecodeError::Corrupt(NAME));
                }
            }
        }
    }
    Ok(out)
}

enum ZstdFrame {
    /// Whole length of the frame, in bytes.
    Skippable(usize),
    /// Bytes the decoder would allocate.
    Data { window: u64 },
}

/// Reads a frame header just far enough to know what it will cost (RFC 8878 §3.1.1.1).
fn zstd_frame(body: &[u8]) -> Result<ZstdFrame, DecodeError> {
    let (magic, rest) = body
        .split_first_chunk::<4>()
        .ok_or(DecodeError::Truncated)?;
    let magic = u32::from_le_bytes(*magic);
    if magic & 0xffff_fff0 == 0x184d_2a50 {
        let length = rest.first_chunk::<4>().ok_or(DecodeError::Truncated)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        return Ok(ZstdFrame::Skippable(length.saturating_add(8)));
    }
    if magic != 0xfd2f_b528 {
        return Err(DecodeError::Corrupt("zstd"));
    }
    let (&descriptor, rest) = rest.split_first().ok_or(DecodeError::Truncated)?;
    let single_segment = descriptor & 0x20 != 0;
    if !single_segment {
        let window = *rest.first().ok_or(DecodeError::Truncated)?;
        let base = 1_u64 << (10 + (window >> 3));
        return Ok(ZstdFrame::Data {
            window: base + (base / 8) * u64::from(window & 7),
        });
    }
    let dictionary = [0, 1, 2, 4]
        .get(usize::from(descriptor & 3))
        .copied()
        .unwrap_or_default();
    let rest = rest.get(dictionary..).ok_or(DecodeError::Truncated)?;
    let (size, add) = match descriptor >> 6 {
        0 => (1, 0),
        1 => (2, 256),
        2 => (4, 0),
        _ => (8, 0),
    };
    let field = rest.get(..size).ok_or(DecodeError::Truncated)?;
    let content = field
        .iter()
        .rev()
        .fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
    Ok(ZstdFrame::Data {
        window: content.saturating_add(add),
    })
}

/// Tells a stream that ends early from one that is wrong, which the decoder reports alike.
struct ZstdReader<R: Read>(R);

impl<R: Read> Read for ZstdReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| {
            let mut cause: Option<&dyn std::error::Error> = error.get_ref().map(|inner| inner as _);
            while let Some(inner) = cause {
                if inner
                    .downcast_ref::<io::Error>()
                    .is_some_and(|io| io.kind() == io::ErrorKind::UnexpectedEof)
                {
                    return io::ErrorKind::UnexpectedEof.into();
                }
                cause = inner.source();
            }
            error
        })
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
