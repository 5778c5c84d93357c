//! What stands at which path, before anything goes wrong.
//!
//! | path | what |
//! |---|---|
//! | `/whl/<channel>/` and `/whl/<channel>/<project>/` | pages of the PyTorch index |
//! | `/whl/<channel>/<file>`, `/whl/<file>` | wheels of a channel and of the root; `.metadata` beside them |
//! | `/simple/`, `/simple/<project>/` | pages of the package index |
//! | `/packages/<digest prefix>/<file>` | its wheels; `.metadata` beside them where it has them |
//! | paths of `Server::serve_file` | those files |
//!
//! The PyTorch index answers 403 where it knows nothing, as its object store does, also for a folder without its
//! trailing slash. The package index answers 404, and redirects to the normalised name.

use std::sync::Arc;

use super::http::{LoggedRequest, Response};
use super::pages::{self, Dialect};
use super::{Shared, lock};
use crate::support::encoding::{normalized, sha256};
use crate::support::family::{CHANNELS, Shelf};
use crate::support::wheel::BuiltWheel;

const MODIFIED: &str = "Wed, 23 Apr 2025 16:08:25 GMT";

/// Answers a request rightly.
pub(super) fn answer(shared: &Shared, request: &LoggedRequest) -> Response {
    if request.method != "GET" && request.method != "HEAD" {
        return Response::new(405, "text/plain", "only GET and HEAD\n");
    }
    let login = lock(&shared.login).clone();
    if login.is_some() && request.header("authorization") != login.as_deref() {
        return Response::new(401, "text/plain", "log in\n").with("WWW-Authenticate", "Basic realm=\"tests\"");
    }
    if let Some(bytes) = lock(&shared.files).get(&request.path) {
        let etag = sha256(bytes);
        return file(Arc::clone(bytes), &etag, request);
    }
    let segments: Vec<_> = request.path.trim_start_matches('/').split('/').collect();
    match segments[..] {
        ["whl", file] => channel_file(shared, Shelf::Root, file, request),
        ["whl", channel, ..] => match CHANNELS.into_iter().find(|known| *known == channel) {
            Some(channel) => channel_content(shared, channel, &segments[2..], request),
            None => access_denied(),
        },
        ["simple", ""] => index_page(request, shared, &shared.projects(Shelf::Index)),
        ["simple", project] => {
            Response::new(301, "text/plain", "").with("Location", format!("/simple/{}/", normalized(project)))
        }
        ["simple", project, ""] => project_page(shared, project, request),
        ["packages", prefix, file] => package_file(shared, prefix, file, request),
        _ => not_found(),
    }
}

fn channel_content(shared: &Shared, channel: &'static str, rest: &[&str], request: &LoggedRequest) -> Response {
    match *rest {
        [""] => {
            let mut projects = shared.projects(Shelf::Channel(channel));
            projects.extend(shared.projects(Shelf::Root));
            projects.sort();
            projects.dedup();
            if projects.is_empty() {
                return access_denied();
            }
            page(pages::channel_root(&projects), "text/html", request)
        }
        [project, ""] => {
            let shelves = [Shelf::Channel(channel), Shelf::Root];
            let rows: Vec<_> = shelves
                .into_iter()
                .flat_map(|shelf| rows(shared, shelf, project))
                .collect();
            if rows.is_empty() {
                return access_denied();
            }
            let options = shared.options();
            page(
                pages::channel_project(project, &rows, options.channel_core_metadata, options.digests),
                "text/html",
                request,
            )
        }
        [file] => channel_file(shared, Shelf::Channel(channel), file, request),
        _ => access_denied(),
    }
}

/// The wheels of a project on a shelf, each with its path.
fn rows(shared: &Shared, shelf: Shelf, project: &str) -> Vec<(String, Arc<BuiltWheel>)> {
    let wheels = shared.wheels(shelf, project);
    wheels
        .into_iter()
        .map(|wheel| (path_of(shelf, &wheel), wheel))
        .collect()
}

fn path_of(shelf: Shelf, wheel: &BuiltWheel) -> String {
    let file = wheel.filename.replace('+', "%2B");
    match shelf {
        Shelf::Index => format!("/packages/{}/{file}", &wheel.sha256[..16]),
        Shelf::Root => format!("/whl/{file}"),
        Shelf::Channel(channel) => format!("/whl/{channel}/{file}"),
    }
}

