//! Which alerts a list shows.

use super::super::Params;
use super::{Refusal, flag};
use crate::domain::filter::Pattern;
use crate::domain::matcher::Matcher;

const FILTERS_MAX: usize = 50;

/// The query of `GET /api/v2/alerts`.
pub struct Filter {
    pub matchers: Vec<Matcher>,
    pub active: bool,
    pub silenced: bool,
    pub inhibited: bool,
    pub receiver: Option<Pattern>,
}

impl Filter {
    /// Reads the query.
    pub fn read(params: &Params) -> Result<Filter, Refusal> {
        let receiver = match params.get("receiver") {
            Some(text) => Some(Pattern::new(text).map_err(|error| Refusal::bad(format!("failed to parse receiver param: {error}")))?),
            None => None,
        };
        // `unprocessed` is not asked for: whatever is stored is looked at while it is shown.
        Ok(Filter {
            matchers: matchers(params)?,
            active: flag(params, "active"),
            silenced: flag(params, "silenced"),
            inhibited: flag(params, "inhibited"),
            receiver,
        })
    }
}

/// The matchers of `filter`, of which there may be several.
pub fn matchers(params: &Params) -> Result<Vec<Matcher>, Refusal> {
    let texts: Vec<&str> = params.each("filter").collect();
    if texts.len() > FILTERS_MAX {
        return Err(Refusal::bad(format!("more than {FILTERS_MAX} filters")));
    }
    texts.into_iter().map(|text| Matcher::parse(text).map_err(|error| Refusal::bad(error.to_string()))).collect()
}
