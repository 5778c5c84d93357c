//! Index pages: the PyTorch index in the form of 2025, the package index by PEP 503 and PEP 691.
//!
//! The PyTorch index has root-relative links with `%2B` in the address and `+` in the text, both names of the metadata
//! attribute, neither sizes nor `data-requires-python`, and a comment with the time behind the document. Its pages are
//! generated anew all the time; here the time stands still, so that a page keeps its bytes.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Options;
use crate::support::encoding::sha256;
use crate::support::wheel::BuiltWheel;

type Row = (String, Arc<BuiltWheel>);

/// What the package index speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Html,
    Json,
}

impl Dialect {
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Html => "text/html",
            Self::Json => "application/vnd.pypi.simple.v1+json",
        }
    }
}

pub(super) fn channel_root(projects: &[String]) -> String {
    let mut html = "<!DOCTYPE html>\n<html>\n  <body>\n".to_owned();
    for project in projects {
        let _ = writeln!(html, "    <a href=\"{project}/\">{project}</a><br/>");
    }
    html + "  </body>\n</html>\n<!--TIMESTAMP 1747699200-->\n"
}

pub(super) fn channel_project(project: &str, rows: &[Row], core_metadata: bool, digests: bool) -> String {
    let mut html = format!("<!DOCTYPE html>\n<html>\n  <body>\n    <h1>Links for {project}</h1>\n");
    for (path, wheel) in rows {
        let _ = write!(html, "    <a href=\"{path}{}\"", fragment(wheel, digests));
        if core_metadata {
            let digest = sha256(wheel.metadata.as_bytes());
            let _ = write!(
                html,
                " data-dist-info-metadata=\"sha256={digest}\" data-core-metadata=\"sha256={digest}\""
            );
        }
        let _ = writeln!(html, ">{}</a><br/>", wheel.filename);
    }
    html + "  </body>\n</html>\n<!--TIMESTAMP 1747699200-->\n"
}

pub(super) fn index_root(projects: &[String], dialect: Dialect) -> String {
    match dialect {
        Dialect::Json => {
            let names: Vec<_> = projects.iter().map(|name| json!({ "name": name })).collect();
            json!({ "meta": { "api-version": "1.1" }, "projects": names }).to_string()
        }
        Dialect::Html => {
            let mut html = index_head("Simple index");
            for project in projects {
                let _ = writeln!(html, "    <a href=\"/simple/{project}/\">{project}</a>");
            }
            html + "  </body>\n</html>\n"
        }
    }
}

pub(super) fn index_project(project: &str, rows: &[Row], dialect: Dialect, options: Options) -> String {
    match dialect {
        Dialect::Html => index_project_html(project, rows, options),
        Dialect::Json => index_project_json(project, rows, options).to_string(),
    }
}

fn index_project_html(project: &str, rows: &[Row], options: Options) -> String {
    let mut html = index_head(&format!("Links for {project}"));
    for (name, wheel) in source_distributions(rows) {
        let _ = write!(
            html,
            "    <a href=\"../../packages/source/{name}#sha256={}\"",
            sha256(name.as_bytes())
        );
        if let Some(specifier) = &wheel.requires_python {
            let _ = write!(html, " data-requires-python=\"{}\"", escape(specifier));
        }
        if let Some(reason) = &wheel.yanked {
            let _ = write!(html, " data-yanked=\"{}\"", escape(reason));
        }
        let _ = writeln!(html, ">{name}</a><br />");
    }
    for (path, wheel) in rows {
        // Relative to the page: clients resolve it against where the page came from.
        let _ = write!(html, "    <a href=\"../..{path}{}\"", fragment(wheel, options.digests));
        if let Some(specifier) = &wheel.requires_python {
            let _ = write!(html, " data-requires-python=\"{}\"", escape(specifier));
        }
        if options.index_core_metadata {
            let _ = write!(
                html,
                " data-core-metadata=\"sha256={}\"",
                sha256(wheel.metadata.as_bytes())
            );
        }
        if let Some(reason) = &wheel.yanked {
            let _ = write!(html, " data-yanked=\"{}\"", escape(reason));
        }
        let _ = writeln!(html, ">{}</a><br />", wheel.filename);
    }
    html + "  </body>\n</html>\n<!--SERIAL 28531234-->\n"
}

fn index_project_json(project: &str, rows: &[Row], options: Options) -> Value {
    let sources = source_distributions(rows).into_iter().map(|(name, wheel)| {
        json!({
            "filename": name,
            "url": format!("/packages/source/{name}"),
            "hashes": { "sha256": sha256(name.as_bytes()) },
            "requires-python": wheel.requires_python,
            "size": 1000,
            "yanked": wheel.yanked.as_ref().map_or(json!(false), |reason| json!(reason)),
        })
    });
    let wheels = rows.iter().map(|(path, wheel)| {
        let mut file = json!({
            "filename": wheel.filename,
            "url": path,
            "hashes": {},
            "requires-python": wheel.requires_python,
            "size": wheel.bytes.len(),
            "upload-time": "2025-04-23T14:32:01.123456Z",
            "yanked": wheel.yanked.as_ref().map_or(json!(false), |reason| json!(reason)),
            "provenance": null,
        });
        if options.digests {
            file["hashes"] = json!({ "sha256": wheel.sha256 });
        }
        if options.index_core_metadata {
            file["core-metadata"] = json!({ "sha256": sha256(wheel.metadata.as_bytes()) });
            file["data-dist-info-metadata"] = file["core-metadata"].clone();
        }
        file
    });
    let mut versions: Vec<_> = rows.iter().map(|(_, wheel)| wheel.version.as_str()).collect();
    versions.dedup();
    json!({
        "meta": { "api-version": "1.3", "_last-serial": 28_531_234 },
        "name": project,
        "versions": versions,
        "files": sources.chain(wheels).collect::<Vec<_>>(),
    })
}

/// Pure projects are listed with a source distribution too. It is not there: nobody must ask for it.
fn source_distributions(rows: &[Row]) -> Vec<(String, &BuiltWheel)> {
    let stems = rows
        .iter()
        .filter_map(|(_, wheel)| Some((wheel.filename.strip_suffix("-py3-none-any.whl")?, wheel)));
    stems
        .map(|(stem, wheel)| (format!("{stem}.tar.gz"), &**wheel))
        .collect()
}

fn fragment(wheel: &BuiltWheel, digests: bool) -> String {
    if digests {
        format!("#sha256={}", wheel.sha256)
    } else {
        String::new()
    }
}

fn index_head(title: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html>\n  <head>\n    <meta name=\"pypi:repository-version\" content=\"1.3\">\n    \
         <title>{title}</title>\n  </head>\n  <body>\n    <h1>{title}</h1>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
