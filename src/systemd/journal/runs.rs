//! How the runs of a unit ended, as its manager wrote it down: also of a unit that it has forgotten
//! since, and of a boot before.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;

use super::{Field, Journal, answer, journalctl};
use crate::model::{Scope, UnitName};
use crate::update::port::RunTold;

/// So many of the manager's newest words are read.
const WORDS: usize = 1000;

/// What the manager says of a unit (systemd's catalog): it has ended well, or badly, or is restarted
/// because of `Restart=`, or its main process has ended.
const SUCCEEDED: &str = "7ad2d189f7e94e70a38c781354912448";
const FAILED: &str = "d9b373ed55a64feb8242e02dbe79a49c";
const RESTARTS_BY_ITSELF: &str = "5eb03494b6584870a536b337290809b3";
const PROCESS_ENDED: &str = "98e322203f7a4ed290d09fe03c09fe15";

const FIELDS: &str = "MESSAGE_ID,INVOCATION_ID,USER_INVOCATION_ID,UNIT_RESULT,EXIT_STATUS,COMMAND,\
                      JOB_TYPE";

/// One word of the manager, as `--output=json` has it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", default)]
struct Word {
    message_id: Field,
    invocation_id: Field,
    user_invocation_id: Field,
    unit_result: Field,
    exit_status: Field,
    command: Field,
    job_type: Field,
}

impl Journal {
    pub(super) async fn read_runs(
        self,
        unit: &UnitName,
        since: Timestamp,
    ) -> Result<Vec<RunTold>, String> {
        let mut command = journalctl();
        command.args(["--quiet", "--all", "--output=json"]);
        command.arg(format!("--lines={WORDS}")).arg(format!("--output-fields={FIELDS}"));
        let fraction = since.subsec_microsecond();
        command.arg(format!("--since=@{}.{fraction:06}", since.as_second()));
        command.args(match self.scope {
            Scope::System => ["_PID=1".to_owned(), format!("UNIT={unit}")],
            Scope::User => {
                let uid = rustix::process::getuid().as_raw();
                [format!("_UID={uid}"), format!("USER_UNIT={unit}")]
            }
        });
        Ok(runs(&answer(command).await?))
    }
}

/// The runs that an answer, which begins with the oldest word, tells of.
fn runs(answer: &[u8]) -> Vec<RunTold> {
    let mut runs: Vec<RunTold> = Vec::new();
    let mut restarted = BTreeSet::new();
    let words = answer.split(|byte| *byte == b'\n');
    for word in words.filter_map(|line| serde_json::from_slice::<Word>(line).ok()) {
        let invocation = match word.invocation_id.text() {
            id if id.is_empty() => word.user_invocation_id.text(),
            id => id,
        };
        if invocation.is_empty() {
            continue;
        }
        let at = runs.iter().position(|run| run.invocation == invocation).unwrap_or_else(|| {
            runs.push(RunTold { invocation, ..RunTold::default() });
            runs.len() - 1
        });
        let run = &mut runs[at];
        match word.message_id.text().as_str() {
            SUCCEEDED => run.result = Some("success".to_owned()),
            FAILED => run.result = Some(word.unit_result.text()),
            PROCESS_ENDED if matches!(word.command.text().as_str(), "ExecStart" | "") => {
                run.status = word.exit_status.text().parse().ok();
            }
            RESTARTS_BY_ITSELF => drop(restarted.insert(at)),
            _ => {}
        }
        // Of a job that was at work it is said only after it has ended.
        run.stop_asked |= match word.job_type.text().as_str() {
            "stop" => true,
            "restart" => !restarted.contains(&at),
            _ => false,
        };
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(words: &[serde_json::Value]) -> Vec<RunTold> {
        let lines: Vec<String> = words.iter().map(ToString::to_string).collect();
        runs(lines.join("\n").as_bytes())
    }

    #[test]
    fn each_run_has_its_own_end() {
        let found = told(&[
            serde_json::json!({"INVOCATION_ID": "a", "JOB_TYPE": "start"}),
            serde_json::json!({"INVOCATION_ID": "a", "MESSAGE_ID": PROCESS_ENDED,
                "EXIT_STATUS": "3", "COMMAND": "ExecStart"}),
            serde_json::json!({"INVOCATION_ID": "a", "MESSAGE_ID": FAILED, "UNIT_RESULT": "exit-code"}),
            serde_json::json!({"USER_INVOCATION_ID": "b", "JOB_TYPE": "start"}),
            serde_json::json!({"USER_INVOCATION_ID": "b", "MESSAGE_ID": SUCCEEDED}),
            serde_json::json!({"INVOCATION_ID": "c", "MESSAGE_ID": SUCCEEDED}),
            serde_json::json!({"INVOCATION_ID": "c", "JOB_TYPE": "stop"}),
            serde_json::json!({"INVOCATION_ID": "d", "MESSAGE_ID": FAILED, "UNIT_RESULT": "signal"}),
            serde_json::json!({"INVOCATION_ID": "d", "MESSAGE_ID": RESTARTS_BY_ITSELF}),
            serde_json::json!({"INVOCATION_ID": "d", "JOB_TYPE": "restart"}),
            serde_json::json!({"INVOCATION_ID": "e", "JOB_TYPE": "restart"}),
            serde_json::json!({"INVOCATION_ID": "e", "MESSAGE_ID": SUCCEEDED}),
            serde_json::json!({"MESSAGE_ID": FAILED, "UNIT_RESULT": "of no run"}),
        ]);
        let run = |invocation: &str, result: &str, status, stop_asked| RunTold {
            invocation: invocation.into(),
            result: Some(result.into()),
            status,
            stop_asked,
        };
        let expected = [
            run("a", "exit-code", Some(3), false),
            run("b", "success", None, false),
            run("c", "success", None, true),
            run("d", "signal", None, false),
            run("e", "success", None, true),
        ];
        assert_eq!(found, expected);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(answer in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            runs(&answer);
        }
    }
}
