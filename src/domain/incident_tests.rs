use super::*;
use crate::domain::route::Routed;
use crate::domain::rule::{Escalation, Field, ReceiverKind};

const M: i64 = 60_000;

fn member(alert: &str, severity: Severity) -> Member {
    Member {
        alert: alert.into(),
        rule: alert.into(),
        labels: [("slo".to_owned(), alert.to_owned())].into(),
        severity,
        firing: true,
        started_at: Timestamp(0),
        ended_at: None,
        summary: format!("{alert} burns"),
        figures: Figures::default(),
        traces: vec![],
        subject: None,
    }
}

fn incident() -> Incident {
    Incident {
        id: "i".into(),
        key: "k".into(),
        grouping: Labels::new(),
        generation: 0,
        sequence: 0,
        status: Status::Open,
        severity: Severity::Info,
        title: String::new(),
        service: String::new(),
        owner: String::new(),
        labels: Labels::new(),
        opened_at: Timestamp(0),
        acknowledged_at: None,
        acknowledged_by: None,
        resolved_at: None,
        snoozed_until: None,
        window_start: Timestamp(0),
        members: vec![],
        told: BTreeMap::new(),
        loud_since: Timestamp(0),
        impact: Impact::default(),
        explained: Explained::default(),
        changes: vec![],
        revision: String::new(),
        runbook: None,
        dashboard: None,
        parent: None,
        children: BTreeSet::new(),
        reopened: vec![],
        known: BTreeSet::new(),
        held_until: None,
        closed_because: None,
        by_hand: Default::default(),
        footing: None,
    }
}

/// Pages go to `pager` (escalating to `boss` after ten minutes), tickets to `tickets`.
struct World {
    incident: Incident,
    muted: Option<String>,
    wait: Span,
    lead: Option<Lead>,
    family: Vec<Kin>,
    kind: ReceiverKind,
}

impl World {
    fn new() -> World {
        let kind = ReceiverKind::Teams { url: Field::Plain(String::new()) };
        World { incident: incident(), muted: None, wait: Span::ZERO, lead: None, family: vec![], kind }
    }

    fn at(&mut self, minute: i64, input: Input) -> Vec<String> {
        let route = |labels: &Labels| {
            let page = labels["severity"] == "page";
            vec![Routed {
                to: vec![if page { "pager" } else { "tickets" }.into()],
                group_by: None,
                group_wait: self.wait,
                group_interval: Span::minutes(5),
                repeat: Span::hours(4),
                escalate: if page { vec![Escalation { after: Span::minutes(10), to: vec!["boss".into()] }] } else { vec![] },
                muted: None,
            }]
        };
        let muted = self.muted.clone();
        let receiver = |name: &str| {
            Some(Receiver {
                name: name.into(),
                place: Default::default(),
                timeout: Span::seconds(5),
                send_resolved: true,
                callback_secret: None,
                template: None,
                kind: self.kind.clone(),
            })
        };
        let around = Surroundings {
            now: Timestamp(minute * M),
            route: &route,
            muted: &|_| muted.clone(),
            receiver: &receiver,
            lead: self.lead.as_ref(),
            family: &self.family,
        };
        self.incident
            .step(input, &around)
            .into_iter()
            .filter_map(|effect| match effect {
                Effect::Notify { receiver, kind, reason, sequence, .. } => {
                    Some(format!("{sequence} {receiver} {}: {reason}", &kind.name()[9..]))
                }
                Effect::History { .. } => None,
            })
            .collect()
    }

    fn opened(&mut self, minute: i64, alert: &str, severity: Severity) -> Vec<String> {
        self.at(minute, Input::AlertOpened(Box::new(member(alert, severity))))
    }

    fn moved(&mut self, minute: i64, severity: Severity) -> Vec<String> {
        self.at(minute, Input::AlertMoved { alert: "a".into(), severity, figures: Figures::default() })
    }

    fn ended(&mut self, minute: i64, alert: &str) -> Vec<String> {
        self.at(minute, Input::AlertEnded { alert: alert.into(), reason: "no tier holds".into() })
    }
}

