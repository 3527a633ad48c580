//! The recorder of metrics, and what is in it before anything has happened.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::intake;

/// One recorder for the process; several daemons in one test share it.
pub fn recorder() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    let install = || {
        let seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &seconds)
            .expect("the list of buckets is not empty")
            .install_recorder()
            .expect("no other recorder is installed in this process")
    };
    HANDLE.get_or_init(install).clone()
}

/// What the metrics mean, and those of them that are there before anything has happened.
pub fn announce() {
    use ::metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
    describe_counter!("burnwatch_evaluations_total", "Evaluations: one for each bucket that closed.");
    describe_counter!(
        "burnwatch_evaluations_skipped_total",
        "Evaluations that were made up for late, together with a newer one that notifies."
    );
    describe_counter!("burnwatch_rules_skipped_total", "Free-form rules that got no turn in an evaluation, because rules took too long.");
    describe_histogram!("burnwatch_evaluation_duration_seconds", "How long an evaluation of all rules took.");
    describe_gauge!("burnwatch_evaluation_lag_seconds", "Wall clock minus the logical time of the last evaluation.");
    describe_counter!("burnwatch_clock_jumps_total", "Jumps of the wall clock against the time that passed.");
    describe_counter!("burnwatch_intake_events_total", "Events by protocol and by what became of them.");
    describe_counter!("burnwatch_intake_rejected_total", "Events and requests that were refused, by reason.");
    describe_gauge!("burnwatch_series", "Series that are known.");
    describe_counter!("burnwatch_series_folded_total", "Events whose values were folded into __other__.");
    describe_counter!("burnwatch_notifications_total", "Attempts to deliver, by receiver and outcome.");
    describe_gauge!("burnwatch_rules_last_load_success", "Whether the newest rules took effect: 1, or 0 while older ones stay in force.");
    intake::announce();
    for name in [
        "burnwatch_evaluations_total",
        "burnwatch_evaluations_skipped_total",
        "burnwatch_clock_jumps_total",
        "burnwatch_series_folded_total",
    ] {
        counter!(name).increment(0);
    }
    for name in ["burnwatch_evaluation_lag_seconds", "burnwatch_series"] {
        gauge!(name).increment(0.0);
    }
    let _ = histogram!("burnwatch_evaluation_duration_seconds");
}
