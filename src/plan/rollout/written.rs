//! How progress is read from disk. Earlier versions wrote the one step that was under way beside the
//! state.

use serde::Deserialize;

use super::cause::Cause;
use super::{Mark, Phase, Progress, State};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    state: At,
    marks: Vec<Mark>,
    cause: Option<Cause>,
    #[serde(default)]
    failed: Option<usize>,
}

#[derive(Deserialize)]
struct At {
    #[serde(flatten)]
    state: State,
    #[serde(default)]
    at: Option<usize>,
    #[serde(default)]
    phase: Option<Phase>,
}

impl From<Written> for Progress {
    fn from(written: Written) -> Self {
        let Written { state: At { state, at, phase }, mut marks, cause, failed } = written;
        if let (Some(at), Some(phase)) = (at, phase)
            && let Some(mark) = marks.get_mut(at)
        {
            let trouble = match mark {
                Mark::Stuck { cause } => Some(cause.clone()),
                _ => None,
            };
            *mark = match state {
                State::Back => Mark::Returning { phase, trouble },
                _ => Mark::Moving { phase },
            };
        }
        Self { state, marks, cause, failed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_version_wrote_is_taken_up() {
        let read = |text: &str| serde_json::from_str::<Progress>(text).unwrap();
        let progress = read(
            r#"{"state": {"state": "forward", "at": 1, "phase": "verifying"}, "cause": null,
                "marks": [{"mark": "updated"}, {"mark": "untouched"}]}"#,
        );
        assert_eq!(progress.state, State::Forward);
        assert_eq!(progress.marks, [Mark::Updated, Mark::Moving { phase: Phase::Verifying }]);
        let progress = read(
            r#"{"state": {"state": "back", "at": 0, "phase": "reviving"}, "failed": 0,
                "cause": {"cause": "launcher"},
                "marks": [{"mark": "stuck", "cause": {"cause": "launcher"}}, {"mark": "failed"}]}"#,
        );
        let trouble = Some(Cause::Launcher);
        let returning = Mark::Returning { phase: Phase::Reviving, trouble };
        assert_eq!(progress.marks, [returning, Mark::Failed { cause: None }]);
        let progress = read(r#"{"state": {"state": "releasing"}, "marks": [], "cause": null}"#);
        assert_eq!(progress.state, State::Releasing);
    }
}
