//! A container's volumes, made ready to be bound into it: filled, made its user's, put under
//! overlays, shown by other owners. What has to be mounted for that is mounted here, in our own
//! mount namespace, and bound from here; of what was asked for only binds are left.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::mount::{UnmountFlags, unmount};

use crate::disk;
use crate::launch::place::Place;
use crate::launch::storage::flags::idmap::InvalidMapping;
use crate::launch::storage::hold::Held;
use crate::launch::storage::mounts::Bound;
use crate::launch::storage::overlay::Overlay;
use crate::launch::storage::places::{self, Places};
use crate::launch::storage::propagation::{self, Share};
use crate::launch::storage::rootfs::{Rootfs, like, resolve};
use crate::launch::storage::secrets::Files;
use crate::launch::storage::tree::Tree;
use crate::launch::storage::volume::{Options, Source, Upper, Volume};
use crate::launch::storage::volumes::{self, Backing, Volumes};
use crate::launch::storage::{file_system, fill, idmap, own};
use crate::launch::userns;
use crate::launch::userns::own::Own;
use crate::model::{ContainerId, Scope};
use crate::store::unpack;

/// Why a volume cannot be mounted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Volumes(#[from] volumes::Error),
    #[error(transparent)]
    Place(#[from] places::Error),
    #[error(transparent)]
    Propagation(#[from] propagation::Error),
    #[error("cannot {what} the volume at {target}", target = target.display())]
    Io { what: &'static str, target: PathBuf, source: std::io::Error },
    #[error("{path} is the system's own: its files are not made over to a container", path = .0.display())]
    Systems(PathBuf),
    #[error("no image {image} in local storage: pull it first")]
    NoImage { image: String },
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    #[error("the volume at {target} cannot be mapped", target = target.display())]
    Mapping { target: PathBuf, source: InvalidMapping },
    #[error(
        "the volume at {target}: idmap is root's, the kernel maps no mount for an ordinary user; \
         without it, --userns=keep-id shows the files of the calling user as theirs",
        target = .0.display()
    )]
    Idmap(PathBuf),
    #[error(transparent)]
    Users(#[from] userns::Error),
}

/// All that volumes are made ready from.
#[derive(Debug)]
pub(crate) struct Staging<'a> {
    pub(crate) place: &'a Place,
    pub(crate) id: &'a ContainerId,
    pub(crate) held: &'a Held,
    pub(crate) rootfs: &'a Rootfs,
    /// Whom its program runs as, on the host: user and group.
    pub(crate) on_host: (u32, u32),
    /// The same, as files of ours name them.
    pub(crate) on_disk: (u32, u32),
    /// The container's user namespace, where it has one of its own.
    pub(crate) own: Option<&'a Own>,
}

/// The volumes of a container, ready. What was mounted for them is only there until this is
/// dropped; the container has its own mounts by then.
#[derive(Debug)]
pub(crate) struct Staged {
    /// Binds, and file systems that begin empty; at their places.
    volumes: Vec<Volume>,
    shares: Vec<Share>,
    places: Places,
    mounted: Vec<PathBuf>,
    secrets: Option<Files>,
}

impl Staged {
    pub(crate) fn volumes(&self) -> &[Volume] {
        &self.volumes
    }

    /// What is to be shared with the host once the container's mounts are made.
    pub(crate) fn take_shares(&mut self) -> Vec<Share> {
        std::mem::take(&mut self.shares)
    }

    /// Keeps what volumes are bound from.
    pub(crate) fn keep(&mut self, secrets: Files) {
        self.secrets = Some(secrets);
    }

    /// Our own files at their places; where something else was asked for, that is there.
    pub(crate) fn bind(&self, files: Vec<Bound>) -> Result<Vec<Bound>, Error> {
        let mut bound = Vec::new();
        for file in files {
            let target = self.places.find(&file.target)?;
            if !self.places.is_taken(&target) {
                bound.push(Bound { target, ..file });
            }
        }
        Ok(bound)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        for path in self.mounted.iter().rev() {
            let _ = unmount(path, UnmountFlags::DETACH);
        }
    }
}

