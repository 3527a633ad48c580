//! What all items of a payload share: who, on which page, with what.

use std::borrow::Cow;

use super::written::{Meta, MetaApp, MetaBrowser, MetaDevice, MetaOs};
use super::{Items, is_no_view, text};
use crate::domain::event::Source;
use crate::domain::keyed::Purpose;
use crate::intake::memory::key;
use crate::intake::reading::{Reading, device_class, lower, read_or_said, versioned};
use crate::intake::reason::Reason;

/// What all items of a payload share.
pub(super) struct Page<'a> {
    pub(super) route: Cow<'a, str>,
    /// Whether the route is a view that the app gave a name.
    pub(super) is_view: bool,
    /// The address as it is written.
    pub(super) url: Cow<'a, str>,
    pub(super) session: Option<Cow<'a, str>>,
    pub(super) user: Option<u64>,
    pub(super) weight: i64,
    pub(super) sent_at: Option<f64>,
    /// What its app and release are remembered by.
    pub(super) build: u64,
    /// Where the payload was sent to.
    pub(super) collector: Option<&'a str>,
}

impl<'a> Reading<'a, '_> {
    pub(super) fn page(
        &mut self,
        name: Cow<'a, str>,
        app: MetaApp<'a>,
        meta: Meta<'a>,
        items: &Items<'a>,
    ) -> Result<(Source<'a>, Page<'a>), Reason> {
        let app_name = self.clean("app", Some(name));
        let (session, user) = (meta.session.0.unwrap_or_default(), meta.user.0.unwrap_or_default());
        let mut flags = session.attributes.0.unwrap_or_default();
        let keep_ids = self.keep_ids(flags.get("consent").map_or("", |consent| consent))?;
        let given = match flags.get("sample_rate") {
            Some(rate) => Some(rate.trim().parse().map_err(|_| Reason::SampleRate)?),
            None => None,
        };
        let weight = self.weight(&app_name, given)?;
        flags.0.extend(user.attributes.0.unwrap_or_default().0);
        let cohort = self.cohort(&flags.0);
        let session = text(session.id).filter(|_| keep_ids);
        let user = text(user.id).filter(|_| keep_ids);
        // Somebody without a name is still one person as long as the session lasts.
        let user = user.as_ref().or(session.as_ref()).map(|id| self.settings.hash.of(Purpose::User, &[id.as_bytes()]));
        let (page, geo, sdk) = (meta.page.0.unwrap_or_default(), meta.geo.0.unwrap_or_default(), meta.sdk.0.unwrap_or_default());
        let url = text(page.url).unwrap_or_default();
        let view = text(meta.view.0.unwrap_or_default().name).filter(|view| !is_no_view(view));
        let is_view = view.is_some();
        let route = self.route("page", view.unwrap_or_else(|| url.clone()));
        let [device, browser, os] =
            self.machine(meta.browser.0.unwrap_or_default(), meta.os.0.unwrap_or_default(), meta.device.0.unwrap_or_default());
        let release = self.clean("release", text(app.release).or(text(app.version)));
        let region = text(geo.country_iso).or(text(geo.country_iso_code)).map(lower).or_else(|| self.region());
        let sdk = text(sdk.name).map(|name| versioned(name, text(sdk.version).unwrap_or_default()));
        let source = Source {
            environment: self.clean("environment", text(app.environment)),
            region: self.clean("region", region),
            device: self.clean("device", Some(device)),
            browser: self.clean("browser", Some(browser)),
            os: self.clean("os", Some(os)),
            cohort,
            sdk: self.clean("sdk", sdk),
            release,
            app: app_name,
        };
        let build = key(&self.settings.hash, &["faro build", &source.app, &source.release]);
        self.decoded.sent_at = items.sent_at();
        Ok((source, Page { route, is_view, url, session, user, weight, sent_at: items.sent_at(), build, collector: None }))
    }

    /// Device, browser and system: what the client says of itself, else what its user agent does.
    fn machine(&self, browser: MetaBrowser<'a>, os: MetaOs<'a>, device: MetaDevice<'a>) -> [Cow<'a, str>; 3] {
        let agent = self.agent(text(browser.user_agent).as_deref());
        let name = text(browser.name);
        let headless = name.as_ref().is_some_and(|name| name.contains("Headless"));
        let mobile = text(browser.mobile);
        let class = match (text(device.kind).map_or("", |kind| device_class(&kind)), mobile.as_deref()) {
            // A bot stays one, whatever its script says of the window.
            _ if headless || agent.device == "bot" => "bot",
            ("", Some("true")) if agent.device != "tablet" => "phone",
            ("", Some("false")) if agent.device.is_empty() => "desktop",
            ("", Some(_) | None) => agent.device,
            (class, Some(_) | None) => class,
        };
        [class.into(), read_or_said(agent.browser, name), read_or_said(agent.os, text(os.name).or(text(browser.os)))]
    }
}
