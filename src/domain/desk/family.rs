//! Families at the desk: incidents of one cause, of which one speaks for the others (EXPLAIN 7, SEMANTICS 17).
//!
//! The parent is the loudest, then the oldest. A child keeps quiet towards a receiver that its parent has
//! told at least as loud, and closes with whoever it told itself. When the parent closes while children
//! fire, the next one takes over. Incidents join a family and never leave it but by closing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::domain::evaluate::is_no_data;
use crate::domain::explain::{Cause, same_cause};
use crate::domain::incident::{Effect, Incident, Kin, Lead, Member};
use crate::domain::notification::{Status, Values};
use crate::domain::rule::{Labels, RuleSet, Severity};
use crate::domain::time::Timestamp;

use super::Book;

/// Heads of families that others are compared with, and members of a family that speak for its cause.
const HEADS_MAX: usize = 32;
const FACES_MAX: usize = 2;
/// Incidents that look for a family in one look; the rest keeps speaking for itself.
const SEEKERS_MAX: usize = 128;
/// Children that a parent lists.
const CHILDREN_MAX: usize = 500;

/// An open incident as far as families go.
struct Head {
    key: String,
    id: String,
    title: String,
    parent: Option<String>,
    severity: Severity,
    opened_at: Timestamp,
    cause: Option<Cause>,
    /// The SLOs with groups that fire in it.
    grouped: BTreeSet<String>,
}

impl Head {
    fn of(incident: &Incident, rules: &RuleSet) -> Head {
        let firing = || incident.members.iter().filter(|member| member.firing);
        Head {
            key: incident.key.clone(),
            id: incident.id.clone(),
            title: incident.title.clone(),
            parent: incident.parent.clone(),
            severity: incident.severity,
            opened_at: incident.opened_at,
            cause: cause(incident, firing().next().is_some()),
            grouped: firing().filter_map(|member| grouped(member, rules)).collect(),
        }
    }

    /// The smallest comes first: loud before quiet, old before young.
    fn rank(&self) -> (Reverse<Severity>, Timestamp, &str) {
        (Reverse(self.severity), self.opened_at, &self.id)
    }

    fn seeks(&self) -> bool {
        self.cause.is_some() || !self.grouped.is_empty()
    }

    fn belongs_with(&self, other: &Head) -> bool {
        let one_cause = matches!((&self.cause, &other.cause), (Some(a), Some(b)) if same_cause(a, b));
        one_cause || self.grouped.iter().any(|slo| other.grouped.contains(slo))
    }
}

/// The name of an alert's SLO if it has groups.
fn grouped(member: &Member, rules: &RuleSet) -> Option<String> {
    let slo = rules.slo(&member.rule).filter(|slo| !slo.by.is_empty() && !is_no_data(&member.labels))?;
    Some(slo.name.clone())
}

fn cause(incident: &Incident, firing: bool) -> Option<Cause> {
    let explained = &incident.explained;
    let anchor = explained.held.anchor.clone()?;
    let mut suspects: Vec<BTreeMap<String, Values>> = Vec::new();
    if !anchor.is_global() {
        suspects.push(explained.held.terms.clone());
        suspects.extend(explained.suspects.iter().map(|suspect| suspect.terms.clone()).filter(|terms| *terms != explained.held.terms));
    }
    let (scope, app): (Labels, String) = (explained.scope.clone(), explained.app.clone());
    Some(Cause { anchor, suspects, scope, app, from: incident.window_start, firing })
}

