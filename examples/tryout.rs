use flambeau::digest::*;
use flambeau::env::{build::*, bytecode::*, compose::*, tree::*, *};
use flambeau::progress::Silent;
use flambeau::store::*;
use std::time::Instant;
fn main() {
    let store = Store::new("/root/ref/store".into());
    store.prepare().unwrap();
    let program: std::path::PathBuf = std::env::args().nth(1).unwrap().into();
    let version = std::env::args().nth(2).unwrap();
    let minor: flambeau::target::PythonMinor = version.rsplit_once('.').unwrap().0.parse().unwrap();
    let python = Python {
        program: program.clone(),
        version,
        cache_tag: format!("cpython-3{}", minor.minor),
        minor,
    };
    let compilers = Compilers::new(
        &Compiler {
            python: program,
            cache_tag: python.cache_tag.clone(),
        },
        2,
    );
    let trees = Trees {
        store: &store,
        python: &python,
        compilers: &compilers,
        reporter: &Silent,
        sync: Sync::Lazy,
    };
    let t = Instant::now();
    let mut all = vec![trees.runtime().unwrap()];
    let mut packages = vec![];
    let mut files: Vec<_> = std::fs::read_dir("/root/ref/wheels")
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    for path in files {
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        let filename: flambeau::pep::WheelFilename = file.parse().unwrap();
        let t = Instant::now();
        let digest = {
            let p = format!("/root/ref/digests/{file}");
            match std::fs::read_to_string(&p) {
                Ok(s) => s.parse().unwrap(),
                Err(_) => {
                    let d = WheelDigest::from_bytes(hash_reader(std::fs::File::open(&path).unwrap()).unwrap().0);
                    std::fs::create_dir_all("/root/ref/digests").unwrap();
                    std::fs::write(&p, d.to_string()).unwrap();
                    d
                }
            }
        };
        packages.push((filename.name.to_string(), filename.version.to_string()));
        let id = WheelId {
            filename: &filename,
            file: &file,
            digest,
        };
        let tree = match trees.find(&id).unwrap() {
            Some(t) => t,
            None => match trees.adopt(&id).unwrap() {
                Some(t) => t,
                None => trees.make(&id, &path, true).unwrap(),
            },
        };
        eprintln!(
            "{:6.2}s {file} files {} bytes {}",
            t.elapsed().as_secs_f64(),
            tree.facts.root.count,
            tree.facts.root.bytes
        );
        all.push(tree);
    }
    eprintln!("trees {:?}", t.elapsed());
    let t = Instant::now();
    let identity = Identity {
        key: EnvironmentKey::of(b"x"),
        backend: flambeau::backend::Backend::Cuda,
        channel: "pip".parse().unwrap(),
        target: "cp311-linux_x86_64".parse().unwrap(),
        lockfile: LockfileDigest::of(b""),
        packages,
    };
    let (state, conflicts) = build(&store, &identity, &python, &all, (LinkMode::Symlink, Sync::Lazy)).unwrap();
    eprintln!(
        "compose {:?} digest {} conflicts {conflicts:?}",
        t.elapsed(),
        state.tree_digest
    );
    println!("{}", store.path(Shelf::Envs, &identity.folder(&python)).display());
}
