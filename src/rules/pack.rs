//! The built-in rule pack: every file of `rules/`, inside the program.

/// Path inside the folder, and text.
pub(super) const FILES: [(&str, &str); 23] = [
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
    ("third-party.rhai", include_str!("../../rules/third-party.rhai")),
    ("third-party_test.rhai", include_str!("../../rules/third-party_test.rhai")),
    ("vitals.rhai", include_str!("../../rules/vitals.rhai")),
    ("vitals_test.rhai", include_str!("../../rules/vitals_test.rhai")),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::Arc;

    use super::super::{Env, Loaded, Verdict, built_in, load, read_folder, report};
    use crate::domain::lookup::Lookup;
    use crate::domain::rule::Severity;

    fn loaded() -> Loaded {
        load(&built_in(), &Env::defaults())
    }

    #[test]
    fn every_file_of_the_folder_is_in_the_program() {
        let folder = read_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("rules")).unwrap();
        assert_eq!(built_in(), folder);
    }

    #[test]
    fn the_pack_loads_without_a_word() {
        let loaded = loaded();
        assert_eq!(report(&loaded.problems), "");
        assert!(loaded.is_good());
    }
}
