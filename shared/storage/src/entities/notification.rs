use sea_orm::entity::prelude::*;

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "notifications")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub user_id: i64,
    pub order_id: Option<Uuid>,
    pub event_id: Uuid,
    pub rule: String,
    pub wanted: String,
    pub channel: String,
    pub recipient: Option<String>,
    pub fallback: Option<String>,
    pub subject: String,
    pub message: String,
    pub status: String,
    pub attempts: i32,
    pub answer: Option<String>,
    pub created_at: DateTimeUtc,
    pub sent_at: Option<DateTimeUtc>,
    pub due_at: DateTimeUtc,
    pub leased_until: Option<DateTimeUtc>,
    pub lease_token: Option<Uuid>,
    pub version: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
