//! Asking before something is removed.

use std::io::Write as _;

use crate::launch::Error;

/// Asks whoever is at standard input; whoever says nothing has not agreed.
pub(crate) fn confirm(warning: &str) -> Result<bool, Error> {
    eprint!("WARNING! {warning}\nContinue? [y/N] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(|error| Error::system("read the answer", error))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
