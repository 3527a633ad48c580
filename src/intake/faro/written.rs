//! Faro's payload as it is written: every field may be missing or of another type than it should be.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::json::Text;
use crate::intake::reading::{Attributes, Frame, Loose, trace_id};

#[derive(Deserialize)]
pub(super) struct Payload<'a> {
    #[serde(borrow, default)]
    pub(super) meta: Loose<Meta<'a>>,
    #[serde(borrow)]
    pub(super) events: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) exceptions: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) measurements: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Meta<'a> {
    #[serde(borrow)]
    pub(super) sdk: Loose<MetaSdk<'a>>,
    #[serde(borrow)]
    pub(super) app: Loose<MetaApp<'a>>,
    #[serde(borrow)]
    pub(super) user: Loose<MetaWho<'a>>,
    #[serde(borrow)]
    pub(super) session: Loose<MetaWho<'a>>,
    #[serde(borrow)]
    pub(super) page: Loose<MetaPage<'a>>,
    #[serde(borrow)]
    pub(super) view: Loose<MetaView<'a>>,
    #[serde(borrow)]
    pub(super) browser: Loose<MetaBrowser<'a>>,
    #[serde(borrow)]
    pub(super) os: Loose<MetaOs<'a>>,
    #[serde(borrow)]
    pub(super) device: Loose<MetaDevice<'a>>,
    #[serde(borrow)]
    pub(super) geo: Loose<MetaGeo<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct MetaSdk<'a> {
    #[serde(borrow)]
    pub(super) name: Loose<Text<'a>>,
    #[serde(borrow)]
    pub(super) version: Loose<Text<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct MetaApp<'a> {
    #[serde(borrow)]
    pub(super) name: Loose<Text<'a>>,
    #[serde(borrow)]
    pub(super) version: Loose<Text<'a>>,
    #[serde(borrow)]
    pub(super) release: Loose<Text<'a>>,
    #[serde(borrow)]
    pub(super) environment: Loose<Text<'a>>,
}

/// A user or a session.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct MetaWho<'a> {
    #[serde(borrow)]
    pub(super) id: Loose<Text<'a>>,
    #[serde(borrow)]
    pub(super) attributes: Loose<Attributes<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct MetaPage<'a> {
    #[serde(borrow)]
    pub(super) url: Loose<Text<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct MetaView<'a> {
    #[serde(borrow)]
    pub(super) name: Loose<Text<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct MetaBrowser<'a> {
    #[serde(borrow)]
    pub(super) name: Loose<Text<'a>>,
    #[serde(borrow)]
    pub(super) os: Loose<Text<'a>>,
    #[serde(borrow)]
    pub(super) mobile: Loose<Text<'a>>,
    #[serde(borrow, rename = "userAgent")]
    pub(super) user_agent: Loose<Text<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct MetaOs<'a> {
    #[serde(borrow)]
    pub(super) name: Loose<Text<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct MetaDevice<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Loose<Text<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct MetaGeo<'a> {
    #[serde(borrow)]
    pub(super) country_iso: Loose<Text<'a>>,
    #[serde(borrow, rename = "countryIsoCode")]
    pub(super) country_iso_code: Loose<Text<'a>>,
}

#[derive(Deserialize)]
pub(super) struct WrittenEvent<'a> {
    #[serde(borrow, default)]
    pub(super) name: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) timestamp: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) attributes: Loose<Attributes<'a>>,
    #[serde(borrow, default)]
    pub(super) trace: Loose<WrittenTrace<'a>>,
}

impl<'a> WrittenEvent<'a> {
    pub(super) fn name(&self) -> &str {
        self.name.0.as_ref().map_or("", |name| &name.0)
    }

    pub(super) fn attributes(&self) -> &Attributes<'a> {
        static NONE: Attributes<'static> = Attributes(Vec::new());
        self.attributes.0.as_ref().unwrap_or(&NONE)
    }
}

#[derive(Clone, Deserialize)]
pub(super) struct WrittenTrace<'a> {
    #[serde(borrow, default)]
    pub(super) trace_id: Loose<Text<'a>>,
}

impl<'a> WrittenTrace<'a> {
    pub(super) fn id(self) -> Option<Cow<'a, str>> {
        trace_id(self.trace_id.0?.0)
    }
}

#[derive(Deserialize)]
pub(super) struct WrittenException<'a> {
    #[serde(borrow, default)]
    pub(super) timestamp: Loose<Text<'a>>,
    #[serde(borrow, default, rename = "type")]
    pub(super) kind: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) value: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) fatal: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) trace: Loose<WrittenTrace<'a>>,
    #[serde(borrow, default)]
    pub(super) stacktrace: Loose<Stack<'a>>,
}

#[derive(Default, Deserialize)]
pub(super) struct Stack<'a> {
    /// The newest call first.
    #[serde(borrow, default)]
    pub(super) frames: Loose<Vec<Loose<Frame<'a>>>>,
}

#[derive(Deserialize)]
pub(super) struct Measurement<'a> {
    #[serde(borrow, default, rename = "type")]
    pub(super) kind: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) timestamp: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) values: Loose<Attributes<'a>>,
    #[serde(borrow, default)]
    pub(super) context: Loose<Attributes<'a>>,
}
