//! Kill -9 of everything, again and again, under load.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::ledger::Ledger;
use crate::load::Load;
use crate::receiver::Receiver;
use crate::strikes::Timeline;
use crate::{number, turn};

/// Requests a second.
const RATE: u32 = 30;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_nothing_is_lost_and_nothing_has_two_effects() {
    let _turn = turn().await;
    let receiver = Receiver::start();
    let seed = number("TEST_FAULT_SEED", || fastrand::u64(..));
    let run = format!("faults-{seed}");
    let Some(mut cluster) = Cluster::start(&run, receiver.url()).await else {
        return;
    };
    let kills = number("TEST_FAULT_KILLS", || 24);
    let outage = Duration::from_secs(number("TEST_FAULT_OUTAGE", || 30));
    eprintln!("TEST_FAULT_SEED={seed}");

    let load = Load::start(cluster.gateways, RATE, seed).await;
    let mut timeline = Timeline::begin();
    let plan = crate::plan::plan(seed, kills);
    timeline.carry_out(&mut cluster, &plan, outage).await;
    let calls = load.stop().await;
    timeline.note("everything is answered".to_owned());
    let ledger = Ledger::draw_up(&mut cluster, calls, receiver, timeline).await;
    ledger.must_balance(&cluster, &run).await;
}
