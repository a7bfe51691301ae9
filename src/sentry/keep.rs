//! Buffers for what must be kept of a body, growing so that their size is known before they grow.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufRead, Read};

use memmap2::MmapMut;

/// Bytes that a large buffer grows by at most, beyond what it needs.
const STEP: usize = 1024 * 1024;

/// The capacity of `kept` after [`append`] of so many bytes.
pub(super) fn capacity_with(kept: &Vec<u8>, more: usize) -> usize {
    let needed = kept.len().saturating_add(more);
    let grown = kept.capacity().saturating_add(kept.capacity().min(STEP));
    if needed <= kept.capacity() {
        kept.capacity()
    } else {
        needed.max(grown)
    }
}

/// Appends to `kept`, which then takes no more memory than [`capacity_with`] said.
pub(super) fn append(kept: &mut Vec<u8>, bytes: &[u8]) {
    let capacity = capacity_with(kept, bytes.len());
    kept.reserve_exact(capacity.saturating_sub(kept.len()));
    kept.extend_from_slice(bytes);
}

/// Bytes of the first piece at most; more than nearly every event has.
const SMALL: usize = 32 * 1024;
/// Bytes of each further piece.
const PIECE: usize = 128 * 1024;

/// Bytes in order, in pieces. A buffer of megabytes that grows is there twice while it moves; pieces stay where they
/// are and go one by one as they are read. Those of a large body are mapped: what came from the allocator's heap
/// would stay in the process when it is dropped.
#[derive(Default)]
pub struct Pieces {
    pieces: VecDeque<Piece>,
    /// Bytes of the first piece that were read.
    at: usize,
    /// Bytes that were not.
    len: usize,
}

enum Piece {
    Small(Vec<u8>),
    Large { pages: MmapMut, len: usize },
}

impl Piece {
    /// A large one, unless the system has no pages for it.
    fn large() -> Self {
        match MmapMut::map_anon(PIECE) {
            Ok(pages) => Self::Large { pages, len: 0 },
            Err(_) => Self::Small(Vec::with_capacity(PIECE)),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Large { pages, len } => pages.get(..*len).unwrap_or_default(),
        }
    }

    fn held(&self) -> usize {
        match self {
            Self::Small(bytes) => bytes.capacity(),
            Self::Large { pages, .. } => pages.len(),
        }
    }

    /// Takes what fits; answers what does not.
    fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Small(kept) => {
                let most = kept.capacity().max(SMALL);
                let (now, rest) = split(bytes, most - kept.len());
                let needed = kept.len() + now.len();
                let capacity = small_capacity(kept.capacity(), needed);
                kept.reserve_exact(capacity - kept.len());
                kept.extend_from_slice(now);
                rest
            }
            Self::Large { pages, len } => {
                let room = pages.get_mut(*len..).unwrap_or_default();
                let (now, rest) = split(bytes, room.len());
                room.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
                *len += now.len();
                rest
            }
        }
    }
}

fn split(bytes: &[u8], at: usize) -> (&[u8], &[u8]) {
    bytes.split_at_checked(at).unwrap_or((bytes, &[]))
}

/// The capacity of a small piece of this capacity once it holds `needed` bytes.
fn small_capacity(has: usize, needed: usize) -> usize {
    if needed <= has {
        has
    } else {
        needed.max(has.saturating_mul(2).min(SMALL))
    }
}

impl Pieces {
    /// How many bytes are to be read.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is to be read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Memory that they take, in bytes.
    pub(super) fn held(&self) -> usize {
        self.pieces.iter().map(Piece::held).sum()
    }

    /// Memory that they take after [`Self::append`] of so many bytes.
    pub(super) fn held_with(&self, more: usize) -> usize {
        let (has, most, filled) = match self.pieces.back() {
            None => (0, SMALL, 0),
            Some(Piece::Small(kept)) => (kept.capacity(), SMALL, kept.len()),
            Some(Piece::Large { pages, len }) => (pages.len(), pages.len(), *len),
        };
        let into_last = more.min(has.max(most) - filled);
        let last = small_capacity(has, filled + into_last);
        let new = (more - into_last).div_ceil(PIECE).saturating_mul(PIECE);
        (self.held() - has).saturating_add(last).saturating_add(new)
    }

