//! Blocks of paths, compressed: the body that the engine made ([`engine::path::block`]) as a zstd frame.
//!
//! Level 3, without a dictionary: one that was trained on walks saved a fiftieth, all of it the names of
//! fields, which another game calls otherwise (`make bench` prints it). RocksDB leaves these values as
//! they are.

use engine::journal::store::{StoreError, UNPACKED_BYTES_MAX};
use zstd_safe::{CCtx, CompressionLevel};

/// zstd's default level.
const LEVEL: CompressionLevel = 3;

/// Compresses; keeps zstd's tables, which are far larger than what they are used for.
pub(super) struct Compressor {
    context: CCtx<'static>,
}

impl Default for Compressor {
    fn default() -> Compressor {
        Compressor {
            context: CCtx::create(),
        }
    }
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

impl Compressor {
    /// Appends `body` as a frame.
    pub(super) fn pack(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), StoreError> {
        let start = out.len();
        out.resize(start + zstd_safe::compress_bound(body.len()), 0);
        let room = out.get_mut(start..).unwrap_or_default();
        let length = self.context.compress(room, body, LEVEL).map_err(failed)?;
        out.truncate(start + length);
        Ok(())
    }
}

/// Appends the body that a frame has; one that says it is longer than any is damaged.
pub(super) fn unpack(packed: &[u8], out: &mut Vec<u8>) -> Result<(), StoreError> {
    let length = match zstd_safe::get_frame_content_size(packed) {
        Ok(Some(length)) => usize::try_from(length).unwrap_or(usize::MAX),
        _ => return Err(StoreError("a path's block is no zstd frame".to_owned())),
    };
    if length > UNPACKED_BYTES_MAX {
        return Err(StoreError(format!(
            "a path's block says it has {length} bytes, which is more than any"
        )));
    }
    let start = out.len();
    out.resize(start + length, 0);
    let room = out.get_mut(start..).unwrap_or_default();
    let written = zstd_safe::decompress(room, packed).map_err(failed)?;
    out.truncate(start + written);
    Ok(())
}

fn failed(code: zstd_safe::ErrorCode) -> StoreError {
    let name = zstd_safe::get_error_name(code);
    StoreError(format!("zstd failed with a path's block: {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_comes_back_and_damage_is_noticed() {
        let mut compressor = Compressor::default();
        for body in [&b""[..], b"x", &[7; 10_000]] {
            let (mut packed, mut back) = (b"head".to_vec(), b"before".to_vec());
            compressor.pack(body, &mut packed).unwrap();
            let frame = &packed[4..];
            unpack(frame, &mut back).unwrap();
            assert_eq!(back, [b"before", body].concat());
            assert!(unpack(&frame[..frame.len() - 1], &mut back).is_err());
            assert!(unpack(&frame[1..], &mut back).is_err());
        }
        assert!(unpack(b"", &mut Vec::new()).is_err());
        let mut large = Vec::new();
        compressor
            .pack(&vec![0; UNPACKED_BYTES_MAX + 1], &mut large)
            .unwrap();
        assert!(unpack(&large, &mut Vec::new()).is_err());
    }
}