/// What containers change under their overlays is not kept.
pub(crate) fn clear(place: &Place, id: &ContainerId) {
    if let Err(error) = disk::remove_tree(&directory(place, id)) {
        let error = volumes::Error::io("remove", directory(place, id), error);
        eprintln!("Warning: {}, ignoring", crate::model::failure::chain(&error));
    }
}

fn directory(place: &Place, id: &ContainerId) -> PathBuf {
    place.writable(id).join("volumes")
}

impl Staging<'_> {
    /// Makes `asked` ready, and where nothing of that is in its place, `implied`.
    pub(crate) fn stage(&self, asked: &[Volume], implied: &[Volume]) -> Result<Staged, Error> {
        clear(self.place, self.id);
        let places = Places::new(self.rootfs.path())?;
        let (volumes, shares, mounted) = (Vec::new(), Vec::new(), Vec::new());
        let mut staged = Staged { volumes, shares, places, mounted, secrets: None };
        let mut in_order: Vec<&Volume> = asked.iter().collect();
        in_order.sort_by_key(|volume| volume.target.components().count());
        for volume in in_order {
            self.add(&mut staged, volume, asked)?;
        }
        for volume in implied {
            if !staged.places.is_taken(&staged.places.find(&volume.target)?) {
                self.add(&mut staged, volume, implied)?;
            }
        }
        Ok(staged)
    }

    fn add(&self, staged: &mut Staged, volume: &Volume, all: &[Volume]) -> Result<(), Error> {
        let next = staged.volumes.len();
        let at = directory(self.place, self.id).join(next.to_string());
        let mut making = Making { staging: self, volume, all, at, mounted: &mut staged.mounted };
        let mut options = volume.options.clone();
        let path = making.source(&mut options)?;
        let place = staged.places.mount(&volume.target, path.as_deref())?;
        let source = match path {
            Some(path) => {
                let host = self.held.host.as_ref();
                let share = |path| propagation::plan(host, path, &place, options.propagation);
                staged.shares.extend(share(&path)?);
                Source::Bind { path }
            }
            None => volume.source.clone(),
        };
        staged.volumes.push(Volume { source, target: place, options });
        Ok(())
    }
}

/// One volume while it is made ready.
struct Making<'a> {
    staging: &'a Staging<'a>,
    volume: &'a Volume,
    /// It and those beside it.
    all: &'a [Volume],
    /// Where what it needs may be mounted and written.
    at: PathBuf,
    mounted: &'a mut Vec<PathBuf>,
}

