//! Restarting everything, one process after the other, while clients go on.

use std::time::Duration;

use tokio::time::sleep;

use crate::cluster::{Cluster, Service};
use crate::ledger::Ledger;
use crate::load::Load;
use crate::receiver::Receiver;
use crate::strikes::Timeline;
use crate::turn;

/// Requests a second.
const RATE: u32 = 30;
/// How long everything works between two restarts.
const BETWEEN: Duration = Duration::from_secs(1);

const RUN: &str = "rolling-restart";

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_nothing_and_doubles_nothing() {
    let _turn = turn().await;
    let receiver = Receiver::start();
    let Some(mut cluster) = Cluster::start(RUN, receiver.url()).await else {
        return;
    };
    let load = Load::start(cluster.gateways, RATE, 0).await;
    let mut timeline = Timeline::begin();
    for service in Service::ALL.repeat(2) {
        sleep(BETWEEN).await;
        cluster.stop(service).await;
        timeline.note(format!("{service} has ended"));
        cluster.start_one(service).await;
        cluster.all_ready().await;
        timeline.note(format!("{service} is back"));
    }
    let calls = load.stop().await;
    timeline.note("everything is answered".to_owned());
    let mut ledger = Ledger::draw_up(&mut cluster, calls, receiver, timeline).await;
    ledger.must_not_repeat();
    ledger.must_balance(&cluster, RUN).await;
}
