//! Arguments in, exit status out.

use std::process::ExitCode;

/// Keeps glibc's resolver from loading the host's plug-ins into this static program, which those of another
/// version would kill.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code, reason = "the C library's only way to say it")]
fn resolve_names_statically() {
    unsafe extern "C" {
        fn __nss_configure_lookup(
            database: *const std::ffi::c_char,
            services: *const std::ffi::c_char,
        ) -> std::ffi::c_int;
    }
    // SAFETY: both arguments are strings that end with NUL and are copied; no other thread runs yet.
    unsafe {
        __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr());
    }
}

#[cfg(not(target_env = "gnu"))]
fn resolve_names_statically() {}

fn main() -> ExitCode {
    resolve_names_statically();
    alloy_runner::cli::main()
}
