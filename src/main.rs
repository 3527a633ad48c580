//! The `burnwatch` command; everything is in the library, so that tests can reach it.

use std::process::ExitCode;

/// How jemalloc is set up, which reads this by its name when it starts: what is free goes back to the system soon, and what is
/// large (a megabyte) at once, so that memory grows by what is remembered of a flood and not by all that it passed through
/// (RELIABILITY R-1). The environment variable `MALLOC_CONF` says otherwise.
// SAFETY: the name is that of jemalloc's own pointer to a text that ends in a zero byte, which this replaces.
#[unsafe(export_name = "malloc_conf")]
static MALLOC_CONF: Option<&'static std::ffi::c_char> =
    text_of(c"narenas:2,oversize_threshold:1048576,dirty_decay_ms:200,muzzy_decay_ms:0");

/// Where a text begins. A reference instead of a pointer, so that it may stand in a static; nothing for an empty text.
const fn text_of(text: &'static std::ffi::CStr) -> Option<&'static std::ffi::c_char> {
    // SAFETY: a text of C lives as long as itself.
    unsafe { text.as_ptr().as_ref() }
}

fn main() -> ExitCode {
    // All TLS goes through one provider. A second installation in one process fails, and then the first one holds.
    let _ = rustls::crypto::ring::default_provider().install_default();
    burnwatch::cli::main()
}