#[test]
fn opens_and_closes_once() {
    let mut world = World::new();
    assert_eq!(world.opened(0, "a", Severity::Page), ["1 pager opened: a burns"]);
    assert_eq!(world.at(1, Input::Tick), [""; 0]);
    assert_eq!(world.ended(5, "a"), ["2 pager resolved: the alert ended"]);
    assert_eq!(world.incident.status, Status::Resolved);
    assert_eq!(world.at(6, Input::Tick), [""; 0]);
}

#[test]
fn a_falling_severity_closes_the_pager_and_opens_the_ticket() {
    let mut world = World::new();
    world.opened(0, "a", Severity::Page);
    assert_eq!(world.moved(3, Severity::Ticket), ["2 pager resolved: severity lowered", "3 tickets opened: a burns"]);
    assert_eq!(world.ended(9, "a"), ["4 tickets resolved: the alert ended"]);
}

#[test]
fn a_rise_notifies_again_and_voids_the_acknowledgement() {
    let mut world = World::new();
    world.opened(0, "a", Severity::Ticket);
    assert_eq!(world.at(1, Input::Acknowledge { by: "mira".into() }), ["2 tickets acknowledged: acknowledged by mira"]);
    assert_eq!(world.moved(2, Severity::Page), ["3 pager opened: a burns", "4 tickets resolved: severity lowered"]);
    assert_eq!((world.incident.status, world.incident.acknowledged_at), (Status::Open, None));
}

#[test]
fn escalates_only_while_nobody_acknowledged() {
    let mut world = World::new();
    world.opened(0, "a", Severity::Page);
    assert_eq!(world.at(9, Input::Tick), [""; 0]);
    assert_eq!(world.at(10, Input::Tick), ["2 boss escalated: not acknowledged for 10 min"]);
    assert_eq!(world.at(11, Input::Acknowledge { by: "jo".into() }).len(), 2);
    assert_eq!(world.at(500, Input::Tick), [""; 0]);
    assert_eq!(world.ended(501, "a").len(), 2, "the boss is told of the close too");

    let mut world = World::new();
    world.opened(0, "a", Severity::Page);
    world.at(1, Input::Acknowledge { by: "jo".into() });
    assert_eq!(world.at(30, Input::Tick), [""; 0]);
}

#[test]
fn a_mute_stops_new_pages_but_never_the_close_and_its_end_is_told() {
    let mut world = World::new();
    world.muted = Some("silence s1".into());
    assert_eq!(world.opened(0, "a", Severity::Page), [""; 0]);
    world.muted = None;
    assert_eq!(world.at(4, Input::Tick), ["1 pager opened: still firing after it was held back: silence s1"]);
    world.muted = Some("silence s2".into());
    assert_eq!(world.opened(20, "b", Severity::Page), [""; 0]);
    world.ended(21, "a");
    assert_eq!(world.ended(22, "b"), ["2 pager resolved: all 2 alerts ended"]);
}

#[test]
fn what_ends_while_the_group_gathers_is_never_told() {
    let mut world = World::new();
    world.wait = Span::minutes(2);
    assert_eq!(world.opened(0, "a", Severity::Page), [""; 0]);
    assert_eq!(world.ended(1, "a"), [""; 0]);

    let mut world = World::new();
    world.wait = Span::minutes(2);
    world.opened(0, "a", Severity::Page);
    assert_eq!(world.at(2, Input::Tick), ["1 pager opened: a burns"]);
}

#[test]
fn more_alerts_wait_for_the_interval_and_reminders_for_an_acknowledgement() {
    let mut world = World::new();
    world.opened(0, "a", Severity::Ticket);
    assert_eq!(world.opened(1, "b", Severity::Ticket), [""; 0]);
    assert_eq!(world.at(5, Input::Tick), ["2 tickets updated: 1 more alert"]);
    assert_eq!(world.at(5 + 240, Input::Tick), ["3 tickets reminder: not acknowledged, still firing after 4 h 5 min"]);
    assert_eq!(world.at(5 + 479, Input::Tick), [""; 0]);
    assert_eq!(world.at(5 + 480, Input::Tick).len(), 1, "`repeat` is the distance of all reminders");
}

