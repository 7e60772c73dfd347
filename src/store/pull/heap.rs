//! Memory of the threads of a pull.

/// Has all threads of this process share one heap. Each would get one of its own otherwise, and what
/// it has given back stays there for it alone: two megabytes in a pull, which allocates seldom. To be
/// called before there are threads; what does not know of it (musl) has one heap anyway.
pub fn share_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes two numbers, and changes what the allocator does from here on.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
