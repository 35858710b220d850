use bytes::Bytes;

use super::member::SyncResult;
use super::*;

struct Fixture {
    group: Group,
    now: Instant,
    ids: u32,
}

impl Fixture {
    fn new() -> Self {
        Self {
            group: Group::new(Duration::from_millis(100)),
            now: Instant::now(),
            ids: 0,
        }
    }
    fn join(&mut self, id: &str, instance: Option<&str>, protocols: &[&str]) -> oneshot::Receiver<JoinResult> {
        let (tx, rx) = oneshot::channel();
        let who = Introduction {
            member_id: id.into(),
            instance_id: instance.map(Into::into),
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            session_timeout: Duration::from_secs(6),
            rebalance_timeout: Duration::from_secs(30),
            protocol_type: "consumer".into(),
            protocols: protocols
                .iter()
                .map(|p| ((*p).to_owned(), Bytes::from_static(b"sub")))
                .collect(),
        };
        self.ids += 1;
        let new_id = format!("m{}", self.ids);
        self.group.join(who, || new_id, true, tx, self.now);
        rx
    }
    fn enter(&mut self) -> (String, oneshot::Receiver<JoinResult>) {
        let (error, id) = self.join("", None, &["range"]).try_recv().unwrap().unwrap_err();
        assert_eq!(error, ResponseError::MemberIdRequired);
        let rx = self.join(&id, None, &["range"]);
        (id, rx)
    }
    fn sync(
        &mut self,
        id: &str,
        generation: i32,
        assignments: &[(&str, &'static [u8])],
    ) -> oneshot::Receiver<SyncResult> {
        let (tx, rx) = oneshot::channel();
        let assignments = assignments
            .iter()
            .map(|(m, a)| ((*m).to_owned(), Bytes::from_static(a)))
            .collect();
        self.group.sync(
            &Caller {
                member_id: id,
                instance_id: None,
                generation,
            },
            assignments,
            tx,
            self.now,
        );
        rx
    }
    fn pass(&mut self, by: Duration) {
        self.now += by;
        self.group.tick(self.now);
    }
    fn beat(&mut self, id: &str, generation: i32) -> Result<(), ResponseError> {
        self.group.heartbeat(
            &Caller {
                member_id: id,
                instance_id: None,
                generation,
            },
            self.now,
        )
    }
}

#[test]
fn two_members_share_and_one_inherits() {
    let mut f = Fixture::new();
    let (a, mut ja) = f.enter();
    assert!(ja.try_recv().is_err(), "the first member waits a moment for others");
    f.pass(Duration::from_millis(100));
    let joined = ja.try_recv().unwrap().unwrap();
    assert_eq!((joined.generation, &joined.leader, joined.members.len()), (1, &a, 1));
    assert_eq!(
        f.sync(&a, 1, &[(&a, b"all")]).try_recv().unwrap().unwrap().assignment,
        "all"
    );

    let (b, mut jb) = f.enter();
    assert_eq!(f.beat(&a, 1), Err(ResponseError::RebalanceInProgress));
    let mut ja = f.join(&a, None, &["range"]);
    assert_eq!(ja.try_recv().unwrap().unwrap().members.len(), 2);
    assert_eq!(jb.try_recv().unwrap().unwrap().generation, 2);
    let mut sb = f.sync(&b, 2, &[]);
    assert!(sb.try_recv().is_err(), "followers wait for the leader");
    f.sync(&a, 2, &[(&a, b"half"), (&b, b"other half")]);
    assert_eq!(sb.try_recv().unwrap().unwrap().assignment, "other half");
    assert_eq!(f.beat(&a, 1), Err(ResponseError::IllegalGeneration));
    assert_eq!(f.beat("stranger", 2), Err(ResponseError::UnknownMemberId));

    // b falls silent
    f.pass(Duration::from_secs(5));
    f.beat(&a, 2).unwrap();
    f.pass(Duration::from_secs(2));
    assert_eq!(f.beat(&a, 2), Err(ResponseError::RebalanceInProgress));
    let mut ja = f.join(&a, None, &["range"]);
    assert_eq!(ja.try_recv().unwrap().unwrap().members.len(), 1);
    f.group.leave(&a, None, f.now).unwrap();
    assert!(f.group.is_vacant());
    assert_eq!(f.group.state_name(), "Empty");
    assert_eq!(f.group.next_deadline(), None);
}

#[test]
fn who_does_not_rejoin_is_left_behind() {
    let mut f = Fixture::new();
    let (a, _ja) = f.enter();
    f.pass(Duration::from_millis(100));
    f.sync(&a, 1, &[]);
    let (_b, mut jb) = f.enter();
    for _ in 0..6 {
        f.pass(Duration::from_secs(5));
        let _ = f.beat(&a, 1);
    }
    assert_eq!(jb.try_recv().unwrap().unwrap().members.len(), 1);
    assert_eq!(f.beat(&a, 1), Err(ResponseError::UnknownMemberId));
}

#[test]
fn static_members_come_back_without_a_rebalance() {
    let mut f = Fixture::new();
    let mut first = f.join("", Some("i"), &["range"]);
    f.pass(Duration::from_millis(100));
    let old = first.try_recv().unwrap().unwrap().member_id;
    f.sync(&old, 1, &[(&old, b"mine")]);
    let again = f.join("", Some("i"), &["range"]).try_recv().unwrap().unwrap();
    assert_eq!(again.generation, 1);
    assert!(again.skip_assignment);
    assert_eq!(
        f.sync(&again.member_id, 1, &[]).try_recv().unwrap().unwrap().assignment,
        "mine"
    );
    let zombie = Caller {
        member_id: &old,
        instance_id: Some("i"),
        generation: 1,
    };
    assert_eq!(f.group.heartbeat(&zombie, f.now), Err(ResponseError::FencedInstanceId));
}

#[test]
fn strategies_must_overlap() {
    let mut f = Fixture::new();
    let _a = f.join("", Some("a"), &["sticky", "range"]);
    let mut b = f.join("", Some("b"), &["roundrobin"]);
    assert_eq!(
        b.try_recv().unwrap().unwrap_err().0,
        ResponseError::InconsistentGroupProtocol
    );
    let _c = f.join("", Some("c"), &["range", "sticky"]);
    let _d = f.join("", Some("d"), &["range"]);
    f.pass(Duration::from_millis(100));
    assert_eq!(f.group.protocol, "range");
}
