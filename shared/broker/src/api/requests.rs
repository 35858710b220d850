//! Which requests are understood, and taking them apart.
//!
//! Nothing in here waits or answers, and no bytes whatsoever may make it panic, or allocate much more
//! than their own number; see [`shape`](super::shape) for how.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::Decodable;

use super::{Answer, Call, encode, fetch, groups, metadata, offsets, produce, shape, topics};
use crate::broker::Node;
use crate::connection::Hangup;

/// Largest request that carries no records.
const MAX_WITHOUT_RECORDS: usize = 1 << 20;

/// What every request begins with.
#[derive(Debug)]
pub(crate) struct Head {
    pub version: i16,
    pub correlation_id: i32,
    pub client_id: String,
}

/// Declares which requests are understood, in which versions, their [`shape`], and who handles them.
macro_rules! requests {
    ($($key:ident $min:literal..=$max:literal $shape:literal => $request:ty, $handler:path;)*) => {
        /// Api key, lowest and highest version.
        pub(super) const SUPPORTED: &[(ApiKey, i16, i16)] = &[
            // Versions 0 to 2 are refused, but librdkafka takes their absence for that of compression
            // (KAFKA-18659); Apache Kafka advertises them for the same reason.
            (ApiKey::Produce, 0, 9),
            (ApiKey::ApiVersions, 0, 3),
            $((ApiKey::$key, $min, $max)),*
        ];

        /// A request that was understood.
        #[derive(Debug)]
        pub(crate) enum Request {
            /// Whether the version that it was asked in is known here.
            ApiVersions(bool),
            Produce(ProduceRequest),
            $($key($request)),*
        }

        fn decode(key: ApiKey, version: i16, body: Bytes) -> Result<Request, Hangup> {
            Ok(match key {
                ApiKey::Produce => Request::Produce(decode_body(key, version, "s 2 4 {s{4y}}", body)?),
                $(ApiKey::$key => Request::$key(decode_body(key, version, $shape, body)?),)*
                _ => return Err(Hangup::Unsupported { api_key: key as i16, version }),
            })
        }

        /// Has a request handled. What must happen in the order of arrival has happened when this
        /// returns; the rest is up to the answer.
        pub(super) async fn handle(node: &Arc<Node>, call: Call, request: Request) -> Result<Answer, Hangup> {
            match request {
                Request::ApiVersions(known) => metadata::api_versions(&call, known),
                Request::Produce(request) => produce::produce(node, call, request).await,
                $(Request::$key(request) => {
                    let node = node.clone();
                    Ok(Box::pin(async move {
                        let response = $handler(&node, &call, request).await?;
                        encode(&call, &response).map(Some)
                    }))
                })*
            }
        }
    };
}

requests! {
    Fetch 4..=12 "4 4 4 4 1 4@7 4@7 {s{4 4@9 8 4@12 8@5 4}} {s[4]}@7 s@11" => FetchRequest, fetch::fetch;
    ListOffsets 1..=6 "4 1@2 {s{4 4@4 8}}" => ListOffsetsRequest, fetch::list_offsets;
    Metadata 0..=9 "{s} 1@4 1@8 1@8" => MetadataRequest, metadata::metadata;
    FindCoordinator 0..=4 "s@0-3 1@1 [s]@4" => FindCoordinatorRequest, metadata::find_coordinator;
    OffsetCommit 2..=8 "s 4 s s@7 8@2-4 {s{4 8 4@6 s}}" => OffsetCommitRequest, offsets::commit;
    OffsetFetch 1..=8 "s@0-7 {s[4]}@0-7 {s{s[4]}}@8 1@7" => OffsetFetchRequest, offsets::fetch;
    JoinGroup 0..=9 "s 4 4@1 s s@5 s {s y} s@8" => JoinGroupRequest, groups::join;
    SyncGroup 0..=5 "s 4 s s@3 s@5 s@5 {s y}" => SyncGroupRequest, groups::sync;
    Heartbeat 0..=4 "s 4 s s@3" => HeartbeatRequest, groups::heartbeat;
    LeaveGroup 0..=5 "s s@0-2 {s s s@5}@3" => LeaveGroupRequest, groups::leave;
    DescribeGroups 0..=5 "[s] 1@3" => DescribeGroupsRequest, groups::describe;
    ListGroups 0..=5 "[s]@4 [s]@5" => ListGroupsRequest, groups::list;
    DeleteGroups 0..=2 "[s]" => DeleteGroupsRequest, groups::delete;
    CreateTopics 2..=6 "{s 4 2 {4[4]} {s s}} 4 1" => CreateTopicsRequest, topics::create;
    DeleteTopics 1..=5 "[s] 4" => DeleteTopicsRequest, topics::delete;
    CreatePartitions 0..=3 "{s 4 {[4]}} 4 1" => CreatePartitionsRequest, topics::grow;
    DeleteRecords 0..=2 "{s{4 8}} 4" => DeleteRecordsRequest, topics::delete_records;
    DescribeConfigs 1..=4 "{1 s [s]} 1 1@3" => DescribeConfigsRequest, topics::describe_configs;
    InitProducerId 0..=4 "s 4 8@3 2@3" => InitProducerIdRequest, produce::init_producer_id;
}

/// Takes a frame apart.
pub(crate) fn parse(mut frame: Bytes) -> Result<(Head, Request), Hangup> {
    if frame.len() < 8 {
        return Err(Hangup::Malformed(format!(
            "{} bytes are too few for a request",
            frame.len()
        )));
    }
    let mut fixed = &frame[..8];
    let (api_key, version, correlation_id) = (fixed.get_i16(), fixed.get_i16(), fixed.get_i32());
    let unsupported = Hangup::Unsupported { api_key, version };
    let Ok(key) = ApiKey::try_from(api_key) else {
        return Err(unsupported);
    };
    let Some((_, min, max)) = SUPPORTED.iter().find(|(k, ..)| *k == key) else {
        return Err(unsupported);
    };
    let known = (*min..=*max).contains(&version);
    if key == ApiKey::ApiVersions {
        let version = if known { version } else { 0 };
        return Ok((
            Head {
                version,
                correlation_id,
                client_id: String::new(),
            },
            Request::ApiVersions(known),
        ));
    }
    if !known || (key == ApiKey::Produce && version < 3) {
        return Err(unsupported);
    }
    if key != ApiKey::Produce && frame.len() > MAX_WITHOUT_RECORDS {
        return Err(Hangup::Malformed(format!(
            "{} bytes are too many for this request",
            frame.len()
        )));
    }
    if !shape::header_fits(key, version, &frame) {
        return Err(Hangup::Malformed("lengths in the header do not fit".to_owned()));
    }
    let header = RequestHeader::decode(&mut frame, key.request_header_version(version)).map_err(malformed)?;
    let client_id = header.client_id.map(|id| id.to_string()).unwrap_or_default();
    Ok((
        Head {
            version,
            correlation_id,
            client_id,
        },
        decode(key, version, frame)?,
    ))
}

fn decode_body<R: Decodable>(key: ApiKey, version: i16, shape: &str, mut body: Bytes) -> Result<R, Hangup> {
    if !shape::fits(key, version, shape, &body) {
        return Err(Hangup::Malformed("lengths do not fit".to_owned()));
    }
    R::decode(&mut body, version).map_err(malformed)
}

fn malformed(error: impl std::fmt::Display) -> Hangup {
    Hangup::Malformed(format!("{error:#}"))
}

#[cfg(test)]
mod tests;
