//! Which test holds which promise: the twenty facts of Alertmanager's semantics that `/api/v2` and `import alertmanager` live by, and
//! the faults that burnwatch survives. A row names tests; this fails where one of them is gone.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Number, fact, tests. Where ours is different on purpose, the row says how; those tests hold ours.
const FACTS: [(u8, &str, &[&str]); 20] = [
    (
        1,
        "an alert is its labels without the empty ones",
        &["fact_1_an_alert_is_its_labels_without_the_empty_ones", "fingerprints_are_those_of_prometheus"],
    ),
    (
        2,
        "overlapping reports merge",
        &["fact_2_what_overlaps_is_one_alert_from_the_earliest_start_to_the_latest_end", "a_repeat_extends_and_a_real_end_beats_a_lease"],
    ),
    (3, "fired again after its end it is a new occurrence", &["an_end_ends_and_a_late_one_of_an_earlier_occurrence_does_not"]),
    (4, "absent times are filled in", &["absent_times_are_filled_in_as_alertmanager_does"]),
    (5, "a label that is absent is absent from the group", &["fact_5_and_6_groups_have_the_labels_that_are_there_all_of_them_or_none"]),
    (6, "`...` groups by all labels, an empty list by none", &["fact_5_and_6_groups_have_the_labels_that_are_there_all_of_them_or_none"]),
    (
        7,
        "who has been on for longer than group_wait is told at once",
        &["what_has_been_on_outside_for_as_long_as_its_group_gathers_is_told_at_once"],
    ),
    (8, "news waits for group_interval", &["more_alerts_wait_for_the_interval_and_reminders_for_an_acknowledgement"]),
    (
        9,
        "a listener is sent the whole group",
        &["only_listeners_in_alertmanagers_format_hear_of_each_end", "alertmanagers_listeners_get_version_4"],
    ),
    (
        10,
        "when a group is notified; ours: ends are told to listeners in its format, closes to all",
        &["only_listeners_in_alertmanagers_format_hear_of_each_end", "a_batch_is_told_once_and_closes_when_all_have_ended"],
    ),
    (
        11,
        "repeats wait for a flush; ours: a reminder comes when it is due, until somebody acknowledges",
        &["more_alerts_wait_for_the_interval_and_reminders_for_an_acknowledgement"],
    ),
    (
        12,
        "what ends before it was told is told to nobody",
        &["what_ends_while_the_group_gathers_is_never_told", "what_came_and_went_between_two_looks_is_told_to_nobody"],
    ),
    (13, "fired again after the close it waits for its group anew", &["fact_13_who_fires_again_after_the_close_waits_for_its_group_anew"]),
    (14, "who hears of no close hears of the next opening", &["fact_14_who_hears_of_no_close_hears_of_the_next_opening"]),
    (
        15,
        "inhibition, intervals and silences all hold back; ours: and the end of each is told",
        &[
            "an_interval_mutes_but_still_matches",
            "a_mute_stops_new_pages_but_never_the_close_and_its_end_is_told",
            "amtool_silences_and_inhibitions_show",
        ],
    ),
    (
        16,
        "inhibition by equal labels, absent being empty",
        &["fact_16_a_source_holds_back_what_agrees_with_it_and_an_absent_label_is_an_empty_one", "it_holds_back_what_the_contract_says"],
    ),
    (17, "a muted source holds back all the same", &["fact_17_a_source_that_is_muted_itself_holds_back_all_the_same"]),
    (
        18,
        "a flush has a deadline and a back-off; ours: the deadline of a delivery is that of its outbox row",
        &["failures_are_tried_again_under_the_same_id_with_growing_gaps", "what_is_too_old_or_too_often_tried_is_dead"],
    ),
    (
        19,
        "which answers are tried again; ours: 429 as long as it asks, 4xx to the dead letters",
        &[
            "statuses_say_whether_to_try_again",
            "retry_after_holds_the_whole_receiver_also_over_a_restart_and_no_other",
            "a_permanent_no_goes_to_the_dead_letters_and_the_fallback_is_told",
        ],
    ),
    (
        20,
        "what was notified is kept for a while; ours: in the database, across a kill",
        &[
            "what_was_answered_survives_a_crash_and_is_told_once",
            "a_kill_at_every_step_of_a_delivery_loses_nothing_and_shows_nothing_twice",
            "retention_spares_what_is_open_or_pending",
        ],
    ),
];

