//! The calls that read: how many there are does not depend on how many containers there are.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::creation;
use super::discover::{self, Owner};
use super::document::{Container, Image, Listed, Row};
use super::image::Facts;
use super::look::{Look, claims};
use super::program::Said;
use super::service::Unserved;
use super::told::{self, Told};
use super::{Podman, words};
use crate::model::{
    Bystander, EngineKind, Failure, FailureKind, ImageIdentity, Reference, UnitName,
};
use crate::update::port::{Inventory, Running};

/// How old a look may be for those who watch a unit, as long as what they watch is still there: all
/// that settle share it.
const LOOK: Duration = Duration::from_secs(2);

/// IDs in one call: far from the longest command line that Linux takes.
const AT_ONCE: usize = 1000;

/// So many things are asked for one by one of the service: more are better asked for by a command.
const FEW: usize = 8;

/// From how many images on two calls ask for them at once.
const MANY: usize = 50;

/// How many calls may fail before it is not the things that they ask for: those that can be read are
/// found by halves.
const FAILING: usize = 40;

/// The oldest Podman whose documents are known.
const OLDEST: u32 = 4;

/// Each once.
fn sorted(ids: impl Iterator<Item = String>) -> Vec<String> {
    Vec::from_iter(BTreeSet::from_iter(ids))
}

impl Podman {
    /// Whether this is a Podman that we know how to speak to.
    pub(super) async fn known(&self) -> Result<(), Failure> {
        self.known.get_or_try_init(|| self.ask_version()).await.copied()
    }

    async fn ask_version(&self) -> Result<(), Failure> {
        let program = &self.options.program;
        let unusable = |why: String| {
            let message = format!(
                "Podman's containers cannot be looked after, for {why}; \"[podman] enabled = false\" \
                 in updaterd.toml leaves them alone"
            );
            Failure::new(FailureKind::Configuration, message)
        };
        if !program.path.exists() {
            return Err(unusable(format!("{} is not there", program.path.display())));
        }
        let arguments = words(["--version"]);
        let said = program.call(&arguments, self.options.timeout).await?;
        let text = String::from_utf8_lossy(&said.output).trim().to_owned();
        let version = text.strip_prefix("podman version ").unwrap_or_default();
        match version.split('.').next().and_then(|major| major.parse::<u32>().ok()) {
            Some(OLDEST..) => Ok(()),
            Some(_) => {
                Err(unusable(format!("Podman {version} is too old: {OLDEST}.0 or later is needed")))
            }
            None if said.success => {
                Err(unusable(format!("{} is no Podman", program.path.display())))
            }
            None => Err(program.failure(&arguments, &said)),
        }
    }

    /// What runs now: two calls.
    async fn look_anew(&self) -> Result<Look, Failure> {
        let begun = Instant::now();
        self.look_at(begun, self.rows().await?).await
    }

    /// What runs now, for the pipeline: three calls, the last two at once.
    pub(super) async fn inventory_and_look(&self) -> Result<(Inventory, Look), Failure> {
        let begun = Instant::now();
        let rows = self.rows().await?;
        let labelled = rows.documents.iter().filter(|row| row.is_labelled());
        let ids = sorted(labelled.map(|row| row.image_id.clone()).filter(|id| !id.is_empty()));
        let (look, images) = tokio::join!(self.look_at(begun, rows), self.facts_or_why(&ids));
        let look = look?;
        Ok((self.take_stock(&look, images?).await?, look))
    }

    async fn rows(&self) -> Result<Told<Row>, Failure> {
        self.list::<Row, 2>("/containers/json", ["ps", "--format=json"]).await
    }