impl Book<'_> {
    /// What an incident has to know about those that speak for it, and those that it speaks for.
    pub(super) fn kin(&self, incident: &Incident) -> (Option<Lead>, Vec<Kin>) {
        let find = |id: &String| self.open.values().find(|other| other.id == *id && other.status != Status::Resolved);
        let lead = incident.parent.as_ref().and_then(find).map(|parent| Lead {
            id: parent.id.clone(),
            open: parent
                .told
                .iter()
                .filter(|(_, told)| told.open)
                .map(|(name, told)| (name.clone(), told.severity.unwrap_or(Severity::Info)))
                .collect(),
            quiet: parent.status == Status::Acknowledged || parent.snoozed_until.is_some_and(|until| until > self.now),
        });
        if incident.children.is_empty() {
            return (lead, Vec::new());
        }
        let reason = Lead { id: incident.id.clone(), open: BTreeMap::new(), quiet: false }.reason();
        let children = self.open.values().filter(|child| child.parent.as_ref() == Some(&incident.id));
        let kin = children.map(|child| Kin {
            id: child.id.clone(),
            text: child.members.iter().find(|member| member.firing).map_or_else(|| child.title.clone(), words),
            receivers: child.told.iter().filter(|(_, told)| told.held_by.as_ref() == Some(&reason)).map(|(name, _)| name.clone()).collect(),
        });
        (lead, kin.collect())
    }

    /// Whether an incident looks for others of its cause.
    pub(super) fn seeks(&self, incident: &Incident) -> bool {
        Head::of(incident, &self.desk.rules).seeks()
    }

    /// Finds who speaks for an incident that is about to open with this alert, before it says anything itself.
    pub(super) fn join_family(&mut self, key: &str, member: &Member) -> Option<Effect> {
        let rules = self.desk.rules.clone();
        let new = self.open.get(key)?;
        let mut new = Head { severity: member.severity, ..Head::of(new, &rules) };
        new.grouped.extend(grouped(member, &rules));
        new.cause = new.cause.map(|cause| Cause { firing: true, ..cause });
        if !new.seeks() {
            return None;
        }
        let others = self.open.values().filter(|other| other.key != key).map(|other| Head::of(other, &rules)).collect::<Vec<_>>();
        let mut roots: Vec<&Head> = others.iter().filter(|other| other.parent.is_none() && other.severity >= new.severity).collect();
        roots.sort_by(|a, b| a.rank().cmp(&b.rank()));
        let root = roots.into_iter().take(HEADS_MAX).find(|root| {
            let children = others.iter().filter(|other| other.parent.as_ref() == Some(&root.id));
            std::iter::once(*root).chain(children).take(FACES_MAX).any(|face| face.belongs_with(&new))
        })?;
        let incident = self.open.get_mut(key).expect("it was read above");
        incident.parent = Some(root.id.clone());
        Some(joins(root))
    }

    /// Brings families to how they should be now; gives the history of whoever changed.
    pub(super) fn regroup(&mut self) -> BTreeMap<String, Vec<Effect>> {
        let rules = self.desk.rules.clone();
        let mut heads: Vec<Head> = self.open.values().map(|incident| Head::of(incident, &rules)).collect();
        let mut effects: BTreeMap<String, Vec<Effect>> = BTreeMap::new();
        heads.sort_by(|a, b| a.rank().cmp(&b.rank()));
        take_over(&mut heads, &mut effects);
        join(&mut heads, &mut effects);
        let mut children: HashMap<String, BTreeSet<String>> = HashMap::new();
        let mut titles: HashMap<String, String> = HashMap::new();
        for head in &heads {
            if let Some(parent) = &head.parent {
                children.entry(parent.clone()).or_default().insert(head.id.clone());
                titles.insert(head.id.clone(), head.title.clone());
            }
        }
        let open: BTreeSet<String> = heads.iter().map(|head| head.id.clone()).collect();
        for head in heads {
            let Some(incident) = self.open.get_mut(&head.key) else { continue };
            incident.parent = head.parent;
            let own = children.remove(&incident.id).unwrap_or_default();
            // Who is open and follows somebody else by now is no child any more; who closed stays on the list.
            incident.children.retain(|child| own.contains(child) || !open.contains(child));
            for child in own {
                if incident.children.len() < CHILDREN_MAX && incident.children.insert(child.clone()) {
                    let text = format!("one cause with {} ({child}), this incident speaks for both", titles[&child]);
                    effects.entry(incident.id.clone()).or_default().push(history(text));
                }
            }
        }
        effects
    }
}

