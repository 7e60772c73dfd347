//! Who the users of a pod's containers are outside.

use crate::launch::place::Place;
use crate::launch::pod::definition::Pod;
use crate::launch::pod::store::Pods;
use crate::launch::userns::asked::Asked;
use crate::launch::userns::have::{self, Setting};
use crate::launch::userns::own::Own;
use crate::launch::{Error, userns};

impl Pod {
    /// What was asked for.
    pub(crate) fn asked_users(&self) -> Result<Asked, Error> {
        Ok(Asked::read(&self.users).map_err(userns::Error::from)?)
    }

    /// The user namespace of the pod's containers, where that is not the launcher's. IDs that only
    /// they are to have are the pod's until it is removed: what they wrote may belong to them.
    pub(crate) fn have_users(&self, place: &Place) -> Result<Option<Own>, Error> {
        let pods = Pods::open(place);
        let mut note = |allotted| pods.write(&Self { allotted: Some(allotted), ..self.clone() });
        // Of which images its containers will be is not known.
        let needed = || userns::USUAL;
        let (id, allotted) = (&self.id, self.allotted);
        have::have(
            &self.asked_users()?,
            Setting { place, id, allotted, needed: &needed, note: &mut note },
        )
    }
}
