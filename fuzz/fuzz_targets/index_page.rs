//! Index pages, HTML and JSON: any body gives a page or an error, and no link of it leads out of http, https and file.
#![no_main]

use flambeau::index::ProjectPage;
use flambeau::pep::PackageName;
use libfuzzer_sys::fuzz_target;
use url::Url;

fuzz_target!(|input: (u8, &[u8])| {
    let (form, body) = input;
    let name: PackageName = "demo".parse().expect("a name");
    let kind = match form % 4 {
        0 => Some("text/html"),
        1 => Some("application/vnd.pypi.simple.v1+json"),
        2 => Some("application/vnd.pypi.simple.v1+html"),
        _ => None,
    };
    for base in ["https://index.example/simple/demo/", "file:///srv/simple/demo/index.html"] {
        let base = Url::parse(base).expect("a URL");
        let Ok(page) = ProjectPage::parse(&name, &base, kind, body) else { continue };
        for wheel in page.wheels {
            assert_eq!(wheel.filename.name, name);
            assert!(matches!(wheel.url.scheme(), "http" | "https" | "file"), "{}", wheel.url);
            assert!(base.scheme() == "file" || wheel.url.scheme() != "file", "{}", wheel.url);
            assert!(wheel.url.username().is_empty() && wheel.url.password().is_none(), "{}", wheel.url);
            assert!(!wheel.file.contains(['/', '\\', '\0']), "{}", wheel.file);
        }
    }
});
