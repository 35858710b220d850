use sea_orm::entity::prelude::*;

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "events")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub event_type: String,
    pub topic: String,
    pub key: String,
    pub sequence: i64,
    pub data_schema: String,
    pub occurred_at: DateTimeUtc,
    pub service: String,
    pub correlation_id: String,
    pub traceparent: String,
    pub actor: Option<String>,
    pub payload: Vec<u8>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
