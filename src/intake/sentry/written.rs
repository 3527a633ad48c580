//! What events and transactions have in common: who, where, and how both are marked.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::text;
use crate::domain::json::Text;
use crate::intake::reading::{Attributes, Loose};

/// Flags as tags (`flag.name` or `name`) and as Sentry's own context.
pub(super) fn flags_of<'a>(mut tags: Vec<(Cow<'a, str>, Cow<'a, str>)>, flags: Option<Flags<'a>>) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
    for (name, _) in &mut tags {
        if let Some(flag) = name.strip_prefix("flag.") {
            *name = Cow::Owned(flag.to_owned());
        }
    }
    let evaluated = flags.and_then(|flags| flags.values.0).unwrap_or_default().into_iter().filter_map(|flag| flag.0);
    tags.extend(evaluated.filter_map(|flag| Some((text(&flag.flag)?, text(&flag.result)?))));
    tags
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WrittenRequest<'a> {
    #[serde(borrow)]
    pub(super) url: Loose<Text<'a>>,
    #[serde(borrow)]
    pub(super) headers: Loose<Attributes<'a>>,
}

impl<'a> WrittenRequest<'a> {
    pub(super) fn user_agent(&self) -> Option<Cow<'a, str>> {
        self.headers.0.as_ref()?.any(&["User-Agent", "user-agent"]).cloned()
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct User<'a> {
    #[serde(borrow)]
    pub(super) id: Loose<Text<'a>>,
}

/// Tags as an object or as a list of pairs.
#[derive(Default)]
pub(super) struct Tags<'a>(pub(super) Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Tags<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Tags<'a>, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?.get();
        if raw.starts_with('{') {
            return serde_json::from_str::<Attributes<'de>>(raw).map(|tags| Tags(tags.0)).map_err(serde::de::Error::custom);
        }
        let pairs: Vec<Loose<(Text<'de>, Text<'de>)>> = serde_json::from_str(raw).map_err(serde::de::Error::custom)?;
        Ok(Tags(pairs.into_iter().filter_map(|pair| pair.0).map(|(name, value)| (name.0, value.0)).collect()))
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Contexts<'a> {
    #[serde(borrow)]
    pub(super) trace: Loose<TraceContext<'a>>,
    #[serde(borrow)]
    pub(super) browser: Loose<Named<'a>>,
    #[serde(borrow)]
    pub(super) os: Loose<Named<'a>>,
    #[serde(borrow)]
    pub(super) flags: Loose<Flags<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TraceContext<'a> {
    #[serde(borrow)]
    pub(super) op: Loose<Text<'a>>,
    #[serde(borrow)]
    pub(super) span_id: Loose<Text<'a>>,
    #[serde(borrow)]
    pub(super) trace_id: Loose<Text<'a>>,
    #[serde(borrow)]
    pub(super) data: Loose<Attributes<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Named<'a> {
    #[serde(borrow)]
    pub(super) name: Loose<Text<'a>>,
}

#[derive(Default, Deserialize)]
pub(super) struct Flags<'a> {
    #[serde(borrow, default)]
    pub(super) values: Loose<Vec<Loose<Flag<'a>>>>,
}

#[derive(Deserialize)]
pub(super) struct Flag<'a> {
    #[serde(borrow, default)]
    pub(super) flag: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) result: Loose<Text<'a>>,
}