/// Fault, tests.
const FAULTS: &[(&str, &[&str])] = &[
    ("SIGKILL between evaluation and transition", &["a_kill_at_any_instant_loses_no_page_and_closes_every_one"]),
    ("SIGKILL between transition and send", &["a_kill_at_every_step_of_a_delivery_loses_nothing_and_shows_nothing_twice"]),
    (
        "SIGKILL between send and record",
        &[
            "a_crash_between_answer_and_mark_repeats_the_same_id",
            "a_crash_at_any_step_of_a_delivery_loses_nothing_and_repeats_under_the_same_id",
        ],
    ),
    ("SIGTERM", &["stopping_marks_what_was_sent_and_gives_the_rest_back"]),
    ("SQLite busy", &["two_processes_on_one_sqlite_file_wait_for_each_other"]),
    (
        "Disk full: beacons are refused, the heartbeat stops, word past the store",
        &[
            "a_full_disk_turns_beacons_away_and_loses_nothing_once_there_is_room",
            "what_cannot_be_stored_ends_it",
            "who_is_routed_is_told_past_the_store_once_and_of_its_end",
        ],
    ),
    ("SQLite corrupt", &["a_damaged_file_is_refused_and_left_alone"]),
    ("PostgreSQL restart", &["a_connection_that_the_server_ended_is_replaced"]),
    ("PostgreSQL cut off (black hole)", &["a_replica_that_is_cut_off_is_replaced_and_works_again_without_a_restart"]),
    (
        "the answer to a COMMIT is lost",
        &[
            "a_lost_commit_changes_nothing_that_is_stored_told_or_shown",
            "a_commit_that_arrives_late_counts_once",
            "alerts_of_others_whose_commit_is_lost_are_one_incident",
        ],
    ),
    (
        "receiver down",
        &[
            "failures_are_tried_again_under_the_same_id_with_growing_gaps",
            "a_failure_for_good_is_a_dead_letter_that_the_fallback_and_the_operator_are_told_of",
            "a_slow_receiver_delays_no_other",
        ],
    ),
    (
        "429 with Retry-After in seconds or as a date",
        &[
            "retry_after_holds_the_whole_receiver_also_over_a_restart_and_no_other",
            "retry_after_as_a_date_holds_the_whole_receiver",
            "whoever_asks_for_time_gets_it_for_all_messages_in_both_forms",
        ],
    ),
    (
        "400, 401, 404, 410, 413, 422",
        &[
            "statuses_say_whether_to_try_again",
            "a_permanent_no_goes_to_the_dead_letters_and_the_fallback_is_told",
            "a_receiver_that_is_gone_is_left_alone_until_its_definition_changes",
        ],
    ),
    (
        "hang, drip, endless body, garbage, TLS error, redirect",
        &[
            "a_receiver_that_hangs_is_left_after_its_timeout",
            "r13_the_status_decides_however_the_body_behaves",
            "what_is_no_http_or_nobody_listens_to_is_tried_again",
            "r20_a_certificate_that_nobody_vouches_for_is_refused",
            "r13_a_redirect_is_not_followed",
        ],
    ),
    (
        "SMTP 451, 421, 550 for one of two, drop after DATA",
        &[
            "greylisting_is_waited_out_and_nobody_gets_it_twice",
            "a_server_that_is_busy_or_not_there_is_tried_again",
            "a_refusal_for_good_is_for_that_recipient_only",
            "r12_a_second_attempt_is_the_same_message_byte_by_byte",
        ],
    ),
    (
        "clock goes ahead",
        &[
            "a_clock_that_goes_two_hours_ahead_opens_and_closes_nothing",
            "a_clock_that_jumps_ahead_sends_nothing_beside_itself",
            "a_jump_is_one_ticket_until_the_clock_has_been_steady",
            "what_a_clock_that_jumped_ahead_left_behind_and_is_made_up_for_is_nobodys_trouble",
        ],
    ),
    (
        "clock goes back",
        &["a_clock_that_jumps_back_stops_nothing", "a_receiver_that_asks_for_time_gets_it_and_a_clock_that_jumps_back_ends_it"],
    ),
    (
        "change of daylight saving time",
        &[
            "a_time_that_does_not_exist_runs_once_at_the_change",
            "a_time_that_exists_twice_runs_once",
            "a_day_without_a_midnight_starts_at_the_change",
        ],
    ),
    (
        "late and out-of-order data",
        &[
            "late_rows_exclusions_calendars_and_slices_are_those_of_a_slow_recomputation",
            "late_events_count_from_when_they_arrive",
            "the_order_of_rows_does_not_matter_and_equal_buckets_add_up",
        ],
    ),
    (
        "no data at all",
        &["a_gap_freezes_an_alert", "a_gap_neither_resolves_nor_opens", "silence_where_twenty_events_were_due_is_not_measured"],
    ),
    ("an outage of the intake, which is none of the site", &["an_intake_that_takes_nothing_is_an_operator_incident_until_it_does"]),
    ("a change of the sampling rate", &["s4_less_sampling_changes_no_budget_and_hides_no_fault", "sampling_is_weighed_away"]),
    ("bad rules pushed", &["the_last_good_rule_set_survives_bad_ones", "a_rule_that_fails_is_an_operator_incident_until_it_answers"]),
    ("overload of the intake", &["a_flood_reaches_nobody_who_means_it", "an_overloaded_daemon_keeps_one_in_so_many_with_its_weight"]),
    (
        "overload of the evaluation",
        &[
            "rules_that_take_too_long_wait_for_the_next_evaluation_and_pages_for_none",
            "groups_that_had_no_turn_come_first",
            "a_page_of_an_objective_does_not_wait_for_slow_rules",
            "evaluations_that_are_too_slow_end_it_and_so_does_none_at_all",
        ],
    ),
    (
        "two replicas",
        &[
            "a_replica_that_is_killed_is_replaced_and_nothing_is_told_twice",
            "a_replica_that_sleeps_through_its_lease_is_fenced_when_it_wakes",
            "whoever_sleeps_through_its_lease_writes_nothing_of_what_it_decided",
            "what_another_replica_has_by_now_is_neither_sent_nor_given_back_nor_put_off",
            "a_lease_cannot_change_hands_under_a_transaction_that_is_fenced",
            "claiming_at_the_same_time_gives_each_row_to_one",
        ],
    ),
    ("upgrade and downgrade", &["a_schema_is_refused_only_if_it_says_so", "replicas_that_start_together_make_one_schema"]),
    ("backup while running", &["a_backup_of_a_running_database_opens_as_one"]),
    (
        "restore of an old backup",
        &[
            "a_restored_copy_pages_nobody_for_what_was_open_or_waited_then",
            "a_fresh_copy_goes_on_and_a_person_may_say_that_any_database_is_an_old_one",
        ],
    ),
];

