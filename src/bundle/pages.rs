//! The pages that make a bundle's folder a package index behind any web server that only serves files.
//!
//! `simple/<name>/index.html` is a page as PEP 503 has it, with PEP 658 metadata; `simple/<name>/index.json` says the
//! same as PEP 691 has it, for servers that can be told to choose by `Accept`. `whl/<channel>/<name>/index.html` has the
//! PyTorch family of one channel alone, so that the folder can stand in for the PyTorch index too. Links are relative:
//! the folder works under every address.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{FileKind, Item};
use crate::digest::{FileDigest, WheelDigest};
use crate::relpath::{RelPath, UnsafePath};

/// Everything but what RFC 3986 leaves as it is.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One wheel of a bundle, as its page shows it.
#[derive(Debug, Clone)]
pub struct PageWheel {
    /// Normalised name of the project.
    pub name: String,
    /// Version.
    pub version: String,
    /// Where the wheel is in the bundle.
    pub path: RelPath,
    /// SHA-256 of the wheel.
    pub digest: WheelDigest,
    /// Bytes.
    pub size: u64,
    /// `Requires-Python`, where the wheel states one.
    pub requires_python: Option<String>,
    /// Its METADATA.
    pub metadata: Vec<u8>,
    /// The channels whose lockfiles have it, where it is of the PyTorch family.
    pub channels: BTreeSet<String>,
}

/// The pages of these wheels, and a `.metadata` file beside each.
pub fn pages(wheels: &[PageWheel]) -> Result<Vec<Item>, UnsafePath> {
    let mut items = Vec::new();
    let mut add = |path: &str, text: Vec<u8>| -> Result<(), UnsafePath> {
        items.push(Item::of_bytes(FileKind::Page, RelPath::new(path)?, text));
        Ok(())
    };
    let mut projects: BTreeMap<&str, Vec<&PageWheel>> = BTreeMap::new();
    let mut channels: BTreeMap<&str, BTreeMap<&str, Vec<&PageWheel>>> = BTreeMap::new();
    for wheel in wheels {
        projects.entry(&wheel.name).or_default().push(wheel);
        for channel in &wheel.channels {
            channels
                .entry(channel)
                .or_default()
                .entry(&wheel.name)
                .or_default()
                .push(wheel);
        }
        add(&format!("{}.metadata", wheel.path), wheel.metadata.clone())?;
    }
    add("simple/index.html", list(projects.keys().copied()).into_bytes())?;
    let rows = projects.keys().map(|name| json!({ "name": name })).collect();
    add(
        "simple/index.json",
        document(&json!({ "meta": meta(), "projects": Value::Array(rows) })),
    )?;
    for (name, wheels) in &projects {
        add(
            &format!("simple/{name}/index.html"),
            page(name, wheels, "../../").into_bytes(),
        )?;
        add(
            &format!("simple/{name}/index.json"),
            document(&json_page(name, wheels, "../../")),
        )?;
    }
    for (channel, projects) in &channels {
        add(
            &format!("whl/{channel}/index.html"),
            list(projects.keys().copied()).into_bytes(),
        )?;
        for (name, wheels) in projects {
            add(
                &format!("whl/{channel}/{name}/index.html"),
                page(name, wheels, "../../../").into_bytes(),
            )?;
        }
    }
    items.sort_by(|one, other| one.entry.path.cmp(&other.entry.path));
    Ok(items)
}

fn meta() -> Value {
    json!({ "api-version": "1.1" })
}

fn document(value: &Value) -> Vec<u8> {
    let mut text = value.to_string().into_bytes();
    text.push(b'\n');
    text
}

/// Text in HTML, attributes included.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn html(title: &str, rows: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"pypi:repository-version\" \
         content=\"1.1\">\n<title>{}</title>\n</head>\n<body>\n{rows}</body>\n</html>\n",
        escaped(title)
    )
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let rows: String = names
        .flat_map(|name| ["<a href=\"", name, "/\">", name, "</a><br>\n"])
        .collect();
    html("Simple index", &rows)
}

fn href(wheel: &PageWheel, up: &str) -> String {
    let parts: Vec<String> = wheel
        .path
        .components()
        .map(|part| utf8_percent_encode(part, KEPT).to_string())
        .collect();
    format!("{up}{}", parts.join("/"))
}

fn page(name: &str, wheels: &[&PageWheel], up: &str) -> String {
    let mut rows = String::new();
    for wheel in wheels {
        let python = wheel.requires_python.as_deref().map_or_else(String::new, |python| {
            format!(" data-requires-python=\"{}\"", escaped(python))
        });
        let metadata = FileDigest::of(&wheel.metadata);
        // Writing to a string cannot fail.
        let _ = writeln!(
            rows,
            "<a href=\"{}#sha256={}\"{python} data-core-metadata=\"sha256={metadata}\" \
             data-dist-info-metadata=\"sha256={metadata}\">{}</a><br>",
            href(wheel, up),
            wheel.digest,
            escaped(wheel.path.file_name()),
        );
    }
    html(&format!("Links for {name}"), &rows)
}

fn json_page(name: &str, wheels: &[&PageWheel], up: &str) -> Value {
    let versions: BTreeSet<&str> = wheels.iter().map(|wheel| wheel.version.as_str()).collect();
    let files: Vec<Value> = wheels
        .iter()
        .map(|wheel| {
            let metadata = json!({ "sha256": FileDigest::of(&wheel.metadata) });
            let mut file = json!({
                "filename": wheel.path.file_name(),
                "url": href(wheel, up),
                "hashes": { "sha256": wheel.digest },
                "size": wheel.size,
                "core-metadata": metadata,
            });
            if let Some(python) = &wheel.requires_python {
                file["requires-python"] = json!(python);
            }
            file
        })
        .collect();
    json!({ "meta": meta(), "name": name, "versions": versions, "files": files })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_relative_links_that_are_escaped() {
        let wheel = PageWheel {
            name: "torch".to_owned(),
            version: "2.7.0+cu118".to_owned(),
            path: RelPath::new("torch-2.7.0+cu118-cp311-cp311-linux_x86_64.whl").expect("safe"),
            digest: WheelDigest::of(b"x"),
            size: 1,
            requires_python: Some(">=3.9".to_owned()),
            metadata: b"Name: torch\n".to_vec(),
            channels: BTreeSet::from(["cu118".to_owned()]),
        };
        let items = pages(&[wheel]).expect("safe paths");
        let paths: Vec<&str> = items.iter().map(|item| item.entry.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "simple/index.html",
                "simple/index.json",
                "simple/torch/index.html",
                "simple/torch/index.json",
                "torch-2.7.0+cu118-cp311-cp311-linux_x86_64.whl.metadata",
                "whl/cu118/index.html",
                "whl/cu118/torch/index.html",
            ]
        );
        let text = |at: usize| match &items[at].content {
            crate::bundle::Content::Bytes(bytes) => String::from_utf8(bytes.clone()).expect("text"),
            crate::bundle::Content::File(_) => String::new(),
        };
        assert!(
            text(2).contains("<a href=\"../../torch-2.7.0%2Bcu118-cp311-cp311-linux_x86_64.whl#sha256="),
            "{}",
            text(2)
        );
        assert!(text(2).contains("data-requires-python=\"&gt;=3.9\""));
        assert!(text(6).contains("href=\"../../../torch-2.7.0%2Bcu118"));
        let json: Value = serde_json::from_str(&text(3)).expect("JSON");
        assert_eq!(json["files"][0]["requires-python"], ">=3.9");
    }
}
