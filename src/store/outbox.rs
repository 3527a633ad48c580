//! The outbox: one row for each notification to each receiver, written together with the transition that causes it.
//!
//! A row is claimed for a while, sent, and finished. Whoever crashes in between leaves it claimed, and it comes
//! back when the claim ends. Rows of one incident to one receiver go out in order: a later one is not
//! due before the earlier ones are finished.
//!
//! A claim is told apart by when it ends. Whoever slept through the end of its claim holds an old one, and neither gives
//! back, puts off nor prolongs what somebody else is sending by now.

use std::collections::BTreeMap;

use sqlx::AssertSqlSafe;

use crate::domain::notification::Kind;
use crate::domain::time::Timestamp;

use super::StoreError;
use super::tx::{Tx, on, run};
use super::values::{Marks, Place, lots, page, row, text};

row! {
    /// One notification on its way to one receiver.
    pub struct OutboxRow {
        /// The delivery id.
        pub id: String,
        pub incident: String,
        pub generation: i64,
        pub sequence: i64,
        pub receiver: String,
        /// The correlation key: equal for all that one receiver is told of one incident.
        pub correlation: String,
        /// What kind of notification: `opened`, `resolved` …
        pub kind: String,
        /// The notification, as JSON.
        pub payload: String,
        /// `pending`, `delivered`, `dead`, `discarded` or `suppressed`.
        pub state: String,
        pub due_at: Timestamp,
        pub created_at: Timestamp,
        /// When it left `pending`.
        pub finished_at: Option<Timestamp>,
        /// How often it was tried.
        pub attempts: i64,
        /// Somebody is at it until then.
        pub claimed_until: Timestamp,
        /// Why the last attempt failed, or why it was discarded or suppressed; empty without reason.
        pub last_error: String,
        /// What the receiver answered that later deliveries need (a ticket's id), as JSON; empty without.
        pub reply: String,
    }
}

macro_rules! columns {
    () => {
        "id, incident, generation, sequence, receiver, correlation, kind, \
         (select p.payload from outbox_payload p where p.delivery = outbox.id) as payload, \
         state, due_at, created_at, finished_at, attempts, claimed_until, last_error, reply"
    };
}

pub mod digest;

/// Which deliveries a list shows; empty means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Any of these states.
    pub state: Vec<String>,
    pub receiver: Option<String>,
    pub incident: Option<String>,
}

/// How the outbox stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub pending: i64,
    /// When the oldest pending row was written.
    pub oldest: Option<Timestamp>,
    /// When the pending row that has been due for longest came due.
    pub due: Option<Timestamp>,
    pub dead: i64,
}

/// What to claim.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    pub now: Timestamp,
    /// How long the claim holds.
    pub until: Timestamp,
    pub limit: usize,
    /// Receivers that are not to be served, because their queue is full. Those that are paused
    /// (see [`super::receivers`]) are left out in any case.
    pub skip: &'a [String],
}

/// Stores a delivery. `false`: one with this id exists already, and nothing was written.
pub async fn insert(tx: &mut Tx, row: &OutboxRow) -> Result<bool, StoreError> {
    Ok(insert_all(tx, std::slice::from_ref(row)).await? == 1)
}

/// Stores deliveries; gives how many of them are new.
pub async fn insert_all(tx: &mut Tx, rows: &[OutboxRow]) -> Result<u64, StoreError> {
    let mut written = 0;
    for batch in lots(rows) {
        let sql = format!(
            "insert into outbox (id, incident, generation, sequence, receiver, correlation, kind, state, due_at, created_at, \
             finished_at, attempts, claimed_until, last_error, reply) values {} on conflict (id) do nothing",
            tx.marks().tuples(batch.len(), 15, 1)
        );
        written += run!(tx, conn => {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for row in batch {
                query = query.bind(text(&row.id)).bind(text(&row.incident)).bind(row.generation).bind(row.sequence).bind(text(&row.receiver));
                query = query.bind(text(&row.correlation)).bind(text(&row.kind)).bind(text(&row.state));
                query = query.bind(row.due_at).bind(row.created_at).bind(row.finished_at).bind(row.attempts).bind(row.claimed_until);
                query = query.bind(text(&row.last_error)).bind(text(&row.reply));
            }
            query.execute(conn)
        })?;
        // One that exists already has its own.
        let values = tx.marks().tuples(batch.len(), 2, 1);
        let sql = format!("insert into outbox_payload (delivery, payload) values {values} on conflict (delivery) do nothing");
        run!(tx, conn => {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for row in batch {
                query = query.bind(text(&row.id)).bind(text(&row.payload));
            }
            query.execute(conn)
        })?;
    }
    Ok(written)
}

