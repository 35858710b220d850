//! Rebalances: gathering the members, electing who leads them, handing out what that one assigns.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::member::{Caller, Joined, Member, SyncResult, Synced};
use super::{Group, State};

impl Group {
    /// Has everyone join anew, unless that is under way.
    pub(super) fn prepare_rebalance(&mut self, now: Instant) {
        if matches!(self.state, State::PreparingRebalance { .. }) {
            return;
        }
        for member in self.members.iter_mut().filter(|m| m.is_syncing()) {
            // Its session did not run while it waited.
            member.touch(now);
            member.answer_sync(Err(ResponseError::RebalanceInProgress));
        }
        let not_before = if self.state == State::Empty {
            now + self.initial_delay
        } else {
            now
        };
        self.state = State::PreparingRebalance {
            not_before,
            deadline: now + self.rebalance_timeout(),
        };
    }

    fn rebalance_timeout(&self) -> Duration {
        self.members
            .iter()
            .map(|m| m.who.rebalance_timeout)
            .max()
            .unwrap_or_default()
    }

    /// Ends the gathering if there is nobody left to wait for.
    pub(super) fn try_complete_join(&mut self, now: Instant) {
        let State::PreparingRebalance { not_before, .. } = self.state else {
            return;
        };
        if now >= not_before && self.everyone_is_here() {
            self.complete_join(now);
        }
    }

    pub(super) fn everyone_is_here(&self) -> bool {
        self.pending.is_empty() && self.members.iter().all(Member::is_joining)
    }

    /// Makes those who are here the next generation.
    pub(super) fn complete_join(&mut self, now: Instant) {
        self.members.retain(Member::is_joining);
        self.generation = self.generation.saturating_add(1);
        let Some(first) = self.members.first() else {
            self.state = State::Empty;
            self.protocol.clear();
            self.leader.clear();
            return;
        };
        if !self.members.iter().any(|m| m.id == self.leader) {
            self.leader.clone_from(&first.id);
        }
        self.protocol = self.elect_protocol();
        self.state = State::CompletingRebalance {
            deadline: now + self.rebalance_timeout(),
        };
        for index in 0..self.members.len() {
            let joined = self.joined(index);
            let member = &mut self.members[index];
            member.assignment = Bytes::new();
            member.touch(now);
            member.answer_join(Ok(joined));
        }
    }

    /// Everyone votes for the first of its strategies that all others know too; of those with as many
    /// votes the first one named wins.
    fn elect_protocol(&self) -> String {
        let common = |name: &str| self.members.iter().all(|m| m.who.knows(name));
        let mut votes: Vec<(&str, usize)> = Vec::new();
        for member in &self.members {
            let Some((choice, _)) = member.who.protocols.iter().find(|(name, _)| common(name)) else {
                continue;
            };
            match votes.iter_mut().find(|(name, _)| name == choice) {
                Some((_, n)) => *n += 1,
                None => votes.push((choice, 1)),
            }
        }
        votes
            .iter()
            .rev()
            .max_by_key(|(_, n)| *n)
            .map(|(name, _)| (*name).to_owned())
            .unwrap_or_default()
    }

    pub(super) fn joined(&self, index: usize) -> Joined {
        let member = &self.members[index];
        let describe = |m: &Member| (m.id.clone(), m.who.instance_id.clone(), m.subscription(&self.protocol));
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            member_id: member.id.clone(),
            members: if member.id == self.leader {
                self.members.iter().map(describe).collect()
            } else {
                Vec::new()
            },
            skip_assignment: false,
        }
    }

    /// Takes the leader's assignments, or keeps a follower waiting for its own.
    pub fn sync(
        &mut self,
        caller: &Caller<'_>,
        assignments: Vec<(String, Bytes)>,
        reply: oneshot::Sender<SyncResult>,
        now: Instant,
    ) {
        let index = match self.identify(caller) {
            Ok(index) => index,
            Err(error) => return drop(reply.send(Err(error))),
        };
        self.members[index].touch(now);
        match self.state {
            State::Empty => drop(reply.send(Err(ResponseError::UnknownMemberId))),
            State::PreparingRebalance { .. } => drop(reply.send(Err(ResponseError::RebalanceInProgress))),
            State::Stable => drop(reply.send(Ok(self.synced(index)))),
            State::CompletingRebalance { .. } => {
                self.members[index].wait_to_sync(reply);
                if self.members[index].id == self.leader {
                    self.assign(assignments, now);
                }
            }
        }
    }

    fn assign(&mut self, assignments: Vec<(String, Bytes)>, now: Instant) {
        for (id, assignment) in assignments {
            if let Some(member) = self.members.iter_mut().find(|m| m.id == id) {
                member.assignment = assignment;
            }
        }
        self.state = State::Stable;
        for index in 0..self.members.len() {
            let synced = self.synced(index);
            let member = &mut self.members[index];
            if member.is_syncing() {
                member.touch(now);
                member.answer_sync(Ok(synced));
            }
        }
    }

    fn synced(&self, index: usize) -> Synced {
        let assignment = self.members[index].assignment.clone();
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment,
        }
    }
}