    async fn look_at(&self, begun: Instant, rows: Told<Row>) -> Result<Look, Failure> {
        let Told { documents: rows, mut problems } = rows;
        let labelled = rows.iter().filter(|row| row.is_labelled());
        let pods: Vec<&str> = labelled.map(|row| row.pod.as_str()).collect();
        let infra = |row: &Row| row.is_infra && pods.contains(&row.pod.as_str());
        let ids: Vec<String> = rows
            .iter()
            .filter(|row| row.is_labelled() || infra(row))
            .map(|row| row.id.clone())
            .collect();
        let containers = self.inspect(["container", "inspect"], &ids).await?;
        problems.extend(containers.problems);
        let containers = containers.documents;
        let others = rows.into_iter().filter(|row| !row.is_labelled() && !row.is_infra).collect();
        let names = claims(&containers);
        Ok(Look { begun, containers, others, problems, names })
    }

    /// The containers of a look, with what is known of their images; of those that the list of containers
    /// did not name, it is asked here.
    async fn take_stock(&self, look: &Look, images: Told<Facts>) -> Result<Inventory, Failure> {
        let Told { documents: mut images, mut problems } = images;
        if problems.is_empty() {
            let known = |id: &String| images.iter().any(|image| &image.id == id);
            let named = look.labelled().map(|container| container.image.clone());
            let more = self.facts_or_why(&sorted(named.filter(|id| !known(id)))).await?;
            images.extend(more.documents);
            problems.extend(more.problems);
        }
        let problems = look.problems.iter().cloned().chain(problems).collect();
        let mut inventory = Inventory { problems, ..Inventory::default() };
        for container in look.labelled() {
            // One that vanished with its image meanwhile is as good as not found.
            let Some(image) = images.iter().find(|image| image.id == container.image) else {
                continue;
            };
            let owner = self.owner(look, container);
            match discover::container(container, owner, image) {
                Ok(found) => {
                    inventory.asking.extend(found.as_ref().and_then(|found| {
                        creation::asks_itself(found, &container.config.create_command)
                    }));
                    inventory.containers.extend(found);
                }
                Err(problem) => inventory.problems.push(problem),
            }
        }
        let bystander = |row: &Row| {
            let name = row.names.first()?.clone();
            let reference = row.image.parse().ok()?;
            Some(Bystander { name, engine: EngineKind::Podman, reference })
        };
        inventory.bystanders = look.others.iter().filter_map(bystander).collect();
        Ok(inventory)
    }

    fn owner(&self, look: &Look, container: &Container) -> Owner {
        discover::owner(container, &look.containers, self.options.scope)
    }

    /// What `unit`'s containers of `reference` are now.
    pub(super) async fn watch(
        &self,
        unit: &UnitName,
        reference: &Reference,
    ) -> Result<Vec<Running>, Failure> {
        let asked = Instant::now();
        let mut look = self.look.lock().await;
        let still_true = look.as_ref().is_some_and(|look| {
            // Somebody else looked while we waited, or what was seen is there as it was.
            look.begun >= asked
                || (look.begun.elapsed() < LOOK && !self.members(look, unit, reference).is_empty())
        });
        if !still_true && !self.look_again(look.as_mut(), unit, reference).await? {
            let mut now = self.look_anew().await?;
            let before = look.take().map(|before| before.names);
            before.into_iter().flatten().for_each(|(claim, names)| {
                now.names.entry(claim).or_insert(names);
            });
            *look = Some(now);
        }
        let Some(look) = look.as_ref() else { return Ok(vec![]) };
        let members = self.members(look, unit, reference);
        let unknown: Vec<String> = members
            .iter()
            .map(|member| member.image.clone())
            .filter(|id| !self.images.borrow().contains_key(id))
            .collect();
        self.facts(&unknown).await?;
        let images = self.images.borrow();
        let running = members.into_iter().filter_map(|member| {
            let image = images.get(&member.image)?;
            Some(Running {
                container: member.id.parse().ok()?,
                image: image.identity.clone(),
                digests: image.digests.clone(),
                restarts: member.restart_count,
                health: discover::health(member),
            })
        });
        Ok(running.collect())
    }

