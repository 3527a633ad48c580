//! Notifications that are told in a digest instead of one by one.
//!
//! Their rows are `suppressed` and name the digest, which is a row of its own. An incident that a receiver knows
//! only from a digest has nothing of its own to be closed there; the digest is closed when all of them are.

use crate::domain::digest::is_news;
use crate::domain::notification::Kind;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::tx::{Tx, on, run};
use crate::store::values::{Marks, text};

use super::OutboxRow;

/// All kinds that a digest may tell of.
const NEWS: [Kind; 5] = [Kind::Opened, Kind::Updated, Kind::Escalated, Kind::Reminder, Kind::Reopened];
const _: () = {
    let mut at = 0;
    while at < NEWS.len() {
        assert!(is_news(NEWS[at]));
        at += 1;
    }
};

/// The news that waits for this receiver, untried and claimed by nobody, oldest first.
pub async fn waiting(tx: &mut Tx, receiver: &str, now: Timestamp, limit: usize) -> Result<Vec<OutboxRow>, StoreError> {
    let shared = tx.shared_now(now).await?;
    let sql = format!(
        "select {} from outbox where state = 'pending' and receiver = $1 and due_at <= $2 and claimed_until <= $3 and attempts = 0 \
         and kind in ({}) order by created_at, id limit $4",
        columns!(),
        Marks::Numbered.list(NEWS.len(), 5)
    );
    on!(tx, conn => {
        let mut query = sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str())).bind(text(receiver)).bind(now).bind(shared).bind(limit as i64);
        for kind in NEWS {
            query = query.bind(kind.name());
        }
        query.fetch_all(conn)
    })
}

/// Takes an untried row into a digest. `claim`: the caller's, else nobody may hold it. `false`: it was tried, finished or
/// claimed meanwhile.
pub async fn fold(tx: &mut Tx, id: &str, digest: &str, now: Timestamp, claim: Option<Timestamp>, why: &str) -> Result<bool, StoreError> {
    let (least, most) = match claim {
        Some(claim) => (claim, claim),
        None => (Timestamp(i64::MIN), tx.shared_now(now).await?),
    };
    let sql = "update outbox set state = 'suppressed', finished_at = $2, claimed_until = 0, last_error = $3, digest = $4 \
               where id = $1 and state = 'pending' and attempts = 0 and claimed_until >= $5 and claimed_until <= $6";
    Ok(run!(tx, conn => {
        sqlx::query(sql).bind(text(id)).bind(now).bind(text(why)).bind(text(digest)).bind(least).bind(most).execute(conn)
    })? == 1)
}

/// Leaves a row unsent, because what it answers was never told by itself. `false`: it was finished meanwhile.
pub async fn leave_out(tx: &mut Tx, id: &str, now: Timestamp, why: &str) -> Result<bool, StoreError> {
    let sql =
        "update outbox set state = 'suppressed', finished_at = $2, claimed_until = 0, last_error = $3 where id = $1 and state = 'pending'";
    Ok(run!(tx, conn => sqlx::query(sql).bind(text(id)).bind(now).bind(text(why)).execute(conn))? == 1)
}

/// Whether the receiver of this row knows its incident from a digest and from nothing else.
pub async fn only_in_digest(tx: &mut Tx, row: &OutboxRow) -> Result<bool, StoreError> {
    // What was tried may have arrived.
    let sql = "select count(*) from outbox where incident = $1 and receiver = $2 and generation = $3 and digest <> '' \
               and not exists (select 1 from outbox t where t.incident = $1 and t.receiver = $2 and t.generation = $3 \
                               and t.digest = '' and t.attempts > 0)";
    let found: i64 = on!(tx, conn => {
        sqlx::query_scalar(sql).bind(text(&row.incident)).bind(text(&row.receiver)).bind(row.generation).fetch_one(conn)
    })?;
    Ok(found > 0)
}

/// The incidents that a digest tells of, each with its generation.
pub async fn members(tx: &mut Tx, digest: &str) -> Result<Vec<(String, i64)>, StoreError> {
    let sql = "select distinct incident, generation from outbox where digest = $1";
    let mut members: Vec<(String, i64)> = on!(tx, conn => sqlx::query_as(sql).bind(text(digest)).fetch_all(conn))?;
    members.sort();
    Ok(members)
}

/// Whether something that a digest tells of is still open for its receiver, or has word to it under way.
pub async fn is_open(tx: &mut Tx, digest: &str) -> Result<bool, StoreError> {
    let sql = "select d.id from outbox d where d.digest = $1 and ( \
                 exists (select 1 from outbox p where p.state = 'pending' and p.incident = d.incident and p.receiver = d.receiver \
                         and p.generation = d.generation) \
                 or (exists (select 1 from incident i where i.id = d.incident and i.status <> 'resolved' and i.generation = d.generation) \
                     and not exists (select 1 from outbox r where r.incident = d.incident and r.receiver = d.receiver \
                                     and r.generation = d.generation and r.kind = $2 and r.sequence > d.sequence))) limit 1";
    let found: Option<String> =
        on!(tx, conn => sqlx::query_scalar(sql).bind(text(digest)).bind(Kind::Resolved.name()).fetch_optional(conn))?;
    Ok(found.is_some())
}
