//! For tests of the desk: routes, receivers and conditions in few words.

use crate::domain::filter::{Filter, Match};
use crate::domain::rule::{Field, Receiver, ReceiverKind, Route};
use crate::domain::time::Span;

/// Conditions as rules write them.
pub fn filter(pairs: &[(&str, &str)]) -> Filter {
    Filter(pairs.iter().map(|(name, text)| ((*name).into(), Match::parse(text).unwrap())).collect())
}

/// A receiver that nothing is sent to.
pub fn receiver(name: &str) -> Receiver {
    Receiver {
        name: name.into(),
        place: Default::default(),
        timeout: Span::seconds(5),
        send_resolved: true,
        callback_secret: None,
        template: None,
        kind: ReceiverKind::Teams { url: Field::Plain(String::new()) },
    }
}

/// A route with nothing but its conditions and its receivers.
pub fn route(when: &[(&str, &str)], to: &[&str]) -> Route {
    Route {
        place: Default::default(),
        when: filter(when),
        to: to.iter().map(|name| (*name).into()).collect(),
        group_by: None,
        group_wait: None,
        group_interval: None,
        repeat: None,
        escalate: vec![],
        fallthrough: false,
        active: vec![],
        mute: vec![],
        takes_off: Default::default(),
        routes: vec![],
    }
}
