//! The kinds of journal entries: one MESSAGE_ID each, fixed for ever.
//!
//! The table is also the source of the message catalog (`systemd/updaterd.catalog`); a test holds
//! the two together.

use std::fmt::Write as _;

use crate::update::EventKind;

/// One kind of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// 32 hexadecimal digits: the field `MESSAGE_ID=`.
    pub id: &'static str,
    /// One line, with `@FIELD@` for fields of the entry.
    pub subject: &'static str,
    /// What it means and what to do, in whole sentences.
    pub explanation: &'static str,
}

pub const CHECK_FAILED: Message = Message {
    id: "c4ac5baf201c43a5961d9eaeb92825a3",
    subject: "The image of @UNIT@ could not be checked",
    explanation: "The registry could not be asked whether @IMAGE@ changed. Nothing was restarted. \
        Later checks wait longer with each failure; \"updaterctl check\" asks at once.",
};
pub const MISCONFIGURED: Message = Message {
    id: "a4b21525a8a14e0191e41b4497724a31",
    subject: "A container wants updates but cannot have any",
    explanation: "The container's label io.containers.autoupdate has no known value, no systemd \
        unit owns the container, or its image is not in local storage. The entry says which.",
};
pub const PROBLEM: Message = Message {
    id: "419cb0e0bba04d98a347b14a6944b656",
    subject: "A container or record could not be read",
    explanation: "What could not be read is left alone. All other containers are served.",
};
pub const UPDATE_AVAILABLE: Message = Message {
    id: "fe1f0327dda94355b06b448350ec86f3",
    subject: "A newer image is available for @UNIT@",
    explanation: "@IMAGE@ stands for @NEW_DIGEST@ now; @UNIT@ runs @OLD_DIGEST@.",
};
pub const STAGING: Message = Message {
    id: "65f84cf708c240c39dd6359b7ca5a14b",
    subject: "The image @NEW_DIGEST@ is being pulled",
    explanation: "The new image of @IMAGE@ is brought into local storage. No tag moves yet.",
};
pub const STAGED: Message = Message {
    id: "057fa5ebb2964d23b63064683ba85fea",
    subject: "The image @NEW_DIGEST@ is in local storage",
    explanation: "Units that use @IMAGE@ are restarted next.",
};
pub const RESTARTING: Message = Message {
    id: "291a59a0d22941faa089f355cb8627ed",
    subject: "@UNIT@ is restarted on another image",
    explanation: "The image was promoted for this unit, and systemd was asked to restart it.",
};
pub const VERIFYING: Message = Message {
    id: "e4f508a44a544cab8831ca69d4c8b8fe",
    subject: "@UNIT@ is watched until it has settled",
    explanation: "The unit has to stay active for the settle time, without an automatic restart.",
};
pub const UPDATED: Message = Message {
    id: "bcab17d2d3a8428888aa816337cefbf4",
    subject: "@UNIT@ was updated",
    explanation: "@UNIT@ runs @NEW_DIGEST@ of @IMAGE@ instead of @OLD_DIGEST@, and has settled.",
};
pub const REVERTED: Message = Message {
    id: "78848428487d45e5a0611535e4c9d8b9",
    subject: "@UNIT@ runs an earlier image again, as an operator asked",
    explanation: "@UNIT@ runs @NEW_DIGEST@ of @IMAGE@ instead of @OLD_DIGEST@, and has settled. What \
        it left is quarantined: \"updaterctl quarantine clear @OLD_DIGEST@\" lets it come again.",
};
pub const ROLLING_BACK: Message = Message {
    id: "eca0b338380544c4b5f4bd39021b64a2",
    subject: "The update of @UNIT@ failed: the old image is put back",
    explanation: "@UNIT@ did not come back on @NEW_DIGEST@. It gets @OLD_DIGEST@ again.",
};
pub const ROLLED_BACK: Message = Message {
    id: "95b6ed3598b842ccb1c1378eed8bc8d5",
    subject: "@UNIT@ runs its old image again",
    explanation: "The update of @IMAGE@ to @NEW_DIGEST@ failed; @OLD_DIGEST@ was put back, and \
        the unit has settled. \"journalctl -u @UNIT@\" shows why the new image failed.",
};
pub const UPDATE_FAILED: Message = Message {
    id: "d95c27ddef6b4ae0ab7b4f45478d6aff",
    subject: "The update of @UNIT@ failed",
    explanation: "Either nothing was restarted, or rollback is switched off in the configuration. \
        The entry has the cause.",
};
pub const NOT_REACHED: Message = Message {
    id: "b08a2bde6ef54c19a6110b080bd220a1",
    subject: "@UNIT@ was not reached by the update",
    explanation: "The update of @IMAGE@ ended before it came to @UNIT@, which was not touched and \
        goes on with @OLD_DIGEST@. The entry has the cause.",
};
pub const STOPPED_MEANWHILE: Message = Message {
    id: "9cb5fa7a8e2549199607a1101864131f",
    subject: "@UNIT@ was stopped while it was to be updated",
    explanation: "Somebody stopped the unit; it is not started for the sake of an update.",
};
pub const DEFERRED: Message = Message {
    id: "eaf401cdf8eb4928b6d035d9cf4ea80d",
    subject: "@UNIT@ gets image @NEW_DIGEST@ at its next start",
    explanation: "The unit is at work that ends by itself, as a job or a unit that a timer starts. \
        It is not cut off; its next start runs the new image, and how that run ends decides whether \
        it stays. \"updaterctl why @UNIT@\" says what it waits for.",
};
pub const NEEDS_OPERATOR: Message = Message {
    id: "6a76d937ed13498ebc2aa72ff07719d7",
    subject: "@UNIT@ needs an operator",
    explanation: "Neither the new image nor the old one brought the unit back, or the old one may \
        not come back (rollback = \"never\"): then the unit is stopped. \"updaterctl history @UNIT@\" and \"journalctl -u @UNIT@\" have both causes.",
};
pub const TAKEN_BACK: Message = Message {
    id: "55fe85b00dd745079d44193047c2a62e",
    subject: "The update of @UNIT@ was taken back, and an operator is needed",
    explanation: "Something other than the image kept @UNIT@ from @NEW_DIGEST@ of @IMAGE@: the entry says \
        what. @OLD_DIGEST@ was put back, and the unit has settled; nothing is held against the new image. \
        Mend the cause, then \"updaterctl update @UNIT@\". By itself it is tried again an hour later, and \
        later each time.",
};
pub const QUARANTINED: Message = Message {
    id: "d663153b50184339a8515b2b12338857",
    subject: "The image @NEW_DIGEST@ is quarantined",
    explanation: "It failed on this host, or an operator went back from it: it is not tried again. \
        \"updaterctl quarantine clear @NEW_DIGEST@\" ends that.",
};
pub const SUSPENDED: Message = Message {
    id: "80b047d3e9e34ff3b45b39db3381847c",
    subject: "The update of @UNIT@ is suspended",
    explanation: "The host shuts down, or the service stops. The update is finished or taken \
        back at the next start: \"updaterctl history @UNIT@\" shows how it ended.",
};
pub const RESUMED: Message = Message {
    id: "159042e907714a11b3006ec57d1698d4",
    subject: "The interrupted update of @UNIT@ is taken up again",
    explanation: "A crash or a shutdown interrupted it. It is finished or taken back now.",
};
pub const REMOVED: Message = Message {
    id: "41f6b6f6b67d47428eae9a1fe40e7a4d",
    subject: "The image @OLD_DIGEST@ was removed",
    explanation: "updaterd had pulled it for @IMAGE@. No container is made from it, nobody has a name for \
        it, and it is not among those that a unit may go back to (keep_images, disk_budget).",
};
pub const PASS_FAILED: Message = Message {
    id: "8fcf63a84be145e0980cc4c4e0f77ec3",
    subject: "A pass failed as a whole",
    explanation: "The containers or the ledger could not be read, or another process holds the \
        lock. No unit was touched. The next pass tries again.",
};
pub const CONFIGURATION_LOADED: Message = Message {
    id: "16eeed840dc743a4a1a9677c82bc0ae5",
    subject: "The configuration was read again",
    explanation: "The new settings are in force from the next pass on.",
};
pub const CONFIGURATION_REJECTED: Message = Message {
    id: "9e9bf6d861284539b67a0daaef320751",
    subject: "The new configuration is bad: the old settings stay in force",
    explanation: "The entry names the file, the line and the key. After mending it, \
        \"systemctl reload updaterd.service\" reads it again.",
};