#[test]
fn whoever_was_told_hears_why_it_was_closed_when_no_alert_ended_by_itself() {
    let mut world = World::new();
    world.opened(0, "a", Severity::Page);
    let removed = Input::AlertEnded { alert: "a".into(), reason: RULE_REMOVED.into() };
    assert_eq!(world.at(1, removed), ["2 pager resolved: rule removed"]);
    let mut world = World::new();
    world.opened(0, "a", Severity::Page);
    let resolved = Input::Resolve { by: "jo".into(), why: "rolled back".into() };
    assert_eq!(world.at(1, resolved), ["2 pager resolved: resolved by jo: rolled back"]);
}

fn posted(n: u8, started: i64) -> Member {
    let labels = [("alertname".to_owned(), "down".to_owned()), ("severity".to_owned(), "page".to_owned())].into();
    Member { alert: posted::member_name(&[n; 16]), labels, started_at: Timestamp(started * M), ..member("down", Severity::Page) }
}

/// Alertmanager's fact 7: a group waits for its first notification, unless its alert has been on for that long.
#[test]
fn what_has_been_on_outside_for_as_long_as_its_group_gathers_is_told_at_once() {
    let mut world = World { wait: Span::minutes(5), ..World::new() };
    assert_eq!(world.at(10, Input::AlertOpened(Box::new(posted(1, 5)))), ["1 pager opened: down burns"]);
    let mut world = World { wait: Span::minutes(5), ..World::new() };
    assert_eq!(world.at(10, Input::AlertOpened(Box::new(posted(1, 8)))), [""; 0]);
    assert_eq!(world.at(12, Input::Tick), [""; 0]);
    assert_eq!(world.at(13, Input::Tick), ["1 pager opened: down burns"], "five minutes after it began, not after it was heard of");
    // Our own alerts begin at the bucket that made them, which is past by the time they are known.
    let mut world = World { wait: Span::minutes(5), ..World::new() };
    assert_eq!(world.opened(10, "a", Severity::Page), [""; 0]);
}

/// Alertmanager's facts 9, 10 and 12: its listeners hear when some of a group end, at most once in an interval, and all others
/// when all have.
#[test]
fn only_listeners_in_alertmanagers_format_hear_of_each_end() {
    let story = |kind: ReceiverKind| {
        let mut world = World { kind, ..World::new() };
        world.at(0, Input::Posted { opened: vec![posted(1, 0), posted(2, 0), posted(3, 0)], changed: vec![], ended: vec![] });
        let end =
            |n: u8| Input::Posted { opened: vec![], changed: vec![], ended: vec![(posted::member_name(&[n; 16]), "it ended".into())] };
        let mut told = world.at(2, end(1));
        told.extend(world.at(3, end(2)));
        told.extend(world.at(5, Input::Tick));
        told.extend(world.at(9, Input::Tick));
        told.extend(world.at(9, end(3)));
        told
    };
    let teams = story(ReceiverKind::Teams { url: Field::Plain(String::new()) });
    assert_eq!(teams, ["2 pager resolved: all 3 alerts ended"]);
    let listener = story(ReceiverKind::AlertmanagerWebhook { url: Field::Plain(String::new()), headers: BTreeMap::new() });
    assert_eq!(listener, ["2 pager updated: 2 alerts ended", "3 pager resolved: all 3 alerts ended"]);
}

#[test]
fn a_late_acknowledgement_of_a_closed_incident_changes_nothing() {
    let mut world = World::new();
    world.opened(0, "a", Severity::Page);
    world.ended(1, "a");
    let before = world.incident.clone();
    assert_eq!(world.at(2, Input::Acknowledge { by: "jo".into() }), [""; 0]);
    assert_eq!(world.incident, before);
}

