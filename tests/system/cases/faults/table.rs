//! What a registry, a proxy or a line may do wrong, and what comes of it.

use std::time::Duration;

use super::OTHER;
use crate::front::{Spoil, Step, challenge};
use crate::impostor::{Answer, End, response};

/// What comes of a fault that happens once, and of one that happens each time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// None either way.
    Harmless,
    /// Asked again, it is right: a pull that tries nothing again by itself takes no notice.
    Passing,
    /// There is nothing to be had.
    Final,
}

use Effect::{Final, Harmless, Passing};

pub(super) struct Fault {
    pub(super) name: &'static str,
    pub(super) spoil: fn(port: u16) -> Spoil,
    /// What is said of it.
    pub(super) told: fn(&Step) -> &'static [&'static str],
    pub(super) effect: fn(&Step) -> Effect,
}

pub(super) fn status(
    line: &'static str,
    headers: &'static [&'static str],
    body: &'static str,
) -> Spoil {
    Box::new(move |_, _| response(line, headers, body.as_bytes()).into())
}

/// Head and body of an answer.
fn parts(answer: &[u8]) -> (String, Vec<u8>) {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    (String::from_utf8(answer[..end].to_vec()).unwrap(), answer[end..].to_vec())
}

/// The right answer, changed.
pub(super) fn edited(edit: fn(&mut String, &mut Vec<u8>)) -> Spoil {
    Box::new(move |_, right| {
        let (mut head, mut body) = parts(&right);
        edit(&mut head, &mut body);
        [head.into_bytes(), body].concat().into()
    })
}

fn redirected(to: fn(path: &str) -> String) -> Spoil {
    Box::new(move |request, _| {
        let path = request.line.split_once(' ').unwrap().1;
        response("307 Temporary Redirect", &[&format!("Location: {}", to(path))], b"").into()
    })
}

/// A header's value, changed.
fn with_header(head: &mut String, name: &str, value: &str) {
    let is_other = |line: &&str| !line.to_lowercase().starts_with(&format!("{name}:"));
    let kept: Vec<&str> = head.trim_end().lines().filter(is_other).collect();
    *head = format!("{}\r\n{name}: {value}\r\n\r\n", kept.join("\r\n"));
}

pub(super) fn is_head(step: &Step) -> bool {
    step.line.starts_with("HEAD")
}

pub(super) fn is_token(step: &Step) -> bool {
    step.line.starts_with("GET /token")
}

pub(super) fn is_blob(step: &Step) -> bool {
    step.line.contains("/blobs/")
}

const REFUSED: &str = r#"{"errors":[{"code":"DENIED","message":"not for you"}]}"#;

