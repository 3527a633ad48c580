//! The built-in rule pack: every file of `rules/`, inside the program.

/// Path inside the folder, and text.
pub(super) const FILES: [(&str, &str); 24] = [
    ("api.rhai", include_str!("../../rules/api.rhai")),
    ("api_test.rhai", include_str!("../../rules/api_test.rhai")),
    ("crashes.rhai", include_str!("../../rules/crashes.rhai")),
    ("crashes_test.rhai", include_str!("../../rules/crashes_test.rhai")),
    ("errors.rhai", include_str!("../../rules/errors.rhai")),
    ("errors_test.rhai", include_str!("../../rules/errors_test.rhai")),
    ("funnel.rhai", include_str!("../../rules/funnel.rhai")),
    ("funnel_test.rhai", include_str!("../../rules/funnel_test.rhai")),
    ("lib/site.rhai", include_str!("../../rules/lib/site.rhai")),
    ("lib/stats.rhai", include_str!("../../rules/lib/stats.rhai")),
    ("lib/tiers.rhai", include_str!("../../rules/lib/tiers.rhai")),
    ("page-load.rhai", include_str!("../../rules/page-load.rhai")),
    ("page-load_test.rhai", include_str!("../../rules/page-load_test.rhai")),
    ("receivers.rhai", include_str!("../../rules/receivers.rhai")),
    ("releases.rhai", include_str!("../../rules/releases.rhai")),
    ("releases_test.rhai", include_str!("../../rules/releases_test.rhai")),
    ("replay.rhai", include_str!("../../rules/replay.rhai")),
    ("replay_test.rhai", include_str!("../../rules/replay_test.rhai")),
    ("telemetry.rhai", include_str!("../../rules/telemetry.rhai")),
    ("telemetry_test.rhai", include_str!("../../rules/telemetry_test.rhai")),
    ("third-party.rhai", include_str!("../../rules/third-party.rhai")),
    ("third-party_test.rhai", include_str!("../../rules/third-party_test.rhai")),
    ("vitals.rhai", include_str!("../../rules/vitals.rhai")),
    ("vitals_test.rhai", include_str!("../../rules/vitals_test.rhai")),
];

#[cfg(test)]
#[path = "pack_tests.rs"]
mod tests;