#[test]
fn an_acknowledgement_that_is_taken_back_lets_escalation_go_on() {
    let mut world = World::new();
    world.opened(0, "a", Severity::Page);
    world.at(1, Input::Acknowledge { by: "mira".into() });
    assert_eq!(world.at(12, Input::Tick), [""; 0]);
    assert_eq!(world.at(13, Input::Unacknowledge { by: "mira".into() }), ["3 boss escalated: not acknowledged for 13 min"]);
    assert_eq!((world.incident.status, &world.incident.acknowledged_by), (Status::Open, &None));
    assert_eq!(world.at(14, Input::Unacknowledge { by: "jo".into() }), [""; 0]);
    world.ended(15, "a");
    assert_eq!(world.at(16, Input::Unacknowledge { by: "jo".into() }), [""; 0]);
    assert_eq!(world.incident.status, Status::Resolved);
}

#[test]
fn a_called_action_is_told_once_more_whatever_the_routes_say() {
    let mut world = World::new();
    world.opened(0, "a", Severity::Page);
    let kind = ReceiverKind::Teams { url: Field::Plain(String::new()) };
    let receiver = Receiver {
        name: "rollback".into(),
        place: Default::default(),
        timeout: Span::seconds(5),
        send_resolved: true,
        callback_secret: None,
        template: None,
        kind,
    };
    let effects = world.incident.call(&receiver, "mira");
    assert!(matches!(&effects[1], Effect::Notify { receiver, sequence: 2, .. } if receiver == "rollback"), "{effects:?}");
    assert_eq!(world.ended(5, "a"), ["3 pager resolved: the alert ended"], "an action is not told of the close");
}

#[test]
fn whoever_snoozed_it_is_not_told_that_nothing_confirms_it() {
    for snoozed in [false, true] {
        let mut world = World::new();
        world.opened(0, "a", Severity::Page);
        if snoozed {
            world.at(1, Input::Snooze { by: "jo".into(), until: Timestamp(60 * M) });
        }
        let doubt = || Input::AlertUnconfirmed { alert: "a".into(), reason: "unconfirmed".into() };
        let mut updates = |minute: i64| world.at(minute, doubt()).iter().filter(|told| told.contains("pager updated: ")).count();
        assert_eq!(updates(59), usize::from(!snoozed));
        assert_eq!(updates(60), 1, "the snooze is over");
    }
}

#[test]
fn the_end_of_a_snooze_and_of_a_mute_is_told_with_its_reason() {
    let mut world = World::new();
    world.opened(0, "a", Severity::Page);
    world.at(1, Input::Acknowledge { by: "jo".into() });
    world.at(1, Input::Snooze { by: "jo".into(), until: Timestamp(60 * M) });
    assert_eq!(world.at(59, Input::Tick), [""; 0]);
    assert_eq!(world.at(60, Input::Tick), ["3 pager reminder: the snooze ended, still firing"]);
    world.muted = Some("silence s".into());
    assert_eq!(world.at(61, Input::Tick), [""; 0]);
    world.muted = None;
    assert_eq!(world.at(65, Input::Tick), ["4 pager reminder: still firing after the end of: silence s"]);
    assert_eq!(world.at(66, Input::Tick), [""; 0]);
}

