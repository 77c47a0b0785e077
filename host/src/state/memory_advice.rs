//! Asks the system for huge pages under large tables: at a million keys a look-up costs a TLB miss more than it needs to.

/// Below this size the table fits the second-level TLB anyway, and a small job should stay small.
const ADVISE_BYTES_MIN: usize = 8 << 20;

/// Asks for huge pages under `memory`. Only advice: failure is without consequence.
pub(super) fn advise_huge_pages<T>(memory: &[T]) {
    let bytes = std::mem::size_of_val(memory);
    if bytes < ADVISE_BYTES_MIN {
        return;
    }
    #[cfg(target_os = "linux")]
    {
        const PAGE: usize = 4096;
        let start = memory.as_ptr() as usize;
        let first = start.next_multiple_of(PAGE);
        let length = (start + bytes - first) / PAGE * PAGE;
        if let Some(address) = std::ptr::NonNull::new(first as *mut std::ffi::c_void) {
            // SAFETY: the range lies inside memory that the slice borrows, and MADV_HUGEPAGE changes neither its content nor whether it may be accessed.
            let _ = unsafe { nix::sys::mman::madvise(address, length, nix::sys::mman::MmapAdvise::MADV_HUGEPAGE) };
        }
    }
}

/// Brings the cache line of `memory[index]` nearer, if there is one.
#[inline(always)]
pub(super) fn prefetch<T>(memory: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(place) = memory.get(index) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the address is that of a live reference; a prefetch has no effect on memory.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (memory, index);
}
