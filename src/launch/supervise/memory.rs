//! The memory of a process that only waits: what its start took is given back.
//!
//! A start parses, describes and decides much, and none of it is needed again before the container's
//! end. Nothing here is ever lost: the heap's free parts and the stack below the caller hold nothing,
//! and the program's own pages lie in its file, from where they come back when they are used.

use std::ffi::c_void;

/// Gives back to the kernel what this process has used so far, and does not while it waits.
pub(super) fn give_back() {
    trim_heap();
    drop_stack();
    drop_program();
}

#[cfg(target_env = "gnu")]
fn trim_heap() {
    // SAFETY: only memory that was freed is given back.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(target_env = "gnu"))]
fn trim_heap() {}

/// How much of the stack is left below this place, in bytes: the red zone, and what calls from here
/// take.
const IN_USE: usize = 16 * 1024;

/// What deeper calls have left on the main thread's stack.
fn drop_stack() {
    let local = 0u8;
    let here = std::ptr::from_ref(&local).addr();
    let Some((bottom, top)) = stack() else { return };
    let end = page_of(here.saturating_sub(IN_USE));
    if (bottom..top).contains(&end) {
        drop_pages(bottom, end - bottom);
    }
}

/// The bounds of the main thread's stack, as far as it has grown (proc_pid_maps(5)).
fn stack() -> Option<(usize, usize)> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.ends_with("[stack]"))?;
    let (bottom, top) = line.split_once(' ')?.0.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some((address(bottom)?, address(top)?))
}

/// The pages of this program and its libraries that nothing writes to.
fn drop_program() {
    // SAFETY: the function has the signature that dl_iterate_phdr(3) calls, and needs no data.
    unsafe { libc::dl_iterate_phdr(Some(drop_object), std::ptr::null_mut()) };
}

/// One object: its segments that are not writable, not even before the loader has filled them in.
extern "C" fn drop_object(
    object: *mut libc::dl_phdr_info,
    _size: usize,
    _data: *mut c_void,
) -> libc::c_int {
    // SAFETY: dl_iterate_phdr(3) passes a valid object, with as many headers as it says.
    let (base, headers) = unsafe {
        let object = &*object;
        (object.dlpi_addr, std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()))
    };
    for header in headers {
        if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0 {
            let start = page_of((base + header.p_vaddr) as usize);
            let end = (base + header.p_vaddr + header.p_memsz) as usize;
            drop_pages(start, end - start);
        }
    }
    0
}

/// The page that an address is in.
fn page_of(address: usize) -> usize {
    address & !(rustix::param::page_size() - 1)
}

/// Drops what was read of these pages; the caller knows that nothing was written to them which
/// anybody reads again.
fn drop_pages(start: usize, length: usize) {
    // Numbers, not pointers, lead here: they are addresses of mappings, not of Rust's objects.
    let start = std::ptr::with_exposed_provenance_mut::<c_void>(start);
    // SAFETY: the pages hold nothing but what their file holds, or nothing at all (see the callers).
    // Where the call fails, they stay, ignoring.
    unsafe { libc::madvise(start, length, libc::MADV_DONTNEED) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Uses up some stack, and returns something that depends on it.
    #[inline(never)]
    fn deep(depth: usize) -> u64 {
        let page = std::hint::black_box([depth as u64; 512]);
        if depth == 0 { page[0] } else { deep(depth - 1) + page[511] }
    }

    #[test]
    fn nothing_is_lost() {
        let kept: Vec<String> = (0..10_000).map(|number| number.to_string()).collect();
        drop((0..10_000).map(|number| vec![number; 100]).collect::<Vec<_>>());
        let before = deep(100);
        give_back();
        assert_eq!(deep(100), before);
        assert!(kept.iter().enumerate().all(|(number, text)| *text == number.to_string()));
    }

    #[test]
    fn the_stack_is_found() {
        let (bottom, top) = stack().unwrap();
        assert!(bottom < top && page_of(bottom) == bottom);
    }
}
