//! What can go wrong with a pod.

use std::io;

/// Why a pod could not be had, or not be changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no pod \"{0}\": see \"updater-launch pod ps\"")]
    NoSuchPod(String),
    #[error("\"{0}\" is the beginning of several pod IDs")]
    Ambiguous(String),
    #[error("pod \"{pod}\" has containers that run ({containers}): stop it, or use --force")]
    Running { pod: String, containers: String },
    #[error("pod \"{0}\" is already being started")]
    Starting(String),
    #[error("\"{0}\" cannot be shared: ipc, net, pid and uts can, or none")]
    Share(String),
    #[error("the pod cannot be named so: {0}")]
    Name(String),
    #[error("name a pod, or --pod-id-file")]
    Nothing,
    #[error("the namespaces of pod \"{pod}\" cannot be made")]
    Namespaces { pod: String, source: io::Error },
    #[error("pod \"{pod}\" does not run any more: its infra process ended")]
    InfraEnded { pod: String },
    #[error(
        "--{flag} is the pod's, which shares its {namespace} namespace: set it where the pod is made"
    )]
    OfPod { flag: &'static str, namespace: &'static str },
}