/// Takes rows that are due, in the order in which they came due. Nobody else gets them before `until`.
///
/// Time of claims is [`Tx::shared_now`]; `due_at` is compared with `now`.
pub async fn claim(tx: &mut Tx, claim: Claim<'_>) -> Result<Vec<OutboxRow>, StoreError> {
    let shared = tx.shared_now(claim.now).await?;
    let mut rows = Vec::new();
    for receiver in queues(tx).await?.into_iter().filter(|receiver| !claim.skip.contains(receiver)) {
        if rows.len() >= claim.limit {
            break;
        }
        let limit = claim.limit - rows.len();
        rows.extend(claim_from(tx, &receiver, Claim { limit, ..claim }, shared).await?);
    }
    // `returning` has no order.
    rows.sort_by(|a, b| (a.due_at, a.created_at, &a.id).cmp(&(b.due_at, b.created_at, &b.id)));
    Ok(rows)
}

/// The receivers that something is pending for, the one with the oldest due first. It hops from one queue to the next, however
/// long they are.
async fn queues(tx: &mut Tx) -> Result<Vec<String>, StoreError> {
    let sql = "with recursive queue(name) as ( \
                 select min(receiver) from outbox where state = 'pending' \
                 union all select (select min(receiver) from outbox where state = 'pending' and receiver > queue.name) \
                 from queue where queue.name is not null) \
               select name, (select min(due_at) from outbox where state = 'pending' and receiver = name) from queue where name is not null";
    let mut all: Vec<(String, Timestamp)> = on!(tx, conn => sqlx::query_as(sql).fetch_all(conn))?;
    all.sort_by(|(a, a_due), (b, b_due)| (a_due, a).cmp(&(b_due, b)));
    Ok(all.into_iter().map(|(receiver, _)| receiver).collect())
}

async fn claim_from(tx: &mut Tx, receiver: &str, claim: Claim<'_>, shared: Timestamp) -> Result<Vec<OutboxRow>, StoreError> {
    let until = shared + (claim.until - claim.now);
    // Rows that another replica is claiming this moment are passed over instead of waited for.
    let lock = if tx.is_postgres() { "for update of o skip locked" } else { "" };
    let sql = format!(
        "with due as materialized ( \
           select o.id from outbox o where o.state = 'pending' and o.receiver = $5 and o.due_at <= $1 and o.claimed_until <= $2 \
           and not exists (select 1 from receiver_state r where r.receiver = o.receiver and r.paused_until > $1) \
           and not exists (select 1 from outbox e where e.state = 'pending' and e.incident = o.incident and e.receiver = o.receiver \
                           and (e.generation < o.generation or (e.generation = o.generation and e.sequence < o.sequence))) \
           order by o.due_at, o.created_at, o.id limit $3 {lock}) \
         update outbox set claimed_until = $4 where id in (select id from due) returning {}",
        columns!()
    );
    on!(tx, conn => {
        let query = sqlx::query_as(AssertSqlSafe(sql.as_str())).bind(claim.now).bind(shared).bind(claim.limit as i64).bind(until);
        query.bind(text(receiver)).fetch_all(conn)
    })
}

