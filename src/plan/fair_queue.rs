//! Whose turn it is to be asked: a queue of questions to many hosts, in which a host that does not
//! answer holds up nobody but itself.

use std::collections::{BTreeMap, VecDeque};

/// The most questions that hosts which have not answered yet are asked at once: each may be a
/// connection that is waited for, and a process has a thousand files.
const UNHEARD: usize = 256;

/// Questions, each to one host. Hosts take turns.
///
/// So many at once are asked of hosts that have answered. A host that has not is asked for its share
/// of as many again, and for one at least.
#[derive(Debug)]
pub struct FairQueue<Q> {
    lanes: Vec<Lane<Q>>,
    limit: usize,
    /// Whose turn is next.
    turn: usize,
}

#[derive(Debug)]
struct Lane<Q> {
    waiting: VecDeque<Q>,
    under_way: usize,
    heard: bool,
}

/// Whom a question went to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked(usize);

impl<Q> FairQueue<Q> {
    /// A queue of questions with their hosts, `limit` of which (at least one) are asked at once.
    pub fn new(limit: usize, questions: impl IntoIterator<Item = (String, Q)>) -> Self {
        let mut hosts: BTreeMap<String, VecDeque<Q>> = BTreeMap::new();
        for (host, question) in questions {
            hosts.entry(host).or_default().push_back(question);
        }
        let lane = |waiting| Lane { waiting, under_way: 0, heard: false };
        Self { lanes: hosts.into_values().map(lane).collect(), limit: limit.max(1), turn: 0 }
    }

    /// The next question, where one may be asked now.
    pub fn pop(&mut self) -> Option<(Asked, Q)> {
        let count = self.lanes.len();
        let [silent, heard] = [false, true].map(|heard| self.under_way(heard));
        let may_ask = |lane: &Lane<Q>| match lane.heard {
            true => heard < self.limit,
            false => {
                let share = (self.limit / count).max(1);
                lane.under_way < share && silent < UNHEARD.max(self.limit)
            }
        };
        let at = (0..count).map(|step| (self.turn + step) % count).find(|at| {
            let lane = &self.lanes[*at];
            !lane.waiting.is_empty() && may_ask(lane)
        })?;
        let lane = &mut self.lanes[at];
        let question = lane.waiting.pop_front()?;
        lane.under_way += 1;
        self.turn = (at + 1) % count;
        Some((Asked(at), question))
    }

    /// A question has ended; `heard` where the host said anything at all.
    pub fn ended(&mut self, Asked(at): Asked, heard: bool) {
        let Some(lane) = self.lanes.get_mut(at) else { return };
        lane.under_way = lane.under_way.saturating_sub(1);
        lane.heard = heard;
    }

    /// Of all hosts that have answered, or of all that have not.
    fn under_way(&self, heard: bool) -> usize {
        self.lanes.iter().filter(|lane| lane.heard == heard).map(|lane| lane.under_way).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(limit: usize, hosts: &[(&str, usize)]) -> FairQueue<String> {
        let of = |(host, count): &(&str, usize)| {
            let host = (*host).to_owned();
            (0..*count).map(move |number| (host.clone(), format!("{host}{number}")))
        };
        FairQueue::new(limit, hosts.iter().flat_map(of).collect::<Vec<_>>())
    }

    fn all_now(queue: &mut FairQueue<String>) -> Vec<(Asked, String)> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    fn words(asked: &[(Asked, String)]) -> Vec<&str> {
        asked.iter().map(|(_, question)| question.as_str()).collect()
    }

    #[test]
    fn one_host_is_asked_all_at_once() {
        let mut queue = queue(3, &[("a", 5)]);
        let asked = all_now(&mut queue);
        assert_eq!(words(&asked), ["a0", "a1", "a2"]);
        queue.ended(asked[0].0, true);
        assert_eq!(words(&all_now(&mut queue)), ["a3"]);
    }

    #[test]
    fn hosts_take_turns_and_who_is_silent_keeps_its_share() {
        let mut queue = queue(4, &[("dead", 50), ("live", 6)]);
        let asked = all_now(&mut queue);
        assert_eq!(words(&asked), ["dead0", "live0", "dead1", "live1"]);
        queue.ended(asked[1].0, true);
        queue.ended(asked[3].0, true);
        // All places are the live one's: a silent host has its own.
        assert_eq!(words(&all_now(&mut queue)), ["live2", "live3", "live4", "live5"]);
        queue.ended(asked[0].0, false);
        assert_eq!(words(&all_now(&mut queue)), ["dead2"]);
    }

    #[test]
    fn more_silent_hosts_than_places_leave_the_live_one_alone() {
        let hosts: Vec<String> = (0..40).map(|number| format!("dead{number}.")).collect();
        let mut all: Vec<(&str, usize)> = hosts.iter().map(|host| (host.as_str(), 9)).collect();
        all.push(("live", 20));
        let mut queue = queue(16, &all);
        let asked = all_now(&mut queue);
        assert_eq!(asked.len(), 41, "each is asked once");
        let live = asked.iter().find(|(_, question)| question == "live0").unwrap().0;
        queue.ended(live, true);
        assert_eq!(all_now(&mut queue).len(), 16);
    }

    #[test]
    fn everything_is_asked_once() {
        let mut queue = queue(2, &[("a", 7), ("b", 1), ("c", 3)]);
        let mut seen = Vec::new();
        loop {
            let asked = all_now(&mut queue);
            if asked.is_empty() {
                break;
            }
            for (whom, question) in asked {
                queue.ended(whom, question.ends_with('1'));
                seen.push(question);
            }
        }
        seen.sort();
        assert_eq!(seen, ["a0", "a1", "a2", "a3", "a4", "a5", "a6", "b0", "c0", "c1", "c2"]);
    }

    #[test]
    fn nothing_to_ask() {
        assert!(FairQueue::<()>::new(0, []).pop().is_none());
    }
}
