//! The `burnwatch` command; everything is in the library, so that tests can reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    // All TLS goes through one provider. A second installation in one process fails, and then the first one holds.
    let _ = rustls::crypto::ring::default_provider().install_default();
    burnwatch::cli::main()
}