/// Holds claims for longer, while their sender is still at them: gives the claim as it is then, and the ids of those that it holds.
/// The others were finished meanwhile, or are somebody else's.
pub async fn extend(
    tx: &mut Tx,
    claims: &[(String, Timestamp)],
    now: Timestamp,
    until: Timestamp,
) -> Result<(Timestamp, Vec<String>), StoreError> {
    let until = tx.shared_now(now).await? + (until - now);
    let mut extended = Vec::new();
    let marks = tx.marks();
    for batch in lots(claims) {
        let sql = format!(
            "update outbox set claimed_until = {} from (values {}) as v \
             where outbox.id = v.column1 and outbox.claimed_until = v.column2 and outbox.state = 'pending' returning id",
            marks.one(1),
            marks.tuples(batch.len(), 2, 2)
        );
        let ids: Vec<String> = on!(tx, conn => {
            let mut query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(until);
            for (id, claim) in batch {
                query = query.bind(text(id)).bind(*claim);
            }
            query.fetch_all(conn)
        })?;
        extended.extend(ids);
    }
    Ok((until, extended))
}

/// Those of these rows that are still held under these claims: what a commit did whose answer was lost.
pub async fn held(tx: &mut Tx, claims: &[(String, Timestamp)]) -> Result<Vec<OutboxRow>, StoreError> {
    let mut held = Vec::new();
    for (id, claim) in claims {
        held.extend(get(tx, id).await?.filter(|row| row.state == "pending" && row.claimed_until == *claim));
    }
    Ok(held)
}

/// Receivers have these: id, time and reply of each, none of them twice. Gives how many they did not have before.
///
/// Counts an attempt, as do [`retry`] and [`dead`].
pub async fn delivered(tx: &mut Tx, all: &[(&str, Timestamp, &str)]) -> Result<u64, StoreError> {
    let mut marked = 0;
    for batch in lots(all) {
        // A row that a person discarded, or that was given up, while the receiver took it is delivered all the same.
        let sql = format!(
            "update outbox set state = 'delivered', finished_at = v.column2, attempts = attempts + 1, claimed_until = 0, last_error = '', \
             reply = v.column3 from (values {}) as v where outbox.id = v.column1 and outbox.state <> 'delivered'",
            tx.marks().tuples(batch.len(), 3, 1)
        );
        marked += run!(tx, conn => {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (id, at, reply) in batch {
                query = query.bind(text(id)).bind(*at).bind(text(reply));
            }
            query.execute(conn)
        })?;
    }
    Ok(marked)
}

/// It failed and is due again at `due`. `false`: it was finished meanwhile, or is not held under this claim any more.
pub async fn retry(tx: &mut Tx, id: &str, claim: Timestamp, due: Timestamp, error: &str) -> Result<bool, StoreError> {
    let sql = "update outbox set due_at = $3, attempts = attempts + 1, claimed_until = 0, last_error = $4 \
               where id = $1 and state = 'pending' and claimed_until = $2";
    Ok(run!(tx, conn => sqlx::query(sql).bind(text(id)).bind(claim).bind(due).bind(text(error)).execute(conn))? == 1)
}

/// Notes what an attempt did before it failed (a ticket that was made), for the next one. `false`: it was finished meanwhile.
pub async fn progress(tx: &mut Tx, id: &str, reply: &str) -> Result<bool, StoreError> {
    let sql = "update outbox set reply = $2 where id = $1 and state = 'pending'";
    Ok(run!(tx, conn => sqlx::query(sql).bind(id).bind(reply).execute(conn))? == 1)
}

/// Ends every claim. Only for a database that no other process uses: what this one claimed in an earlier
/// life need not wait for its claims to end.
pub async fn release_all(tx: &mut Tx) -> Result<u64, StoreError> {
    run!(tx, conn => sqlx::query("update outbox set claimed_until = 0 where state = 'pending' and claimed_until > 0").execute(conn))
}

/// Gives a claimed row back untried (shutting down, held for too long): due at `due`, no attempt counted. `false`: it was
/// finished meanwhile, or is not held under this claim any more.
pub async fn release(tx: &mut Tx, id: &str, claim: Timestamp, due: Timestamp) -> Result<bool, StoreError> {
    let sql = "update outbox set due_at = $3, claimed_until = 0 where id = $1 and state = 'pending' and claimed_until = $2";
    Ok(run!(tx, conn => sqlx::query(sql).bind(text(id)).bind(claim).bind(due).execute(conn))? == 1)
}