    /// Looks in one call whether a unit's containers came back under the names that they had, which says
    /// nothing of the others; a look that is not fresh is made anew whole.
    async fn look_again(
        &self,
        look: Option<&mut Look>,
        unit: &UnitName,
        reference: &Reference,
    ) -> Result<bool, Failure> {
        let Some(look) = look.filter(|look| look.begun.elapsed() < LOOK) else { return Ok(false) };
        let claim = (unit.to_string(), reference.to_string());
        let names = look.names.get(&claim).cloned().unwrap_or_default();
        if names.is_empty() {
            return Ok(false);
        }
        let found = self.inspect(["container", "inspect"], &names).await?;
        look.containers.retain(|container| !names.contains(&container.name));
        look.containers.extend(found.without_problems());
        Ok(!self.members(look, unit, reference).is_empty())
    }

    /// The containers of a look that the unit's cgroup holds now.
    fn members<'a>(
        &self,
        look: &'a Look,
        unit: &UnitName,
        reference: &Reference,
    ) -> Vec<&'a Container> {
        let is_named = |container: &&Container| {
            container.image_name.parse::<Reference>().is_ok_and(|name| &name == reference)
        };
        look.labelled()
            .filter(is_named)
            .filter(|container| self.owner(look, container).unit.as_ref() == Some(unit))
            .collect()
    }

    /// What is known of the images with these names or IDs, which are asked for; those that are not
    /// there or cannot be read are left out.
    pub(super) async fn facts(&self, names: &[String]) -> Result<Vec<Facts>, Failure> {
        Ok(self.facts_or_why(names).await?.without_problems())
    }

    async fn facts_or_why(&self, names: &[String]) -> Result<Told<Facts>, Failure> {
        let Told { documents, problems } = self.inspect_images(names).await?;
        let mut images = self.images.borrow_mut();
        let facts = documents.into_iter().filter_map(|document| {
            let facts = Facts::new(document, &self.host)?;
            let before = images.get(&facts.id).cloned();
            let facts = facts.with(before.as_ref());
            images.insert(facts.id.clone(), facts.clone());
            Some(facts)
        });
        Ok(Told { documents: facts.collect(), problems })
    }

    /// Many images are work for two processors. (Containers are not: the calls wait for one lock.)
    async fn inspect_images(&self, names: &[String]) -> Result<Told<Image>, Failure> {
        let verb = ["image", "inspect"];
        if names.len() < MANY {
            return self.inspect(verb, names).await;
        }
        let (first, second) = names.split_at(names.len() / 2);
        let both =
            tokio::join!(Box::pin(self.inspect(verb, first)), Box::pin(self.inspect(verb, second)));
        match both {
            (Ok(mut told), Ok(more)) => {
                told.add(more);
                Ok(told)
            }
            (Ok(mut told), Err(failure)) | (Err(failure), Ok(mut told)) => {
                told.problems.push(failure);
                Ok(told)
            }
            (Err(failure), Err(_)) => Err(failure),
        }
    }

    /// What was learnt of an image before.
    pub(super) fn known_image(&self, image: &ImageIdentity) -> Option<String> {
        let images = self.images.borrow();
        let exact = images.values().find(|facts| facts.digests.contains(&image.manifest));
        exact
            .or_else(|| images.values().find(|facts| facts.is(image)))
            .map(|facts| facts.id.clone())
    }

    /// What is known of every image in storage.
    pub(super) async fn all_images(&self) -> Result<Vec<Facts>, Failure> {
        let listed = self.ask::<Listed>(words(["images", "--all", "--format=json"]), &[]).await?;
        let ids: Vec<String> =
            listed.without_problems().into_iter().map(|listed| listed.id).collect();
        self.facts(&ids).await
    }

    /// The ID of an image in storage.
    pub(super) async fn id_of(&self, image: &ImageIdentity) -> Result<String, Failure> {
        if let Some(id) = self.known_image(image) {
            return Ok(id);
        }
        self.all_images().await?;
        self.known_image(image).ok_or_else(|| {
            let message = format!("Podman has no image {} in its storage", image.manifest);
            Failure::new(FailureKind::NotFound, message)
        })
    }

    /// All things of a kind, from the service where there is one.
    pub(super) async fn list<T: DeserializeOwned, const N: usize>(
        &self,
        path: &str,
        command: [&str; N],
    ) -> Result<Told<T>, Failure> {
        match self.get(path).await {
            Ok(Some(document)) => Told::read(&document, &command.join(" ")),
            // Whatever it is that the service cannot, the command may, or says why not.
            Ok(None) | Err(Unserved) => self.ask(words(command), &[]).await,
        }
    }

    /// What the service knows of things with these names; `None` without one, and where it fails at one:
    /// a container that is being removed is an error to it, and to the command one that is gone.
    async fn inspect_one_by_one<T: DeserializeOwned>(
        &self,
        verb: [&str; 2],
        names: &[String],
    ) -> Option<Result<Told<T>, Failure>> {
        let mut all = Told::default();
        for name in names {
            match self.get(&format!("/{}s/{name}/json", verb[0])).await {
                Ok(None) => {}
                Ok(Some(document)) => match serde_json::from_slice(&document) {
                    Ok(document) => all.take(&document, &verb.join(" ")),
                    Err(error) => {
                        all.problems.push(told::unreadable(&verb.join(" "), name, &error))
                    }
                },
                Err(Unserved) => return None,
            }
        }
        Some(match all.problems.pop() {
            Some(failure) if all.documents.is_empty() => Err(failure),
            last => {
                all.problems.extend(last);
                Ok(all)
            }
        })
    }

    /// Asks for documents of the things with these names. Some may have vanished since they were
    /// listed: Podman fails then, and shows the others. Where one of them is damaged, it shows none:
    /// what is wrong with that one is not to be the others' end.
    async fn inspect<T: DeserializeOwned>(
        &self,
        verb: [&str; 2],
        names: &[String],
    ) -> Result<Told<T>, Failure> {
        if names.len() <= FEW
            && let Some(told) = self.inspect_one_by_one(verb, names).await
        {
            return told;
        }
        let mut all = Told::default();
        let (mut failed, mut answered) = (0, names.is_empty());
        let mut left: Vec<&[String]> = names.chunks(AT_ONCE).collect();
        while let Some(names) = left.pop() {
            let (arguments, said) = self.say(words(verb), names).await?;
            match self.read(&arguments, names, &said) {
                Ok(told) => {
                    answered = true;
                    all.add(told);
                }
                Err(failure) if failed == FAILING => return Err(failure),
                Err(failure) => {
                    failed += 1;
                    match names.split_at(names.len() / 2) {
                        ([], _) => all.problems.push(failure),
                        (first, second) => left.extend([second, first]),
                    }
                }
            }
        }
        match all.problems.pop() {
            Some(failure) if !answered => Err(failure),
            last => {
                all.problems.extend(last);
                Ok(all)
            }
        }
    }

    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        arguments: Vec<OsString>,
        names: &[String],
    ) -> Result<Told<T>, Failure> {
        let (arguments, said) = self.say(arguments, names).await?;
        self.read(&arguments, names, &said)
    }

    async fn say(
        &self,
        mut arguments: Vec<OsString>,
        names: &[String],
    ) -> Result<(Vec<OsString>, Said), Failure> {
        arguments.extend(names.iter().map(OsString::from));
        let call = Box::pin(self.options.program.call(&arguments, self.options.timeout));
        // Reading harms nobody, whichever version it is.
        let (known, said) = tokio::join!(self.known(), call);
        known?;
        Ok((arguments, said?))
    }

    fn read<T: DeserializeOwned>(
        &self,
        arguments: &[OsString],
        names: &[String],
        said: &Said,
    ) -> Result<Told<T>, Failure> {
        let vanished = |line: &str| {
            line.contains("no such container")
                || line.contains("image not known")
                || line.contains("no such object")
        };
        let complaint = said.error.contains("Error: ");
        if !said.success && (names.is_empty() || !complaint || !vanished(&said.error)) {
            return Err(self.options.program.failure(arguments, said));
        }
        let verb: Vec<_> = arguments.iter().take(2).map(|word| word.to_string_lossy()).collect();
        Told::read(&said.output, &verb.join(" "))
    }
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
