//! Arbitrary members against the invariants that [`group`](super) promises.

use std::collections::HashSet;

use bytes::Bytes;
use proptest::prelude::*;
use tokio::sync::oneshot::error::TryRecvError;

use super::member::SyncResult;
use super::*;

const CLIENTS: usize = 5;
const LONGEST_REBALANCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
enum Step {
    /// Joins with the id that the client believes to have.
    Join {
        client: usize,
        strategies: Vec<&'static str>,
        rebalance: u64,
        announce: bool,
    },
    /// Joins as a new process would.
    Restart {
        client: usize,
    },
    Sync {
        client: usize,
    },
    Heartbeat {
        client: usize,
    },
    Commit {
        client: usize,
    },
    Leave {
        client: usize,
    },
    Pass {
        millis: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..CLIENTS;
    let strategies = prop_oneof![
        4 => Just(vec!["range"]),
        2 => Just(vec!["sticky", "range"]),
        2 => Just(vec!["range", "sticky"]),
        1 => Just(vec!["sticky"]),
        1 => Just(vec![]),
    ];
    prop_oneof![
        8 => (client(), strategies, 1..=LONGEST_REBALANCE.as_secs(), any::<bool>())
            .prop_map(|(client, strategies, rebalance, announce)| Step::Join { client, strategies, rebalance, announce }),
        1 => client().prop_map(|client| Step::Restart { client }),
        6 => client().prop_map(|client| Step::Sync { client }),
        3 => client().prop_map(|client| Step::Heartbeat { client }),
        2 => client().prop_map(|client| Step::Commit { client }),
        1 => client().prop_map(|client| Step::Leave { client }),
        4 => prop_oneof![0..200u64, 0..8_000u64, 0..70_000u64].prop_map(|millis| Step::Pass { millis }),
    ]
}

/// What a client knows of itself. The last two have an instance id.
#[derive(Debug, Clone, Default)]
struct Client {
    id: String,
    generation: i32,
    instance: Option<String>,
}

enum Waiting {
    Join(oneshot::Receiver<JoinResult>),
    Sync(oneshot::Receiver<SyncResult>),
}

struct World {
    group: Group,
    now: Instant,
    clients: Vec<Client>,
    waiting: Vec<(usize, Instant, Waiting)>,
    ids: u32,
    generation: i32,
}

impl World {
    fn new() -> Self {
        let instance = |n: usize| (n + 2 >= CLIENTS).then(|| format!("instance-{n}"));
        Self {
            group: Group::new(Duration::from_millis(100)),
            now: Instant::now(),
            clients: (0..CLIENTS)
                .map(|n| Client {
                    instance: instance(n),
                    ..Client::default()
                })
                .collect(),
            waiting: Vec::new(),
            ids: 0,
            generation: 0,
        }
    }

    fn join(&mut self, client: usize, strategies: &[&str], rebalance: u64, announce: bool) {
        let (reply, receiver) = oneshot::channel();
        let who = Introduction {
            member_id: self.clients[client].id.clone(),
            instance_id: self.clients[client].instance.clone(),
            client_id: String::new(),
            client_host: String::new(),
            session_timeout: Duration::from_secs(6),
            rebalance_timeout: Duration::from_secs(rebalance),
            protocol_type: "consumer".to_owned(),
            protocols: strategies
                .iter()
                .map(|name| ((*name).to_owned(), Bytes::new()))
                .collect(),
        };
        self.ids += 1;
        let id = format!("m{}", self.ids);
        self.group.join(who, || id, announce, reply, self.now);
        self.waiting.push((client, self.now, Waiting::Join(receiver)));
    }