/// It failed for good and lies in the dead letters. `false`: it was finished meanwhile.
pub async fn dead(tx: &mut Tx, id: &str, now: Timestamp, error: &str) -> Result<bool, StoreError> {
    let sql = "update outbox set state = 'dead', finished_at = $2, attempts = attempts + 1, claimed_until = 0, last_error = $3 \
               where id = $1 and state = 'pending'";
    Ok(run!(tx, conn => sqlx::query(sql).bind(text(id)).bind(now).bind(text(error)).execute(conn))? == 1)
}

/// Sends a dead letter again, under the same id. `false`: it is no dead letter.
pub async fn replay(tx: &mut Tx, id: &str, now: Timestamp) -> Result<bool, StoreError> {
    let sql = "update outbox set state = 'pending', due_at = $2, finished_at = null, claimed_until = 0 where id = $1 and state = 'dead'";
    Ok(run!(tx, conn => sqlx::query(sql).bind(text(id)).bind(now).execute(conn))? == 1)
}

/// Gives up on a row that is pending or dead, with a reason. `false`: it is neither.
pub async fn discard(tx: &mut Tx, id: &str, now: Timestamp, reason: &str) -> Result<bool, StoreError> {
    let sql = "update outbox set state = 'discarded', finished_at = $2, claimed_until = 0, last_error = $3 \
               where id = $1 and state in ('pending', 'dead')";
    Ok(run!(tx, conn => sqlx::query(sql).bind(text(id)).bind(now).bind(text(reason)).execute(conn))? == 1)
}

/// Leaves everything unsent that waits, for this reason, but for closes: those wake nobody. Gives how much that is.
pub async fn hold(tx: &mut Tx, now: Timestamp, reason: &str) -> Result<u64, StoreError> {
    let sql = "update outbox set state = 'suppressed', finished_at = $1, claimed_until = 0, last_error = $2 \
               where state = 'pending' and kind <> $3";
    run!(tx, conn => sqlx::query(sql).bind(now).bind(text(reason)).bind(Kind::Resolved.name()).execute(conn))
}

/// One delivery.
pub async fn get(tx: &mut Tx, id: &str) -> Result<Option<OutboxRow>, StoreError> {
    let sql = concat!("select ", columns!(), " from outbox where id = $1");
    on!(tx, conn => sqlx::query_as(sql).bind(text(id)).fetch_optional(conn))
}

/// All deliveries of an incident, in the order in which it caused them.
pub async fn for_incident(tx: &mut Tx, incident: &str) -> Result<Vec<OutboxRow>, StoreError> {
    let sql = concat!("select ", columns!(), " from outbox where incident = $1");
    let mut rows: Vec<OutboxRow> = on!(tx, conn => sqlx::query_as(sql).bind(text(incident)).fetch_all(conn))?;
    // Sorted here: databases differ in how they order text.
    rows.sort_by(|a, b| (a.generation, a.sequence, &a.receiver).cmp(&(b.generation, b.sequence, &b.receiver)));
    Ok(rows)
}

/// The newest delivery that this receiver has of this incident and generation: its reply says which ticket to update.
pub async fn last_delivered(tx: &mut Tx, incident: &str, generation: i64, receiver: &str) -> Result<Option<OutboxRow>, StoreError> {
    let sql = concat!(
        "select ",
        columns!(),
        " from outbox where incident = $1 and generation = $2 and receiver = $3 and state = 'delivered' order by sequence desc limit 1"
    );
    on!(tx, conn => sqlx::query_as(sql).bind(text(incident)).bind(generation).bind(text(receiver)).fetch_optional(conn))
}

