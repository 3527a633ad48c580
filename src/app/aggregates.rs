//! Takes ready-made rows at the admin listener: checked, counted, answered after the commit.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::domain::keyed::KeyedHash;
use crate::domain::redact::Redactor;
use crate::domain::rows::{Reader, Row};
use crate::sink::Sink;
use crate::web::state::{CallError, Loaded, RejectedRow, TakeAggregates};

/// How long an answer may wait for its commit.
const PATIENCE: Duration = Duration::from_secs(20);

/// The function that `POST /v1/aggregates` calls.
pub fn taker(config: &Config, hash: KeyedHash, sink: Arc<Sink>) -> TakeAggregates {
    let redactor =
        Redactor::new(config.privacy.redact, &config.privacy.redact_patterns).expect("the configuration was checked with the same limits");
    let reader = Arc::new(Reader::new(config.aggregation.bucket, &config.aggregation.dimensions, hash, redactor));
    Arc::new(move |body, now| {
        let (reader, sink) = (reader.clone(), sink.clone());
        Box::pin(async move {
            let mut rows: Vec<(usize, Row<'_>)> = Vec::new();
            let mut rejected = Vec::new();
            let refuse = |line: usize, reason: String| RejectedRow { line: line as u64, reason };
            let read = reader.read(&body, |line, row| match row {
                Ok(row) if row.at > now => rejected.push(refuse(line, "`bucket` lies in the future".into())),
                Ok(row) => rows.push((line, row)),
                Err(error) => rejected.push(refuse(line, error.to_string())),
            });
            read.map_err(|error| CallError::Refused(error.to_string()))?;
            let done = sink.submit_rows(rows, now);
            rejected.extend(done.refused.iter().map(|line| refuse(*line, "too many apps".into())));
            rejected.sort_by_key(|row| row.line);
            // A repeated id was taken before: it is accepted, and counts once.
            let accepted = (done.accepted + done.duplicate) as u64;
            if accepted > 0 && !sink.stored(done.flush, PATIENCE).await {
                return Err(CallError::Failed("the rows could not be stored in time; send them again with the same ids".into()));
            }
            Ok(Loaded { accepted, rejected })
        })
    })
}