    fn take(&mut self, step: Step) {
        let known = |c: &Client| (c.id.clone(), c.instance.clone(), c.generation);
        match step {
            Step::Join {
                client,
                strategies,
                rebalance,
                announce,
            } => {
                self.join(client, &strategies, rebalance, announce);
            }
            Step::Restart { client } => {
                self.clients[client].id.clear();
                self.join(client, &["range"], 30, true);
            }
            Step::Sync { client } => {
                let (id, instance, generation) = known(&self.clients[client]);
                let (reply, receiver) = oneshot::channel();
                let caller = Caller {
                    member_id: &id,
                    instance_id: instance.as_deref(),
                    generation,
                };
                let assign = |c: &Client| (c.id.clone(), Bytes::from_static(b"share"));
                self.group
                    .sync(&caller, self.clients.iter().map(assign).collect(), reply, self.now);
                self.waiting.push((client, self.now, Waiting::Sync(receiver)));
            }
            Step::Heartbeat { client } | Step::Commit { client } => {
                let (id, instance, generation) = known(&self.clients[client]);
                let caller = Caller {
                    member_id: &id,
                    instance_id: instance.as_deref(),
                    generation,
                };
                let _ = match step {
                    Step::Commit { .. } => self.group.may_commit(&caller, self.now),
                    _ => self.group.heartbeat(&caller, self.now),
                };
            }
            Step::Leave { client } => {
                let (id, instance, _) = known(&self.clients[client]);
                let _ = self.group.leave(&id, instance.as_deref(), self.now);
            }
            Step::Pass { millis } => {
                let until = self.now + Duration::from_millis(millis);
                while let Some(due) = self.group.next_deadline().filter(|due| *due <= until) {
                    self.now = due.max(self.now);
                    self.group.tick(self.now);
                    let next = self.group.next_deadline();
                    assert!(next.is_none_or(|next| next > self.now), "a tick does all that is due");
                    self.check();
                }
                self.now = until;
            }
        }
        self.check();
    }

    fn check(&mut self) {
        let group = &self.group;
        assert!(group.generation >= self.generation, "generations only go up");
        self.generation = group.generation;

        let ids: HashSet<_> = group.members.iter().map(|m| &m.id).collect();
        let instances: HashSet<_> = group
            .members
            .iter()
            .filter_map(|m| m.who.instance_id.as_ref())
            .collect();
        assert_eq!(ids.len(), group.members.len(), "nobody is in it twice");
        assert_eq!(
            instances.len(),
            group.members.iter().filter(|m| m.who.instance_id.is_some()).count()
        );
        match group.state {
            State::Empty => assert!(group.members.is_empty()),
            State::PreparingRebalance { .. } => {}
            State::CompletingRebalance { .. } | State::Stable => {
                assert!(ids.contains(&group.leader), "the leader is a member");
                assert!(
                    group.members.iter().all(|m| m.who.knows(&group.protocol)),
                    "everyone knows the strategy"
                );
            }
        }
        let waiting = group.members.iter().filter(|m| m.is_waiting()).count();

        let mut left = Vec::new();
        for (client, since, waiting) in std::mem::take(&mut self.waiting) {
            match waiting {
                Waiting::Join(mut receiver) => match receiver.try_recv() {
                    Err(TryRecvError::Empty) => left.push((client, since, Waiting::Join(receiver))),
                    Err(TryRecvError::Closed) => panic!("a join was never answered"),
                    Ok(result) => self.joined(client, result),
                },
                Waiting::Sync(mut receiver) => match receiver.try_recv() {
                    Err(TryRecvError::Empty) => left.push((client, since, Waiting::Sync(receiver))),
                    Err(TryRecvError::Closed) => panic!("a sync was never answered"),
                    Ok(result) => assert!(result.is_err() || self.group.state == State::Stable),
                },
            }
        }
        self.waiting = left;
        assert_eq!(self.waiting.len(), waiting, "whoever waits is a member");
        let latest = self
            .waiting
            .iter()
            .map(|(_, since, _)| *since + LONGEST_REBALANCE)
            .min();
        assert!(
            latest.is_none_or(|latest| self.now <= latest),
            "nobody waits beyond the rebalance"
        );
    }

    fn joined(&mut self, client: usize, result: JoinResult) {
        match result {
            Ok(joined) => {
                let group = &self.group;
                assert_eq!(joined.generation, group.generation);
                assert!(
                    group.members.iter().any(|m| m.id == joined.member_id),
                    "whoever joined is a member"
                );
                assert_eq!(joined.leader, group.leader);
                match joined.member_id == joined.leader {
                    true => assert_eq!(joined.members.len(), group.members.len(), "the leader knows everyone"),
                    false => assert!(joined.members.is_empty(), "nobody else assigns"),
                }
                self.clients[client].id = joined.member_id;
                self.clients[client].generation = joined.generation;
            }
            Err((ResponseError::MemberIdRequired, id)) => self.clients[client].id = id,
            Err((ResponseError::UnknownMemberId | ResponseError::FencedInstanceId, _)) => {
                self.clients[client].id.clear();
            }
            Err(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_group_keeps_its_promises(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        // Left alone, everyone falls silent and nothing remains.
        world.take(Step::Pass { millis: 600_000 });
        prop_assert!(world.group.is_vacant());
        prop_assert!(world.waiting.is_empty());
        prop_assert_eq!(world.group.next_deadline(), None);
        prop_assert_eq!(world.group.state_name(), "Empty");
    }
}