pub const NOTIFY_FAILED: Message = Message {
    id: "e064780b58734464996cfb1ffc8c4d62",
    subject: "Nobody could be told how an update ended",
    explanation: "The program or the webhook of [notify] did not take it; the entry says why. It is \
        tried again, later each time, for a day. The update itself is not concerned.",
};
pub const NOTICE_GIVEN_UP: Message = Message {
    id: "02128586b9364faaa1d99ef66b6494d9",
    subject: "How an update ended will not be told",
    explanation: "The program or the webhook of [notify] took it neither at once nor for a day, or \
        too much waited for it. \"updaterctl history\" has how all updates ended.",
};

/// All kinds, in the order of the catalog.
pub const ALL: [&Message; 27] = [
    &CHECK_FAILED,
    &MISCONFIGURED,
    &PROBLEM,
    &UPDATE_AVAILABLE,
    &STAGING,
    &STAGED,
    &RESTARTING,
    &VERIFYING,
    &UPDATED,
    &REVERTED,
    &ROLLING_BACK,
    &ROLLED_BACK,
    &UPDATE_FAILED,
    &NOT_REACHED,
    &STOPPED_MEANWHILE,
    &DEFERRED,
    &TAKEN_BACK,
    &NEEDS_OPERATOR,
    &QUARANTINED,
    &SUSPENDED,
    &RESUMED,
    &REMOVED,
    &PASS_FAILED,
    &CONFIGURATION_LOADED,
    &CONFIGURATION_REJECTED,
    &NOTIFY_FAILED,
    &NOTICE_GIVEN_UP,
];