    /// Appends; the memory taken is then what [`Self::held_with`] said.
    pub(super) fn append(&mut self, mut bytes: &[u8]) {
        self.len = self.len.saturating_add(bytes.len());
        if self.pieces.is_empty() {
            self.pieces.push_back(Piece::Small(Vec::new()));
        }
        while let Some(last) = self.pieces.back_mut() {
            bytes = last.fill(bytes);
            if bytes.is_empty() {
                break;
            }
            self.pieces.push_back(Piece::large());
        }
    }

    /// All in one, which takes as much memory again unless it is one small piece.
    #[must_use]
    pub fn into_bytes(mut self) -> Vec<u8> {
        let mut whole = match (self.pieces.pop_front(), self.at) {
            (Some(Piece::Small(only)), 0) if self.pieces.is_empty() => return only,
            (first, at) => {
                let mut whole = Vec::with_capacity(self.len);
                let rest = first.as_ref().and_then(|first| first.bytes().get(at..));
                whole.extend_from_slice(rest.unwrap_or_default());
                whole
            }
        };
        while let Some(piece) = self.pieces.pop_front() {
            whole.extend_from_slice(piece.bytes());
        }
        whole
    }

    /// Up to `N` of the next bytes, which stay to be read, and how many they are.
    pub(super) fn peek<const N: usize>(&self) -> ([u8; N], usize) {
        let mut next = [0; N];
        let each = next.iter_mut().zip(self.bytes());
        let count = each.map(|(to, from)| *to = *from).count();
        (next, count)
    }

    fn bytes(&self) -> impl Iterator<Item = &u8> {
        self.pieces.iter().flat_map(Piece::bytes).skip(self.at)
    }
}

impl fmt::Debug for Pieces {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes", self.len)
    }
}

impl PartialEq for Pieces {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.bytes().eq(other.bytes())
    }
}

impl Eq for Pieces {}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let first = self.pieces.front();
        let rest = first.and_then(|first| first.bytes().get(self.at..));
        Ok(rest.unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.at = self.at.saturating_add(count);
        self.len = self.len.saturating_sub(count);
        if self
            .pieces
            .front()
            .is_some_and(|first| self.at >= first.bytes().len())
        {
            self.pieces.pop_front();
            self.at = 0;
        }
    }
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(out)?;
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn pieces_take_what_was_said_and_come_out_as_they_went_in() {
        let (mut pieces, mut wanted) = (Pieces::default(), Vec::new());
        assert_eq!(pieces.peek::<4>(), ([0; 4], 0));
        for (number, size) in (0_u8..).zip([1, 100, 3, 5_000, 0, 65_536, 60_000, 70_000, 400_000]) {
            let said = pieces.held_with(size);
            pieces.append(&vec![number; size]);
            wanted.extend(vec![number; size]);
            assert_eq!(pieces.held(), said);
            assert!(said <= 2 * wanted.len() + PIECE);
        }
        assert_eq!(pieces.peek::<3>(), ([0, 1, 1], 3));
        let before = pieces.held();
        let mut part = vec![0; 200_000];
        pieces.read_exact(&mut part).unwrap();
        assert_eq!(part, wanted[..200_000]);
        assert_eq!(pieces.len(), wanted.len() - part.len());
        assert_eq!(
            before - pieces.held(),
            SMALL + PIECE,
            "what was read is gone"
        );
        assert_eq!(pieces.into_bytes(), wanted[200_000..]);
        let mut one = Pieces::default();
        one.append(b"one");
        assert_eq!((one.len(), one.is_empty()), (3, false));
        assert_eq!(one.into_bytes(), b"one");
        assert!(Pieces::default().into_bytes().is_empty());
    }

    #[test]
    fn a_buffer_takes_what_was_said() {
        let mut kept = Vec::new();
        for piece in [1, 100, 3, 5_000, 0, 700_000, 4_000_000, 9] {
            let said = capacity_with(&kept, piece);
            append(&mut kept, &vec![7; piece]);
            assert_eq!(kept.capacity(), said);
            assert!(
                said <= kept
                    .len()
                    .saturating_mul(2)
                    .min(kept.len().saturating_add(STEP))
            );
        }
        assert_eq!(kept.len(), 4_705_113);
    }
}