#[test]
fn an_incident_that_comes_and_goes_is_held_open_until_it_is_quiet() {
    let mut world = World::new();
    world.opened(0, "a", Severity::Page);
    assert_eq!(world.ended(2, "a").len(), 1);
    for at in [5, 10, 15] {
        world.incident.reopen(Timestamp(at * M));
        assert_eq!(world.opened(at, "a", Severity::Page).len(), 1);
        if at < 15 {
            assert_eq!(world.ended(at + 2, "a").len(), 1);
        }
    }
    let held = "8 pager updated: came back 3 times within an hour: it stays open until it has been quiet for 15 min";
    assert_eq!(world.ended(17, "a"), [held]);
    assert_eq!(world.incident.status, Status::Open);
    assert_eq!(world.opened(20, "a", Severity::Page), [""; 0]);
    assert_eq!(world.ended(22, "a"), [""; 0], "it is said once");
    let told = ["9 pager resolved: severity lowered", "10 tickets opened: b burns"];
    assert_eq!(world.opened(23, "b", Severity::Ticket), told, "what was never told is not hidden");
    assert_eq!(world.ended(24, "b"), [held.replace("8 pager", "11 tickets")]);
    assert_eq!(world.at(38, Input::Tick), [""; 0]);
    assert_eq!(world.at(39, Input::Tick), ["12 tickets resolved: all 2 alerts ended"]);
    assert_eq!(world.incident.status, Status::Resolved);
}

fn set(severity: Option<Severity>) -> Input {
    Input::SetSeverity { by: "mira".into(), severity, why: "nobody is hit".into() }
}

fn moved(severity: Severity) -> Input {
    Input::AlertMoved { alert: "a".into(), severity, figures: Figures::default() }
}

#[test]
fn a_severity_by_hand_is_routed_and_stands_until_the_alerts_rise_above_it() {
    let mut world = World::new();
    // `2 pager opened: why` without its number and its reason.
    let kind = |said: &String| said.split_once(' ').map(|(_, said)| said.split(':').next().unwrap_or_default().to_owned());
    let told = |said: Vec<String>| said.iter().filter_map(kind).collect::<Vec<_>>();
    world.at(0, Input::AlertOpened(Box::new(member("a", Severity::Ticket))));
    // Louder than its alerts say.
    let said = world.at(1, set(Some(Severity::Page)));
    assert_eq!(told(said), ["pager opened", "tickets resolved"], "the routes of the new severity");
    assert_eq!(world.incident.severity, Severity::Page);
    world.at(2, moved(Severity::Info));
    assert_eq!(world.incident.severity, Severity::Page, "a fall of the alerts does not end it");
    world.at(3, moved(Severity::Page));
    world.at(4, moved(Severity::Ticket));
    assert_eq!(world.incident.severity, Severity::Page, "nor does a rise that is no louder");
    // Left to its alerts again.
    assert_eq!(told(world.at(5, set(None))), ["pager resolved", "tickets opened"]);
    assert_eq!((world.incident.severity, &world.incident.by_hand.severity), (Severity::Ticket, &None));

    // Quieter than its alerts say, and they get louder than they were.
    assert_eq!(told(world.at(6, set(Some(Severity::Info)))), ["tickets updated"]);
    assert_eq!(told(world.at(7, Input::AlertOpened(Box::new(member("b", Severity::Ticket))))), [""; 0], "no louder than it was");
    assert_eq!(world.incident.severity, Severity::Info);
    assert_eq!(told(world.at(8, moved(Severity::Page))), ["pager opened"]);
    assert_eq!((world.incident.severity, &world.incident.by_hand.severity), (Severity::Page, &None));
    let ended = |alert: &str| Input::AlertEnded { alert: alert.into(), reason: "over".into() };
    world.at(9, set(Some(Severity::Ticket)));
    world.at(10, ended("a"));
    world.at(11, ended("b"));
    assert_eq!(world.incident.status, Status::Resolved);
    assert_eq!(told(world.at(12, set(Some(Severity::Page)))), [""; 0], "it is over");
    world.incident.reopen(Timestamp(13 * M));
    assert_eq!(world.incident.by_hand.severity, None, "a close ends the choice");
}

#[test]
fn a_rise_by_hand_voids_the_acknowledgement_and_says_who_and_why() {
    let mut world = World::new();
    world.at(0, Input::AlertOpened(Box::new(member("a", Severity::Ticket))));
    world.at(1, Input::Acknowledge { by: "ann".into() });
    let around = Surroundings { now: Timestamp(2 * M), route: &|_| vec![], muted: &|_| None, receiver: &|_| None, lead: None, family: &[] };
    let effects = world.incident.step(set(Some(Severity::Page)), &around);
    assert_eq!(world.incident.status, Status::Open);
    let Effect::History { kind, who, text } = &effects[0] else { panic!("{effects:?}") };
    assert_eq!((*kind, who.as_str()), ("severity", "mira"));
    assert_eq!(text, "severity set from ticket to page by mira: nobody is hit");
}