/// The kind of entry that an event becomes.
pub fn of(kind: EventKind) -> &'static Message {
    match kind {
        EventKind::CheckFailed => &CHECK_FAILED,
        EventKind::Misconfigured => &MISCONFIGURED,
        EventKind::Problem => &PROBLEM,
        EventKind::UpdateAvailable => &UPDATE_AVAILABLE,
        EventKind::Staging => &STAGING,
        EventKind::Staged => &STAGED,
        EventKind::Restarting => &RESTARTING,
        EventKind::Verifying => &VERIFYING,
        EventKind::Updated => &UPDATED,
        EventKind::Reverted => &REVERTED,
        EventKind::RollingBack => &ROLLING_BACK,
        EventKind::RolledBack => &ROLLED_BACK,
        EventKind::UpdateFailed => &UPDATE_FAILED,
        EventKind::NotReached => &NOT_REACHED,
        EventKind::StoppedMeanwhile => &STOPPED_MEANWHILE,
        EventKind::Deferred => &DEFERRED,
        EventKind::TakenBack => &TAKEN_BACK,
        EventKind::NeedsOperator => &NEEDS_OPERATOR,
        EventKind::Quarantined => &QUARANTINED,
        EventKind::Suspended => &SUSPENDED,
        EventKind::Resumed => &RESUMED,
        EventKind::Removed => &REMOVED,
    }
}

/// The message catalog, as journalctl(1) `--catalog` shows it.
pub fn catalog() -> String {
    let mut text = String::from(
        "# Message catalog of updaterd; `journalctl --catalog` shows it.\n\
         # Made from the table in src/daemon/journal/message.rs, which a test compares it with.\n",
    );
    for Message { id, subject, explanation } in ALL {
        let _ = write!(
            text,
            "\n-- {id}\nSubject: {subject}\nDefined-By: updaterd\nDocumentation: man:updaterd(8)\n\n"
        );
        for line in wrapped(explanation, 78) {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_id_is_a_distinct_uuid() {
        let ids: BTreeSet<&str> = ALL.iter().map(|message| message.id).collect();
        assert_eq!(ids.len(), ALL.len());
        for id in ids {
            let hex = id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            assert!(id.len() == 32 && hex && id.as_bytes()[12] == b'4', "{id}");
        }
    }

    /// `UPDATE_MANUAL=1 cargo test catalog` writes it anew.
    #[test]
    fn the_catalog_is_installed_as_it_is_here() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/updaterd.catalog");
        if std::env::var_os("UPDATE_MANUAL").is_some() {
            std::fs::write(path, catalog()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), catalog());
    }
}
