//! Huge-page memory for the engine: mapped once, handed in as bytes, kept until the process ends.
//!
//! Checked by the tests below and by every run of the appliance: the kernel either gives the whole
//! range or an error. Falls back to ordinary pages, loudly, because walks over the log then miss the
//! TLB.

use std::num::NonZeroUsize;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

/// Bytes of a huge page.
pub const HUGE_PAGE_BYTES: usize = 2 << 20;

/// A mapping failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot map {bytes} bytes for the {what}: {source}; lower its size in the configuration")]
pub struct RegionError {
    bytes: usize,
    what: &'static str,
    source: nix::Error,
}

/// Maps at least `bytes` zeroed bytes for `what`, on huge pages if there are any, all of it present.
pub fn map(bytes: usize, what: &'static str) -> Result<&'static mut [u8], RegionError> {
    let bytes = bytes.next_multiple_of(HUGE_PAGE_BYTES).max(HUGE_PAGE_BYTES);
    let plain = MapFlags::MAP_PRIVATE | MapFlags::MAP_POPULATE;
    match map_with(
        bytes,
        plain | MapFlags::MAP_HUGETLB | MapFlags::MAP_HUGE_2MB,
    ) {
        Ok(region) => Ok(region),
        Err(error) => {
            let pages = bytes / HUGE_PAGE_BYTES;
            tracing::warn!(
                "no huge pages for the {what} ({error}): ordinary pages instead, slower. \
                 Reserve {pages} more of 2 MiB: hugepage-setup --pages N"
            );
            map_with(bytes, plain).map_err(|source| RegionError {
                bytes,
                what,
                source,
            })
        }
    }
}

fn map_with(bytes: usize, flags: MapFlags) -> nix::Result<&'static mut [u8]> {
    let length = NonZeroUsize::new(bytes).ok_or(nix::Error::EINVAL)?;
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // JUSTIFICATION: huge pages have no safe allocator interface.
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches no existing memory.
    let start = unsafe { mmap_anonymous(None, length, protection, flags) }?;
    // JUSTIFICATION: the mapping has to become a slice once.
    // SAFETY: `start` is the page-aligned begin of `bytes` zeroed, writable bytes that nobody else
    // refers to and that are never unmapped.
    Ok(unsafe { std::slice::from_raw_parts_mut(start.cast::<u8>().as_ptr(), bytes) })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_region_is_zeroed_and_writable() {
        let region = super::map(1, "test").unwrap();
        assert_eq!(region.len(), super::HUGE_PAGE_BYTES);
        assert!(region.iter().all(|&byte| byte == 0));
        region[1] = 7;
        assert_eq!(region[1], 7);
    }
}
