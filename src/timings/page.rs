//! The page itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::{ENVIRONMENT, Phase, Span, Work};
use crate::shown;
use crate::ui::human_bytes;

const STYLE: &str = "\
body{font:14px/1.4 system-ui,sans-serif;margin:2em;color:#222;background:#fff}\
h1{font-size:1.3em}table{border-collapse:collapse;width:100%}\
td,th{padding:2px 8px;text-align:left;font-weight:normal;white-space:nowrap}\
td.n{text-align:right}td.b{width:100%;position:relative;height:18px}\
td.b i{position:absolute;top:3px;height:14px;min-width:1px}\
tr:nth-child(even){background:#f4f4f4}\
.fetch{background:#4c78a8}.wait{background:#ddd}.unpack{background:#f58518}\
.compile{background:#54a24b}.compose{background:#b279a2}\
p b{display:inline-block;width:14px;height:14px;margin:0 4px 0 16px;vertical-align:-2px}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#222}tr:nth-child(even){background:#2a2a2a}\
.wait{background:#555}}";

/// Draws one row a wheel, in the order in which they began, and the environment's own last.
pub(super) fn draw(title: &str, total: Duration, works: &BTreeMap<String, Work>) -> String {
    let mut rows: Vec<(&String, &Work)> = works.iter().collect();
    rows.sort_by_key(|(file, work)| {
        let start = work.spans.first().map(|span| span.start);
        (file.as_str() == ENVIRONMENT, start)
    });
    let mut page = String::new();
    // Writing to a String never fails.
    write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title><style>{STYLE}</style></head>\n\
         <body><h1>{0}</h1>\n<p>{1:.2} s in all.",
        escaped(title),
        total.as_secs_f64()
    )
    .ok();
    for phase in Phase::ALL {
        let (name, sum) = (phase.as_str(), sum_of(phase, works, total));
        write!(page, "<b class=\"{name}\"></b>{name} {:.2} s", sum.as_secs_f64()).ok();
    }
    page.push_str("</p>\n<table>\n<tr><th>wheel<th>size<th>fetched<th>\n");
    for (file, work) in rows {
        let name = if file == ENVIRONMENT { "the environment" } else { file };
        let size = work.size.map_or_else(String::new, human_bytes);
        let fetched = if work.fetched > 0 {
            human_bytes(work.fetched)
        } else {
            String::new()
        };
        write!(
            page,
            "<tr><td>{}<td class=\"n\">{size}<td class=\"n\">{fetched}<td class=\"b\">",
            escaped(name)
        )
        .ok();
        for span in &work.spans {
            bar(&mut page, span, total);
        }
        page.push('\n');
    }
    page.push_str("</table>\n</body></html>\n");
    page
}

fn bar(page: &mut String, span: &Span, total: Duration) {
    let length = span.end.unwrap_or(total).saturating_sub(span.start);
    let percent = |time: Duration| 100.0 * time.as_secs_f64() / total.as_secs_f64().max(1e-6);
    let name = span.phase.as_str();
    write!(
        page,
        "<i class=\"{name}\" style=\"left:{:.3}%;width:{:.3}%\" title=\"{name}: {:.3} s, from {:.3} s on\"></i>",
        percent(span.start),
        percent(length),
        length.as_secs_f64(),
        span.start.as_secs_f64()
    )
    .ok();
}

fn sum_of(phase: Phase, works: &BTreeMap<String, Work>, total: Duration) -> Duration {
    let spans = works.values().flat_map(|work| &work.spans);
    spans
        .filter(|span| span.phase == phase)
        .map(|span| span.end.unwrap_or(total).saturating_sub(span.start))
        .sum()
}

fn escaped(text: &str) -> String {
    shown::line(text)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_bar_for_each_phase_and_escapes_names() {
        let span = |phase, start, end| Span {
            phase,
            start: Duration::from_secs(start),
            end: Some(Duration::from_secs(end)),
        };
        let work = |spans| Work {
            size: Some(1_000_000),
            fetched: 0,
            spans,
        };
        let works = BTreeMap::from([
            ("<b>.whl".to_owned(), work(vec![span(Phase::Unpack, 2, 3)])),
            (
                "a.whl".to_owned(),
                work(vec![span(Phase::Fetch, 0, 1), span(Phase::Compile, 1, 2)]),
            ),
            (ENVIRONMENT.to_owned(), work(vec![span(Phase::Compose, 3, 4)])),
        ]);
        let page = draw("flambeau build", Duration::from_secs(4), &works);
        assert!(!page.contains("<b>.whl") && page.contains("&lt;b&gt;.whl"), "{page}");
        assert!(
            page.contains("class=\"fetch\" style=\"left:0.000%;width:25.000%\""),
            "{page}"
        );
        assert!(
            page.contains("class=\"compile\" style=\"left:25.000%;width:25.000%\""),
            "{page}"
        );
        let place = |text: &str| page.find(text).expect("on the page");
        assert!(place("a.whl") < place("&lt;b&gt;.whl") && place("&lt;b&gt;.whl") < place("the environment"));
        assert!(!page.contains("<script") && !page.contains("http"), "self-contained");
    }
}