/// Where the parent is gone, or is outranked by a child, the best of the family speaks from now on.
fn take_over(heads: &mut [Head], effects: &mut BTreeMap<String, Vec<Effect>>) {
    let roots: HashMap<String, Severity> =
        heads.iter().filter(|head| head.parent.is_none()).map(|head| (head.id.clone(), head.severity)).collect();
    // Old parent and new; the heads are in the order of rank, so the first that is found is the best.
    let mut new: HashMap<String, (String, String)> = HashMap::new();
    for head in heads.iter() {
        let Some(parent) = &head.parent else { continue };
        if roots.get(parent).is_none_or(|severity| head.severity > *severity) {
            new.entry(parent.clone()).or_insert_with(|| (head.id.clone(), head.title.clone()));
        }
    }
    for head in heads.iter_mut() {
        let was = head.parent.clone().unwrap_or_else(|| head.id.clone());
        let Some((id, title)) = new.get(&was) else { continue };
        if head.id == *id {
            head.parent = None;
            let why = if roots.contains_key(&was) { "it is louder" } else { "that one is closed" };
            let text = format!("takes over from incident {was}, {why} and this one still fires");
            effects.entry(head.id.clone()).or_default().push(history(text));
        } else {
            head.parent = Some(id.clone());
            let text = format!("incident {id} ({title}) speaks for it from now on");
            effects.entry(head.id.clone()).or_default().push(history(text));
        }
    }
}

/// Whole families join the best one that has their cause.
fn join(heads: &mut [Head], effects: &mut BTreeMap<String, Vec<Effect>>) {
    let mut families: Vec<Vec<usize>> = Vec::new();
    let mut family_of: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, head) in heads.iter().enumerate() {
        if let Some(parent) = &head.parent {
            family_of.entry(parent.clone()).or_default().push(at);
        }
    }
    let seeks = |head: &Head| head.parent.is_none() && (head.seeks() || family_of.contains_key(&head.id));
    let roots: Vec<usize> = (0..heads.len()).filter(|at| seeks(&heads[*at])).take(SEEKERS_MAX).collect();
    for root in roots {
        let mut own = vec![root];
        own.extend(family_of.remove(&heads[root].id).unwrap_or_default());
        let faces = |family: &[usize]| family.iter().copied().filter(|at| heads[*at].seeks()).take(FACES_MAX).collect::<Vec<_>>();
        let mine = faces(&own);
        let meets =
            |family: &Vec<usize>| faces(family).into_iter().any(|theirs| mine.iter().any(|mine| heads[theirs].belongs_with(&heads[*mine])));
        let found = families.iter().take(HEADS_MAX).position(|family| !mine.is_empty() && meets(family));
        let Some(found) = found else {
            families.push(own);
            continue;
        };
        let lead = families[found][0];
        for at in &own {
            heads[*at].parent = Some(heads[lead].id.clone());
            let effect = joins(&heads[lead]);
            effects.entry(heads[*at].id.clone()).or_default().push(effect);
        }
        families[found].extend(own);
    }
}

fn joins(parent: &Head) -> Effect {
    history(format!("one cause with incident {} ({}), which speaks for both", parent.id, parent.title))
}

fn history(text: String) -> Effect {
    Effect::History { kind: "grouped", who: String::new(), text }
}

/// "js-errors of shop: more than twelve script errors".
fn words(member: &Member) -> String {
    let place = member.labels.get("service").map(|service| format!(" of {service}")).unwrap_or_default();
    if member.summary.is_empty() { format!("{}{place}", member.rule) } else { format!("{}{place} ({})", member.rule, member.summary) }
}

#[cfg(test)]
#[path = "family_tests.rs"]
mod tests;
