//! What the database says.

use std::collections::{BTreeMap, HashMap};

use sqlx::{AssertSqlSafe, PgPool, Row};

/// An event, as it is stored or as it lies on a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub kind: String,
    pub topic: String,
    pub key: String,
    pub sequence: i64,
    /// `{"action": …, "data": …}`.
    pub payload: Vec<u8>,
}

#[derive(Debug)]
pub struct Message {
    pub content: String,
    pub status: String,
}

#[derive(Debug)]
pub struct Delivery {
    pub id: String,
    pub event: String,
    pub status: String,
    /// As many as were recorded.
    pub attempts: i64,
}

#[derive(Debug)]
pub struct Database {
    pub messages: HashMap<String, Message>,
    pub events: HashMap<String, Event>,
    /// By message.
    pub deliveries: HashMap<String, Vec<Delivery>>,
    /// The events that the audit log has a record of, and how many.
    pub audited: HashMap<String, usize>,
    pub dead_letters: Vec<String>,
}

impl Database {
    pub async fn read(pool: &PgPool) -> Self {
        let messages = rows(pool, "SELECT id::text, content, status FROM messages").await;
        let events = rows(
            pool,
            "SELECT id::text, event_type, topic, key, sequence, payload FROM events",
        )
        .await;
        let deliveries = rows(
            pool,
            "SELECT id::text, coalesce(message_id::text, ''), event_id::text, status, \
             (SELECT count(*) FROM delivery_attempts WHERE delivery_id = deliveries.id) FROM deliveries",
        )
        .await;
        let audited = rows(pool, "SELECT event_id, count(*) FROM audit_log GROUP BY event_id").await;
        let dead_letters = rows(pool, "SELECT to_jsonb(dead_letters)::text FROM dead_letters").await;
        let mut by_message: HashMap<String, Vec<Delivery>> = HashMap::new();
        for row in deliveries {
            by_message.entry(row.get(1)).or_default().push(Delivery {
                id: row.get(0),
                event: row.get(2),
                status: row.get(3),
                attempts: row.get(4),
            });
        }
        let message = |row: &sqlx::postgres::PgRow| Message {
            content: row.get(1),
            status: row.get(2),
        };
        let event = |row: &sqlx::postgres::PgRow| Event {
            kind: row.get(1),
            topic: row.get(2),
            key: row.get(3),
            sequence: row.get(4),
            payload: row.get(5),
        };
        Self {
            messages: messages.iter().map(|row| (row.get(0), message(row))).collect(),
            events: events.iter().map(|row| (row.get(0), event(row))).collect(),
            deliveries: by_message,
            audited: audited
                .iter()
                .map(|row| (row.get(0), usize::try_from(row.get::<i64, _>(1)).unwrap()))
                .collect(),
            dead_letters: dead_letters.iter().map(|row| row.get(0)).collect(),
        }
    }
}

/// What is still to be done, by what it is; empty when everything is quiet.
pub async fn unfinished(pool: &PgPool) -> sqlx::Result<BTreeMap<String, i64>> {
    let sql = "SELECT 'unpublished', count(*) FROM outbox \
         UNION ALL SELECT 'deliveries under way', count(*) FROM deliveries WHERE status = 'pending' \
         UNION ALL SELECT 'messages queued', count(*) FROM messages WHERE status = 'queued' \
         UNION ALL SELECT 'not audited', count(*) FROM events e \
             WHERE NOT EXISTS (SELECT 1 FROM audit_log a WHERE a.event_id = e.id::text)";
    let rows = sqlx::query(sql).fetch_all(pool).await?;
    let counts = rows.iter().map(|row| (row.get(0), row.get(1)));
    Ok(counts.filter(|(_, count)| *count > 0).collect())
}

/// All rows that say something of a message or of a contact, each as JSON.
pub async fn rows_about(pool: &PgPool, id: &str) -> Vec<String> {
    let of = |table: &str, condition: &str| {
        format!("SELECT '{table} ' || (to_jsonb(t) - 'payload' - 'record')::text FROM {table} t WHERE {condition}")
    };
    let events = "SELECT id FROM events WHERE key = $1";
    let deliveries = "SELECT id FROM deliveries WHERE message_id::text = $1";
    let tables = [
        of("messages", "id::text = $1"),
        of("contacts", "id::text = $1"),
        of("events", "key = $1 ORDER BY sequence"),
        of("outbox", &format!("event_id IN ({events})")),
        of("deliveries", "message_id::text = $1"),
        of(
            "delivery_attempts",
            &format!("delivery_id IN ({deliveries}) ORDER BY number"),
        ),
        of(
            "audit_log",
            &format!("event_id IN (SELECT id::text FROM ({events}) e) ORDER BY seq"),
        ),
    ];
    let mut found = Vec::new();
    for sql in tables {
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(id).fetch_all(pool).await.unwrap();
        found.extend(rows.iter().map(|row| row.get::<String, _>(0)));
    }
    found
}

async fn rows(pool: &PgPool, sql: &'static str) -> Vec<sqlx::postgres::PgRow> {
    sqlx::query(sql).fetch_all(pool).await.unwrap()
}