impl Making<'_> {
    fn failed(&self, what: &'static str) -> impl Fn(std::io::Error) -> Error + 'static {
        let target = self.volume.target.clone();
        move |source| Error::Io { what, target: target.clone(), source }
    }

    /// The path that is to be bound; `None` for a tmpfs that the runtime can make itself.
    fn source(&mut self, options: &mut Options) -> Result<Option<PathBuf>, Error> {
        let path = match &self.volume.source {
            Source::Bind { path } => std::fs::canonicalize(path)
                .map_err(|source| volumes::Error::io("use the volume", path, source))?,
            Source::Volume { name, subpath, .. } => {
                let path = self.named(name, options)?;
                self.below(path, subpath.as_deref())?
            }
            Source::Image { manifest, reference, subpath, .. } => {
                let path = self.image(manifest.as_ref(), &reference.to_string())?;
                self.below(path, subpath.as_deref())?
            }
            Source::Tmpfs { data, filled } => match self.tmpfs(data, *filled)? {
                Some(path) => path,
                None => return Ok(None),
            },
        };
        self.make_over(&path)?;
        let path = match &options.idmap {
            Some(asked) => {
                let failed = self.failed("map the owners of");
                if self.staging.place.scope == Scope::User {
                    return Err(Error::Idmap(self.volume.target.clone()));
                }
                let mapping =
                    asked.resolve(self.staging.own.map(Own::mapping)).map_err(|source| {
                        Error::Mapping { target: self.volume.target.clone(), source }
                    })?;
                let namespace = idmap::namespace(&mapping).map_err(&failed)?;
                let at = self.mount_point("mapped", &path)?;
                idmap::attach(&path, &at, namespace.as_fd(), options.is_recursive())
                    .map_err(failed)?;
                self.mounted.push(at.clone());
                at
            }
            None => path,
        };
        match &options.overlay {
            Some(upper) => self.overlay(&[path], upper).map(Some),
            None => Ok(Some(path)),
        }
    }

    /// `U`, `z`, `Z`.
    fn make_over(&self, path: &Path) -> Result<(), Error> {
        let options = &self.volume.options;
        let relabel = options.relabel.filter(|_| own::has_labels());
        if (options.chown || relabel.is_some()) && own::is_systems(path) {
            return Err(Error::Systems(path.to_owned()));
        }
        if options.chown {
            // Files of ours have the container's own numbers, whoever that is on the host.
            let (uid, gid) = match path.starts_with(&self.staging.place.state) {
                true => self.staging.on_disk,
                false => self.staging.on_host,
            };
            own::chown(path, uid, gid).map_err(self.failed("make over"))?;
        }
        if let Some(relabel) = relabel {
            own::relabel(path, relabel, self.staging.id).map_err(self.failed("label"))?;
        }
        Ok(())
    }

    /// What the image has in the volume's place, unless another volume is around it.
    fn of_image(&self) -> Option<std::os::fd::OwnedFd> {
        let around = |other: &&Volume| {
            let is_around =
                other.target != self.volume.target && self.volume.target.starts_with(&other.target);
            is_around && !matches!(other.source, Source::Tmpfs { filled: true, .. })
        };
        if self.all.iter().any(|other| around(&other)) {
            return None;
        }
        self.staging.rootfs.open_directory(&self.volume.target)
    }

    fn named(&self, name: &str, options: &mut Options) -> Result<PathBuf, Error> {
        let volumes = Volumes::open(self.staging.place);
        let lock = volumes.hold(name)?;
        let mut named = volumes.find(name)?;
        let data = volumes.data(name);
        let path = match named.backing()? {
            Backing::Bind { device, words } => {
                let mut more = Options { words, ..options.clone() };
                options.words.iter().for_each(|word| more.set(word));
                options.words = more.words;
                std::fs::canonicalize(&device).map_err(|source| {
                    volumes::Error::io("use the volume's device", device, source)
                })?
            }
            Backing::Tmpfs { .. } => {
                if self.staging.held.is_fresh(name) {
                    self.begin(&data)?;
                    self.staging.held.filled(name).map_err(self.failed("fill"))?;
                }
                data
            }
            Backing::Directory => {
                if named.fresh {
                    self.begin_whole(&data)?;
                }
                data
            }
        };
        if named.fresh {
            named.fresh = false;
            volumes.write(&named)?;
        }
        drop(lock);
        Ok(path)
    }

    /// Fills a volume that nobody has used: beside its place, and in its place only when it is
    /// whole and on disk.
    fn begin_whole(&self, data: &Path) -> Result<(), Error> {
        let failed = self.failed("fill");
        let is_empty = std::fs::read_dir(data).map_err(&failed)?.next().is_none();
        if !is_empty {
            return Ok(());
        }
        let filling = data.with_file_name("_filling");
        disk::remove_tree(&filling).map_err(&failed)?;
        std::fs::create_dir(&filling).map_err(&failed)?;
        self.begin(&filling)?;
        let synced = || -> std::io::Result<()> {
            rustix::fs::syncfs(std::fs::File::open(&filling)?)?;
            std::fs::rename(&filling, data)?;
            data.parent().map_or(Ok(()), disk::sync_directory)
        };
        synced().map_err(failed)
    }

    /// Copies what the image has there; without such a directory, it is the container's user's.
    fn begin(&self, at: &Path) -> Result<(), Error> {
        let failed = self.failed("fill");
        match self.of_image() {
            Some(image) if self.volume.options.copy => fill::fill(&fill::path_of(&image), at, &[]),
            Some(image) => like(&fill::path_of(&image), at),
            None => {
                let (uid, gid) = self.staging.on_disk;
                std::os::unix::fs::chown(at, Some(uid), Some(gid)).and_then(|()| open_up(at))
            }
        }
        .map_err(failed)
    }

    /// A directory or file below `path`, reached through no link out of it.
    fn below(&mut self, path: PathBuf, subpath: Option<&Path>) -> Result<PathBuf, Error> {
        let Some(subpath) = subpath else { return Ok(path) };
        let failed = self.failed("find the subpath of");
        let root = std::fs::File::open(&path).map_err(&failed)?;
        let opened = resolve(&root, subpath, OFlags::PATH | OFlags::CLOEXEC);
        let opened = opened.map_err(|error| failed(error.into()))?;
        let at = self.mount_point("below", &fill::path_of(&opened))?;
        let tree = Tree::clone_of_open(&opened, false).map_err(&failed)?;
        tree.attach(&at).map_err(failed)?;
        self.mounted.push(at.clone());
        Ok(at)
    }

    fn image(
        &mut self,
        manifest: Option<&crate::model::Digest>,
        reference: &str,
    ) -> Result<PathBuf, Error> {
        let missing = || Error::NoImage { image: reference.to_owned() };
        let store = crate::store::Store::open(&self.staging.place.state)?;
        let image =
            manifest.map_or(Ok(None), |manifest| store.image(manifest))?.ok_or_else(missing)?;
        let mut layers = image.layers;
        if let Some(own) = self.staging.own {
            layers = own.layers(self.staging.place, layers)?;
        }
        if layers.is_empty() {
            layers.push(self.directory("empty")?);
        }
        self.overlay(&layers, &Upper::default())
    }

    /// An overlay of `layers`, bottom first, whose changes go where `upper` says.
    fn overlay(&mut self, layers: &[PathBuf], upper: &Upper) -> Result<PathBuf, Error> {
        let failed = self.failed("put an overlay on");
        let given = |path: &Option<PathBuf>, name| match path {
            Some(path) => Ok(path.clone()),
            None => self.directory(name),
        };
        let (changes, work) = (given(&upper.upper, "upper")?, given(&upper.work, "work")?);
        if let Some(top) = layers.last()
            && upper.upper.is_none()
        {
            like(top, &changes).map_err(&failed)?;
        }
        let at = self.directory("merged")?;
        let userxattr = unpack::for_userxattr();
        Overlay { layers, upper: &changes, work: &work, userxattr }
            .mount(&at)
            .map_err(|error| failed(error.into()))?;
        self.mounted.push(at.clone());
        Ok(at)
    }

    /// A tmpfs that is made here, because something has to be done with it.
    fn tmpfs(&mut self, data: &[String], filled: bool) -> Result<Option<PathBuf>, Error> {
        let image = if filled { self.of_image() } else { None };
        if image.is_none() && !self.volume.options.chown {
            return Ok(None);
        }
        let at = self.directory("tmpfs")?;
        // Without flags: a bound mount can only be given more of them.
        file_system::tmpfs(&at, data, &[]).map_err(self.failed("mount"))?;
        self.mounted.push(at.clone());
        if let Some(image) = image {
            fill::fill(&fill::path_of(&image), &at, data).map_err(self.failed("fill"))?;
        }
        Ok(Some(at))
    }

    fn directory(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.at.join(name);
        disk::make_private(&path)
            .and_then(|()| open_up(&path))
            .map_err(self.failed("make room for"))?;
        Ok(path)
    }

    /// A directory or file, as `like` is.
    fn mount_point(&self, name: &str, like: &Path) -> Result<PathBuf, Error> {
        if like.is_dir() {
            return self.directory(name);
        }
        let path = self.directory("file")?.join(name);
        std::fs::File::create(&path).map_err(self.failed("make room for"))?;
        Ok(path)
    }
}

fn open_up(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755))
}
