//! Asking before much is removed.

use std::io::{BufRead, Write};

use crate::launch::Error;

/// Whether whoever calls says yes; end of input is no.
pub(crate) fn confirm(warning: &str) -> Result<bool, Error> {
    let failed = |error| Error::system("ask", error);
    let mut output = std::io::stderr().lock();
    write!(output, "WARNING! {warning}\nAre you sure you want to continue? [y/N] ")
        .map_err(failed)?;
    output.flush().map_err(failed)?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    Ok(answer.trim().to_ascii_lowercase().starts_with('y'))
}