fn channel_file(shared: &Shared, shelf: Shelf, name: &str, request: &LoggedRequest) -> Response {
    let with_metadata = shared.options().channel_core_metadata;
    wheel_file(shared, shelf, name, with_metadata, request).unwrap_or_else(access_denied)
}

fn package_file(shared: &Shared, prefix: &str, name: &str, request: &LoggedRequest) -> Response {
    let with_metadata = shared.options().index_core_metadata;
    let wheel = find(shared, Shelf::Index, name.trim_end_matches(".metadata"));
    if wheel.is_none_or(|wheel| !wheel.sha256.starts_with(prefix)) {
        return not_found();
    }
    wheel_file(shared, Shelf::Index, name, with_metadata, request).unwrap_or_else(not_found)
}

fn find(shared: &Shared, shelf: Shelf, filename: &str) -> Option<Arc<BuiltWheel>> {
    let project = normalized(filename.split('-').next()?);
    shared
        .wheels(shelf, &project)
        .into_iter()
        .find(|wheel| wheel.filename == filename)
}

/// A wheel or its metadata.
fn wheel_file(
    shared: &Shared,
    shelf: Shelf,
    name: &str,
    with_metadata: bool,
    request: &LoggedRequest,
) -> Option<Response> {
    if let Some(wheel_name) = name.strip_suffix(".metadata") {
        let wheel = find(shared, shelf, wheel_name).filter(|_| with_metadata)?;
        let text = wheel.metadata.as_bytes();
        return Some(file(text.into(), &sha256(text), request));
    }
    let wheel = find(shared, shelf, name)?;
    Some(file(wheel.bytes.as_slice().into(), &wheel.sha256, request))
}

fn file(bytes: Arc<[u8]>, digest: &str, request: &LoggedRequest) -> Response {
    let response = Response::shared(200, "binary/octet-stream", bytes);
    let tag = format!("\"{}\"", &digest[..32]);
    not_modified(response.with("ETag", tag).with("Last-Modified", MODIFIED), request).ranged(request)
}

fn page(html: String, content_type: &str, request: &LoggedRequest) -> Response {
    let tag = format!("\"{}\"", &sha256(html.as_bytes())[..32]);
    let response = Response::new(200, content_type, html)
        .with("ETag", tag)
        .with("Vary", "Accept");
    not_modified(
        response.with("Cache-Control", "no-cache,no-store,must-revalidate"),
        request,
    )
}

/// Answers a client that has it already.
fn not_modified(mut response: Response, request: &LoggedRequest) -> Response {
    if request
        .header("if-none-match")
        .is_some_and(|known| response.header("etag") == Some(known))
    {
        response.status = 304;
        response.part = 0..0;
    }
    response
}

fn project_page(shared: &Shared, project: &str, request: &LoggedRequest) -> Response {
    if project != normalized(project) {
        return Response::new(301, "text/plain", "").with("Location", format!("/simple/{}/", normalized(project)));
    }
    let rows = rows(shared, Shelf::Index, project);
    if rows.is_empty() {
        return not_found();
    }
    let dialect = dialect(shared, request);
    page(
        pages::index_project(project, &rows, dialect, shared.options()),
        dialect.content_type(),
        request,
    )
}

fn index_page(request: &LoggedRequest, shared: &Shared, projects: &[String]) -> Response {
    let dialect = dialect(shared, request);
    page(pages::index_root(projects, dialect), dialect.content_type(), request)
}

fn dialect(shared: &Shared, request: &LoggedRequest) -> Dialect {
    let accepted = request.header("accept").unwrap_or_default();
    if shared.options().json && accepted.contains("application/vnd.pypi.simple.v1+json") {
        Dialect::Json
    } else {
        Dialect::Html
    }
}

/// The object store's word for anything that is not there.
fn access_denied() -> Response {
    let text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>AccessDenied</Code><Message>Access Denied</Message>\
                <RequestId>F1AMBEAU</RequestId><HostId>fake</HostId></Error>";
    Response::new(403, "application/xml", text)
}

fn not_found() -> Response {
    Response::new(404, "text/plain", "404 Not Found\n")
}