#[test]
fn a_new_owner_is_told_and_the_old_one_hears_the_close() {
    let mut incident = incident();
    incident.owner = "team-web".into();
    let mut alert = member("a", Severity::Page);
    alert.labels.insert("owner".into(), "team-web".into());
    let route = |labels: &Labels| {
        let boss = Escalation { after: Span::minutes(10), to: vec![format!("{}-boss", labels["owner"])] };
        vec![Routed {
            to: vec![labels["owner"].clone()],
            group_by: None,
            group_wait: Span::ZERO,
            group_interval: Span::minutes(5),
            repeat: Span::hours(4),
            escalate: vec![boss],
            muted: None,
        }]
    };
    let mut step = |minute: i64, input: Input| {
        let around =
            Surroundings { now: Timestamp(minute * M), route: &route, muted: &|_| None, receiver: &|_| None, lead: None, family: &[] };
        let effects = incident.step(input, &around);
        let told = effects.into_iter().filter_map(|effect| match effect {
            Effect::Notify { receiver, kind, reason, .. } => Some((receiver, kind, reason)),
            Effect::History { .. } => None,
        });
        told.collect::<Vec<_>>()
    };
    assert_eq!(step(0, Input::AlertOpened(Box::new(alert)))[0].0, "team-web");
    let hand_over = || Input::HandOver { by: "mira".into(), owner: "team-db".into(), why: "the disk is full".into() };
    let told = step(30, hand_over());
    let reason = "handed over from team-web to team-db by mira: the disk is full".to_owned();
    assert!(told.contains(&("team-db".into(), Kind::Opened, reason.clone())), "{told:?}");
    assert!(told.contains(&("team-web".into(), Kind::Resolved, reason)), "{told:?}");
    assert!(told.iter().all(|(receiver, ..)| receiver != "team-db-boss"), "the new owner has ten minutes, too");
    assert!(step(31, hand_over()).is_empty(), "it is theirs already");
    assert_eq!(step(40, Input::Tick)[0].0, "team-db-boss");
    let closed: Vec<String> = step(50, Input::AlertEnded { alert: "a".into(), reason: "over".into() }).into_iter().map(|it| it.0).collect();
    assert_eq!(closed, ["team-db", "team-db-boss"]);
}

#[test]
fn what_is_stored_leaves_out_what_is_as_at_first_and_is_read_as_it_was() {
    let told = Told { open: true, ..Told::default() };
    let stored = |incident: &Incident| serde_json::to_string(incident).unwrap();
    let fresh = Incident { members: vec![member("a", Severity::Page)], told: BTreeMap::from([("pager".into(), told)]), ..incident() };
    let text = stored(&fresh);
    // Two of them fit into a page of 4 KiB, and each is written with every change.
    assert!(!text.contains("null") && !text.contains("impact") && !text.contains("figures") && !text.contains("\"owner\""), "{text}");
    assert_eq!(serde_json::from_str::<Incident>(&text).unwrap(), fresh);
    let mut lived = Incident { owner: "mira".into(), resolved_at: Some(Timestamp(5)), ..fresh.clone() };
    lived.impact.bad_events = 0.5;
    lived.members[0].figures.factor = Some(14.4);
    assert_eq!(serde_json::from_str::<Incident>(&stored(&lived)).unwrap(), lived);
    // As it was written before, all fields in it.
    let before = text.replacen('{', r#"{"owner":"","resolved_at":null,"impact":{"affected_users":0,"bad_events":0.0,"budget_consumed":0.0,"budget_remaining":0.0},"children":[],"#, 1);
    assert_eq!(serde_json::from_str::<Incident>(&before).unwrap(), fresh);
}
