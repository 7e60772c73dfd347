use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing_subscriber::layer::Context;

use super::*;
use crate::model::Digest;

type Entry = BTreeMap<String, String>;

/// Keeps what the journal would get.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Entry>>>);

impl<S: tracing::Subscriber> Layer<S> for Kept {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        struct Fields(Entry);
        impl Visit for Fields {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                self.0.insert(field.name().into(), format!("{value:?}"));
            }
            fn record_str(&mut self, field: &Field, value: &str) {
                self.0.insert(field.name().into(), value.into());
            }
        }
        let mut fields = Fields(Entry::new());
        event.record(&mut fields);
        fields.0.insert("level".into(), event.metadata().level().to_string());
        self.0.lock().unwrap().push(fields.0);
    }
}

fn entries(write: impl FnOnce()) -> Vec<Entry> {
    let kept = Kept::default();
    let subscriber = Registry::default().with(kept.clone());
    tracing::subscriber::with_default(subscriber, write);
    std::mem::take(&mut *kept.0.lock().unwrap())
}

fn updated() -> Event {
    Event {
        unit: Some("app.service".parse().unwrap()),
        reference: Some("registry.example/app:1".parse().unwrap()),
        old: Some(Digest::of(b"old")),
        new: Some(Digest::of(b"new")),
        elapsed_ms: Some(12_345),
        ..Event::new(EventKind::Updated)
    }
}

#[test]
fn an_entry_has_all_fields() {
    let entry = entries(|| record(Scope::System, &updated())).pop().unwrap();
    let expected = [
        ("MESSAGE_ID", message::UPDATED.id.to_owned()),
        ("OBJECT_SYSTEMD_UNIT", "app.service".into()),
        ("UNIT", "app.service".into()),
        ("IMAGE", "registry.example/app:1".into()),
        ("OLD_DIGEST", Digest::of(b"old").to_string()),
        ("NEW_DIGEST", Digest::of(b"new").to_string()),
        ("OUTCOME", "updated".into()),
        ("level", "INFO".into()),
        (
            "message",
            format!(
                "app.service: updated registry.example/app:1 from {} to {} after 12s",
                Digest::of(b"old").short(),
                Digest::of(b"new").short()
            ),
        ),
    ];
    let expected: Entry = expected.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    assert_eq!(entry, expected);
}

#[test]
fn a_user_instance_names_the_user_unit() {
    let entry = entries(|| record(Scope::User, &updated())).pop().unwrap();
    assert_eq!(entry.get("OBJECT_SYSTEMD_USER_UNIT").map(String::as_str), Some("app.service"));
    assert!(!entry.contains_key("OBJECT_SYSTEMD_UNIT"));
}

#[test]
fn what_is_not_known_is_left_out() {
    let event = Event { detail: "no".into(), ..Event::new(EventKind::Problem) };
    let entry = entries(|| record(Scope::System, &event)).pop().unwrap();
    let fields: Vec<&str> = entry.keys().map(String::as_str).collect();
    assert_eq!(fields, ["MESSAGE_ID", "level", "message"]);
    assert_eq!(entry["message"], "problem: no");
    assert_eq!(entry["level"], "WARN");
}

#[test]
fn a_unit_that_was_not_reached_did_not_fail() {
    let event = Event { detail: "app.service: no".into(), ..Event::new(EventKind::NotReached) };
    let entry = entries(|| record(Scope::System, &event)).pop().unwrap();
    assert_eq!((&*entry["level"], &*entry["OUTCOME"]), ("INFO", "not-reached"));
    assert_eq!(entry["MESSAGE_ID"], message::NOT_REACHED.id);
}

#[test]
fn a_note_has_its_id() {
    let write = || note(&message::CONFIGURATION_REJECTED, true, "line 3: unknown key");
    let entry = entries(write).pop().unwrap();
    assert_eq!(entry["MESSAGE_ID"], message::CONFIGURATION_REJECTED.id);
    assert_eq!(entry["level"], "ERROR");
}
