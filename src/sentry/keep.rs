//! Buffers for what must be kept of a body, growing so that their size is known before they grow.

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

#[cfg(test)]
mod tests {
    use super::*;

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
