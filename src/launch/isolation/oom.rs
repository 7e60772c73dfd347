//! How soon the kernel kills a process where the host's memory is used up
//! (proc_pid_oom_score_adj(5)).

use std::io;

const FILE: &str = "/proc/self/oom_score_adj";

/// This process's own score, which it has again when this is dropped.
#[derive(Debug)]
pub(crate) struct Own(String);

/// Gives this process another score, for those that it starts.
///
/// # Errors
/// Lowering it may need CAP_SYS_RESOURCE.
pub(crate) fn change(score: i32) -> io::Result<Own> {
    let own = Own(std::fs::read_to_string(FILE)?);
    std::fs::write(FILE, score.to_string())?;
    Ok(own)
}

impl Drop for Own {
    fn drop(&mut self) {
        // It was allowed before, ignoring.
        let _ = std::fs::write(FILE, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_score_comes_back() {
        let score = || std::fs::read_to_string(FILE).unwrap().trim().parse::<i32>().unwrap();
        let before = score();
        let changed = change((before + 100).min(1000)).unwrap();
        assert_eq!(score(), (before + 100).min(1000));
        drop(changed);
        assert_eq!(score(), before);
    }
}
