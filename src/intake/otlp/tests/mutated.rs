//! Bodies that were changed on their way.

use super::*;
use crate::intake::mutations::{mutated, mutation};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(384))]

    #[test]
    fn no_body_breaks_the_decoder(
        which in any::<prop::sample::Index>(),
        packed in any::<bool>(),
        signal in prop_oneof![Just(Signal::Logs), Just(Signal::Traces), Just(Signal::Metrics)],
        right in any::<bool>(),
        mutations in prop::collection::vec(mutation(), 0..12),
    ) {
        let all: Vec<(Signal, &str)> = LOGS.map(|body| (Signal::Logs, body)).into_iter()
            .chain(TRACES.map(|body| (Signal::Traces, body)))
            .chain(METRICS.map(|body| (Signal::Metrics, body)))
            .collect();
        let (own, body) = *which.get(&all);
        let body = if packed { encoder::request(&serde_json::from_str(body).unwrap()) } else { body.as_bytes().to_vec() };
        let body = mutated(body, &mutations);
        let content_type = if packed { "application/x-protobuf" } else { "application/json" };
        let body = mended(content_type, &body);
        let (settings, from) = (settings(), Enrichment::default());
        let start = Instant::now();
        let decoded = decode(if right { own } else { signal }, content_type, &body, &settings, &from, memory(), NOW);
        prop_assert!(start.elapsed() < Duration::from_secs(2));
        if let Ok(decoded) = decoded {
            let mut last = None;
            for (index, _) in &decoded.rejected {
                prop_assert!(*index < decoded.events && last <= Some(*index));
                last = Some(*index);
            }
            for event in decoded.batches.iter().flat_map(|batch| &batch.events) {
                prop_assert!(event.index < decoded.events && event.at <= NOW && event.weight > 0);
                prop_assert!(event.value.is_none_or(|value| value.is_finite() && value >= 0.0));
                prop_assert!(event.route.len() <= 128 && event.own.iter().all(|own| own.len() <= 128));
            }
            for (_, row) in &decoded.rows {
                prop_assert!(row.cell.counts.bad <= row.cell.counts.total && row.cell.counts.raw >= 0 && row.cell.sum.is_finite());
                prop_assert!(row.dims().all(|(_, value)| value.len() <= 128));
            }
        }
    }
}
