//! The table behind a chart: every value that it draws, closed until somebody asks for it.
//!
//! It is most of a chart's weight, so its cells are closed by what follows them, as HTML allows.

use std::fmt::Write as _;

use maud::{Markup, PreEscaped, html};

use crate::web::number;
use crate::web::text::plain;

/// One step: when it begins, and a cell for each column after the first; `None`: nothing of it was measured.
pub type Row = (String, Option<Vec<String>>);

/// The table. `heads` are the columns after the first, which is the time.
pub fn table(summary: &str, heads: &[String], rows: impl Iterator<Item = Row>) -> Markup {
    let mut out = String::new();
    let mut put =
        |tag: &str, text: &str| write!(out, "<{tag}>{}", html! { (plain(text)) }.into_string()).expect("a string takes every write");
    for (at, cells) in rows {
        put("tr><th", &at);
        match cells {
            Some(cells) => cells.iter().for_each(|cell| put("td", cell)),
            None => put(&format!("td colspan={}", heads.len()), number::NOT_MEASURED),
        }
    }
    html! {
        details {
            summary { (summary) }
            div.scroll tabindex="0" role="region" aria-label="Numbers" {
                table.numbers {
                    thead { tr { th { "from (UTC)" } @for head in heads { th { (plain(head)) } } } }
                    // Every text in it was escaped above.
                    tbody { (PreEscaped(out)) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixture::{HOSTILE, assert_inert};

    #[test]
    fn what_was_not_measured_is_said_once_for_all_columns_and_text_is_inert() {
        let rows = [(HOSTILE.to_owned(), Some(vec![HOSTILE.to_owned(), "1".into()])), ("02:51".to_owned(), None)];
        let text = table("Show the numbers", &[HOSTILE.to_owned(), "share".into()], rows.into_iter()).into_string();
        assert!(text.contains("<td>1<tr><th>02:51<td colspan=2>not measured</tbody>"), "{text}");
        assert_inert(&text);
    }
}
