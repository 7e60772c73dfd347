//! What systemd said last of a unit that it has forgotten since.
//!
//! It forgets a unit that is stopped and that nothing refers to, and with it whether it was asked to
//! stop. Over a bus a unit can be referred to (`RefUnit`). Who speaks to systemd itself cannot do
//! that, but hears of each change, and the last one before systemd forgets the unit.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt as _;
use tokio::task::AbortHandle;
use zbus::fdo::PropertiesChanged;
use zbus::{Connection, OwnedObjectPath, OwnedVariant};

use super::unit::{Properties, SERVICE, UNIT, proxy};

/// Listens to what is said of one unit, for as long as it lives.
#[derive(Debug)]
pub(super) struct LastWords {
    heard: Arc<Mutex<Heard>>,
    listener: AbortHandle,
}

/// What was said so far.
#[derive(Debug, Default)]
struct Heard {
    last: Properties,
    /// What was said of the service since. systemd speaks of the unit right after, and only then is
    /// it known of which time that was.
    service: Vec<(String, OwnedVariant)>,
}

impl LastWords {
    /// Listens to the unit at `path` from now on.
    pub(super) async fn listen(
        connection: &Connection,
        path: OwnedObjectPath,
    ) -> zbus::Result<Self> {
        let mut changes = proxy(connection, path).await?.receive_properties_changed().await?;
        let heard = Arc::<Mutex<Heard>>::default();
        let hears = Arc::clone(&heard);
        let listener = tokio::spawn(async move {
            while let Some(change) = changes.next().await {
                hears.lock().unwrap_or_else(PoisonError::into_inner).hear(&change);
            }
        });
        Ok(Self { heard, listener: listener.abort_handle() })
    }

    /// Whether the connection, and what it could tell, ended.
    pub(super) fn are_over(&self) -> bool {
        self.listener.is_finished()
    }

    /// Puts what was said last in the place of what is known of a unit that was loaded anew.
    pub(super) fn recall(&self, properties: &mut Properties) {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let said = [
            (&heard.last.general, &mut properties.general),
            (&heard.last.service, &mut properties.service),
        ];
        for (last, now) in said {
            let copy = |(name, value): (&String, &OwnedVariant)| {
                value.try_clone().ok().map(|value| (name.clone(), value))
            };
            now.extend(last.iter().filter_map(copy));
        }
    }
}

impl Drop for LastWords {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Heard {
    fn hear(&mut self, change: &PropertiesChanged) {
        // A signal that is not as documented says nothing.
        let Ok(args) = change.args() else { return };
        let changed = args
            .changed_properties()
            .iter()
            .filter_map(|(name, value)| Some((name.to_string(), value.try_to_owned().ok()?)));
        match args.interface_name().as_str() {
            SERVICE => self.service = changed.collect(),
            UNIT => self.hear_of_unit(changed.collect()),
            _ => {}
        }
    }

    /// Of a unit that was loaded anew, and not started since, there is nothing to say.
    fn hear_of_unit(&mut self, changed: Vec<(String, OwnedVariant)>) {
        let service = std::mem::take(&mut self.service);
        let said = Properties { general: changed.into_iter().collect(), ..Properties::default() };
        if said.was_started() {
            self.last.general.extend(said.general);
            self.last.service.extend(service);
        }
    }
}