/// A page of deliveries, newest first, and the cursor of the next page.
pub async fn list(
    tx: &mut Tx,
    filter: &Filter,
    cursor: Option<&str>,
    limit: usize,
) -> Result<(Vec<OutboxRow>, Option<String>), StoreError> {
    let place = Place::from_cursor(cursor)?;
    let states =
        if filter.state.is_empty() { String::new() } else { format!("and state in ({})", Marks::Numbered.list(filter.state.len(), 6)) };
    let sql = format!(
        "select {} from outbox where (created_at < $1 or (created_at = $1 and id < $2)) \
         and ($3 = '' or receiver = $3) and ($4 = '' or incident = $4) {states} order by created_at desc, id desc limit $5",
        columns!()
    );
    let receiver = filter.receiver.as_deref().unwrap_or_default();
    let incident = filter.incident.as_deref().unwrap_or_default();
    let rows: Vec<OutboxRow> = on!(tx, conn => {
        let mut query = sqlx::query_as(AssertSqlSafe(sql.as_str())).bind(place.at).bind(&place.id).bind(text(receiver)).bind(text(incident));
        query = query.bind(limit as i64 + 1);
        for state in &filter.state {
            query = query.bind(text(state));
        }
        query.fetch_all(conn)
    })?;
    Ok(page(rows, limit, |row| Place { at: row.created_at, id: row.id.clone() }))
}

/// How much is pending and how much is dead.
pub async fn counts(tx: &mut Tx) -> Result<Counts, StoreError> {
    let sql = "select count(*), min(created_at), min(due_at) from outbox where state = 'pending'";
    let (pending, oldest, due) = on!(tx, conn => sqlx::query_as(sql).fetch_one(conn))?;
    let dead = on!(tx, conn => sqlx::query_scalar("select count(*) from outbox where state = 'dead'").fetch_one(conn))?;
    Ok(Counts { pending, oldest, due, dead })
}

/// How deliveries to one receiver went lately.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub pending: i64,
    /// Attempts at what was finished lately, and how many of them succeeded.
    pub attempts: i64,
    pub delivered: i64,
    pub last_success: Option<Timestamp>,
    /// Why the newest delivery that waits or gave up has not arrived; empty where the last success is newer.
    pub last_error: String,
}

/// Deliveries that say how receivers stand: the newest that were finished since `from`, in all at most `limit`, and as many
/// of those that wait and that gave up.
pub async fn standing(tx: &mut Tx, from: Timestamp, limit: usize) -> Result<BTreeMap<String, Standing>, StoreError> {
    let mut found: BTreeMap<String, Standing> = BTreeMap::new();
    let sql = "select receiver, cast(sum(attempts) as bigint), cast(sum(case when state = 'delivered' then 1 else 0 end) as bigint), \
               max(case when state = 'delivered' then finished_at end) from \
               (select receiver, state, attempts, finished_at from outbox where finished_at >= $1 and state in ('delivered', 'dead') \
                order by finished_at desc limit $2) lately group by receiver";
    type Sums = (String, i64, i64, Option<Timestamp>);
    let rows: Vec<Sums> = on!(tx, conn => sqlx::query_as(sql).bind(from).bind(limit as i64).fetch_all(conn))?;
    for (receiver, attempts, delivered, last_success) in rows {
        found.insert(receiver, Standing { attempts, delivered, last_success, ..Standing::default() });
    }
    let sql = "select receiver, count(*) from outbox where state = 'pending' group by receiver";
    let rows: Vec<(String, i64)> = on!(tx, conn => sqlx::query_as(sql).fetch_all(conn))?;
    for (receiver, pending) in rows {
        found.entry(receiver).or_default().pending = pending;
    }
    let failed = "select receiver, last_error, coalesce(finished_at, due_at) from outbox \
                  where state in ('pending', 'dead') and last_error <> '' order by created_at desc, id desc limit $1";
    let rows: Vec<(String, String, Timestamp)> = on!(tx, conn => sqlx::query_as(failed).bind(limit as i64).fetch_all(conn))?;
    for (receiver, error, at) in rows {
        let standing = found.entry(receiver).or_default();
        // An error before the last success is history.
        if standing.last_error.is_empty() && standing.last_success.is_none_or(|success| at > success) {
            standing.last_error = error;
        }
    }
    Ok(found)
}