/// Every function in the source that is marked as a test.
fn tests() -> BTreeSet<String> {
    fn walk(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).expect("the source is there").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                add(&fs::read_to_string(&path).expect("a file of text"), found);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    walk(&root.join("src"), &mut found);
    walk(&root.join("tests"), &mut found);
    found
}

/// The functions behind `#[test]` and its like, also inside macros that run them on both databases.
fn add(text: &str, found: &mut BTreeSet<String>) {
    let mut marked = text.contains("on_both!") || text.contains("both! {");
    let everywhere = marked;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some(rest) = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn ")) {
            if marked {
                found.extend(rest.split(['(', '<']).next().map(str::to_owned));
            }
            marked = everywhere;
        }
    }
}

fn gone(rows: impl Iterator<Item = (String, &'static [&'static str])>) -> Vec<String> {
    let there = tests();
    let lost = |(row, tests): (String, &'static [&'static str])| {
        let lost: Vec<&str> = tests.iter().copied().filter(|test| !there.contains(*test)).collect();
        (tests.is_empty() || !lost.is_empty()).then(|| format!("{row}: {lost:?}"))
    };
    rows.filter_map(lost).collect()
}

#[test]
fn every_fact_of_alertmanager_has_a_test() {
    assert!(FACTS.iter().map(|(number, ..)| *number).eq(1..=20));
    let lost = gone(FACTS.iter().map(|(number, fact, tests)| (format!("fact {number}, {fact}"), *tests)));
    assert!(lost.is_empty(), "{lost:#?}");
}

#[test]
fn every_fault_that_is_survived_has_a_test() {
    let lost = gone(FAULTS.iter().map(|(fault, tests)| ((*fault).to_owned(), *tests)));
    assert!(lost.is_empty(), "{lost:#?}");
}

#[test]
fn a_test_that_is_only_talked_about_does_not_count() {
    let mut found = BTreeSet::new();
    add("/// fn talked_about() is gone\n#[test]\nfn here() {}\nfn helper() {}\n    #[tokio::test]\n    async fn there() {}", &mut found);
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["here", "there"]);
}
