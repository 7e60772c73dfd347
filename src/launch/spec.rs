//! The runtime's specification of a container (OCI runtime-spec). Pure: from what was asked for and
//! what the image says to what the runtime is told.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::str::FromStr;

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Capabilities as CapabilitySet, Capability, LinuxBuilder, LinuxCapabilitiesBuilder,
    LinuxResourcesBuilder, Process, ProcessBuilder, RootBuilder, Spec, SpecBuilder, UserBuilder,
};

use crate::launch::isolation::capability::Capabilities;
use crate::launch::isolation::namespaces::Namespaces;
use crate::launch::isolation::seccomp;
use crate::launch::isolation::view::View;
use crate::launch::process::attributes::Attributes;
use crate::launch::process::user::User;
use crate::launch::storage::devices::Node;
use crate::launch::storage::mounts;
use crate::launch::storage::mounts::{Bound, Kernel, Own};
use crate::launch::storage::volume::Volume;

/// All that a specification is made from.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) rootfs: &'a Path,
    pub(crate) own: Own,
    pub(crate) hostname: &'a str,
    pub(crate) kernel: Kernel,
    pub(crate) namespaces: &'a Namespaces,
    pub(crate) view: View,
    /// The cgroup, from the root of the hierarchy.
    pub(crate) cgroup: &'a str,
    pub(crate) volumes: &'a [Volume],
    pub(crate) files: &'a [Bound],
    pub(crate) devices: &'a [Node],
    pub(crate) process: Program<'a>,
    pub(crate) annotations: HashMap<String, String>,
}

/// One program in a container: its first, or one of `exec`.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    pub(crate) user: &'a User,
    pub(crate) arguments: Vec<String>,
    /// `NAME=VALUE`.
    pub(crate) environment: Vec<String>,
    pub(crate) directory: &'a str,
    pub(crate) capabilities: &'a Capabilities,
    pub(crate) terminal: bool,
    pub(crate) attributes: &'a Attributes,
}

/// The specification of a whole container.
pub(crate) fn spec(wanted: Wanted<'_>) -> Result<Spec, OciSpecError> {
    let mut linux = LinuxBuilder::default()
        .namespaces(wanted.namespaces.to_spec()?)
        .cgroups_path(wanted.cgroup)
        // Otherwise what the host mounts later appears below the volumes, writable.
        .rootfs_propagation("private")
        // No device rules: what they are for is in `devices`.
        .resources(LinuxResourcesBuilder::default().devices(vec![]).build()?)
        .devices(wanted.devices.iter().map(Node::to_spec).collect::<Result<Vec<_>, _>>()?)
        .build()?;
    let mounts = mounts::list(wanted.own, wanted.kernel, wanted.volumes, wanted.files)?;
    let mounts = wanted.view.adjust(mounts);
    wanted.view.apply(&mut linux)?;
    let root = RootBuilder::default().path(wanted.rootfs).readonly(wanted.own.read_only).build()?;
    let mut spec = SpecBuilder::default()
        .version("1.0.2")
        .root(root)
        .process(process(wanted.process)?)
        .mounts(mounts)
        .linux(linux)
        .build()?;
    // The name of a namespace that others have, too, is theirs.
    spec.set_hostname(wanted.namespaces.uts.is_own().then(|| wanted.hostname.to_owned()));
    spec.set_annotations(Some(wanted.annotations));
    spec.set_hooks(None);
    Ok(spec)
}

/// The specification of one program. It keeps what the filter needs until that is loaded.
pub(crate) fn process(program: Program<'_>) -> Result<Process, OciSpecError> {
    let with_filter = |names: &std::collections::BTreeSet<String>| {
        set(names.iter().map(String::as_str).chain(seccomp::TO_LOAD))
    };
    let plain = |names: &std::collections::BTreeSet<String>| set(names.iter().map(String::as_str));
    let capabilities = LinuxCapabilitiesBuilder::default()
        .bounding(with_filter(&program.capabilities.bounding))
        .effective(with_filter(&program.capabilities.effective))
        .permitted(with_filter(&program.capabilities.effective))
        .inheritable(plain(&program.capabilities.ambient))
        .ambient(plain(&program.capabilities.ambient))
        .build()?;
    let user = UserBuilder::default()
        .uid(program.user.uid)
        .gid(program.user.gid)
        .additional_gids(program.user.groups.clone())
        .build()?;
    let mut process = ProcessBuilder::default()
        .terminal(program.terminal)
        .user(user)
        .args(program.arguments)
        .env(program.environment)
        .cwd(program.directory)
        .capabilities(capabilities)
        .build()?;
    program.attributes.apply(&mut process)?;
    Ok(process)
}

fn set<'a>(names: impl Iterator<Item = &'a str>) -> CapabilitySet {
    names.filter_map(|name| Capability::from_str(name).ok()).collect::<HashSet<_>>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::isolation::capability;
    use crate::launch::isolation::namespaces::Namespace;
    use oci_spec::runtime::LinuxNamespaceType;

    fn user(uid: u32) -> User {
        User { uid, gid: 0, groups: vec![], home: None }
    }

    fn spec_of(uid: u32, network: Namespace) -> Spec {
        spec(Wanted {
            rootfs: Path::new("/r"),
            own: Own::default(),
            hostname: "h",
            kernel: Kernel::default(),
            namespaces: &Namespaces { network, ..Namespaces::default() },
            view: View::default(),
            cgroup: "/a.service/payload",
            volumes: &[],
            files: &[],
            devices: &[],
            annotations: HashMap::new(),
            process: Program {
                user: &user(uid),
                arguments: vec!["sh".into()],
                environment: vec![],
                directory: "/",
                capabilities: &Capabilities::new(&[], &[], uid, &capability::known()).unwrap(),
                terminal: false,
                attributes: &Attributes::default(),
            },
        })
        .unwrap()
    }

    #[test]
    fn no_new_privileges_is_not_mentioned() {
        let text = serde_json::to_string(&spec_of(0, Namespace::Host)).unwrap();
        assert!(!text.contains("noNewPrivileges"), "{text}");
    }

    #[test]
    fn the_network_namespace_is_as_asked_for() {
        let has_network = |network| {
            let spec = spec_of(0, network);
            let linux = spec.linux().as_ref().unwrap();
            let namespaces = linux.namespaces().as_ref().unwrap();
            namespaces.iter().any(|namespace| namespace.typ() == LinuxNamespaceType::Network)
        };
        assert!(!has_network(Namespace::Host));
        assert!(has_network(Namespace::Own));
    }

    #[test]
    fn a_user_has_no_capability_in_effect_but_for_the_filter() {
        let spec = spec_of(1000, Namespace::Own);
        let process = spec.process().as_ref().unwrap();
        let effective = process.capabilities().as_ref().unwrap().effective().as_ref().unwrap();
        assert_eq!(effective.len(), seccomp::TO_LOAD.len());
    }
}