/// What a registry, a proxy or a line may do wrong.
pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "401 Unauthorized",
        spoil: |port| {
            Box::new(move |_, _| response("401 Unauthorized", &[&challenge(port)], b"").into())
        },
        told: |_| &["refuses access"],
        // A realm that says so has judged the password, which is not tried again; and nobody asks for
        // another token than the one just given.
        effect: |step| match is_token(step) || (is_head(step) && step.before > 0) {
            true => Final,
            false => Passing,
        },
    },
    Fault {
        name: "403 Forbidden",
        spoil: |_| status("403 Forbidden", &[], REFUSED),
        told: |step| {
            if is_head(step) { &["403 Forbidden"] } else { &["403 Forbidden", "not for you"] }
        },
        effect: |_| Final,
    },
    Fault {
        name: "404 Not Found",
        spoil: |_| status("404 Not Found", &[], ""),
        told: |_| &["404 Not Found"],
        effect: |_| Final,
    },
    Fault {
        name: "429 with a second",
        spoil: |_| status("429 Too Many Requests", &["Retry-After: 1"], ""),
        told: |_| &["429 Too Many Requests"],
        effect: |_| Passing,
    },
    Fault {
        name: "429 with an hour",
        spoil: |_| status("429 Too Many Requests", &["Retry-After: 3600"], ""),
        told: |_| &["429 Too Many Requests"],
        effect: |_| Final,
    },
    Fault {
        name: "500 Internal Server Error",
        spoil: |_| status("500 Internal Server Error", &[], "<html>oops</html>"),
        told: |_| &["500 Internal Server Error"],
        effect: |_| Passing,
    },
    Fault {
        name: "503 Service Unavailable",
        spoil: |_| status("503 Service Unavailable", &[], ""),
        told: |_| &["503 Service Unavailable"],
        effect: |_| Passing,
    },
    Fault {
        name: "a reset connection",
        spoil: |_| Box::new(|_, _| Answer { bytes: Vec::new(), end: End::Reset }),
        told: |_| &["cannot be reached"],
        effect: |_| Passing,
    },
    Fault {
        name: "a reset in the middle",
        spoil: |_| {
            Box::new(|_, mut bytes| {
                bytes.truncate(bytes.len() * 2 / 3);
                Answer { bytes, end: End::Reset }
            })
        },
        told: |_| &[],
        effect: |_| Passing,
    },
    Fault {
        name: "a body that ends early",
        spoil: |_| edited(|_, body| body.truncate(body.len() / 2)),
        told: |_| &["broke off"],
        // Which has none.
        effect: |step| if is_head(step) { Harmless } else { Passing },
    },
    Fault {
        name: "a slow answer",
        spoil: |_| Box::new(|_, bytes| Answer { bytes, end: End::Slow(Duration::from_secs(1)) }),
        told: |_| &[],
        effect: |_| Harmless,
    },
    Fault {
        name: "another content",
        spoil: |_| {
            edited(|head, body| {
                with_header(head, "docker-content-digest", &format!("sha256:{}", "0".repeat(64)));
                let middle = body.len() / 2;
                body.iter_mut().skip(middle).take(1).for_each(|byte| *byte ^= 1);
            })
        },
        told: |_| &[],
        // The first HEAD is to say what is wanted, and no digest.
        effect: |step| if step.before == 0 && is_head(step) { Passing } else { Final },
    },
    Fault {
        name: "less than its length",
        spoil: |_| {
            edited(|head, body| with_header(head, "content-length", &(body.len() + 1).to_string()))
        },
        told: |_| &[],
        effect: |step| match (is_head(step), is_blob(step)) {
            (true, _) => Harmless,
            // How long it is is in the manifest.
            (_, true) => Final,
            _ => Passing,
        },
    },
    Fault {
        name: "more than its length",
        spoil: |_| {
            edited(|head, body| {
                let less = body.len().saturating_sub(1).to_string();
                with_header(head, "content-length", &less);
            })
        },
        told: |_| &[],
        effect: |step| if is_head(step) { Harmless } else { Final },
    },
    Fault {
        name: "another media type",
        spoil: |_| edited(|head, _| with_header(head, "content-type", "text/html")),
        told: |_| &[],
        // A document says itself what it is.
        effect: |_| Harmless,
    },
    Fault {
        name: "a head without end",
        spoil: |_| edited(|head, _| with_header(head, "x-much", &"x".repeat(1 << 20))),
        told: |_| &["cannot be reached"],
        effect: |_| Passing,
    },
    Fault {
        name: "no HTTP",
        spoil: |_| Box::new(|_, _| b"220 mail.example ESMTP\r\n".to_vec().into()),
        told: |_| &["cannot be reached"],
        effect: |_| Passing,
    },
    Fault {
        name: "a redirection to another host",
        spoil: |_| redirected(|path| format!("http://localhost:{OTHER}{path}")),
        told: |_| &[],
        effect: |_| Harmless,
    },
    Fault {
        name: "a redirection in a circle",
        spoil: |_| redirected(str::to_owned),
        told: |_| &["redirection"],
        effect: |_| Passing,
    },
    Fault {
        name: "a redirection to a file",
        spoil: |_| redirected(|_| "file:///etc/passwd".to_owned()),
        told: |_| &["redirection"],
        effect: |_| Final,
    },
];
