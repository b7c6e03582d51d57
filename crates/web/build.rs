//! The dashboard's files, compressed once, as a table of constants.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, hash};

/// Content types by the ending of the name (RFC 9110, 8.3); a file of another kind does not belong there.
const TYPES: [(&str, &str); 9] = [
    ("html", "text/html; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("ico", "image/x-icon"),
    ("txt", "text/plain; charset=utf-8"),
];

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where we are"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo says where to write"));
    let (assets, api) = (root.join("assets"), root.join("../../docs/openapi.json"));
    println!("cargo:rerun-if-changed={}", assets.display());
    println!("cargo:rerun-if-changed={}", api.display());
    let mut files = Vec::new();
    collect(&assets, &mut files);
    files.sort();
    let mut code = String::from(
        "/// Every file of the dashboard, sorted by name.\npub(crate) static ASSETS: &[Asset] = &[\n",
    );
    for (number, file) in files.iter().enumerate() {
        println!("cargo:rerun-if-changed={}", file.display());
        let name = file.strip_prefix(&assets).expect("found below it").to_string_lossy().into_owned();
        row(&mut code, &out.join(format!("asset{number}.gz")), &format!("/{name}"), file);
    }
    code.push_str("];\n/// `docs/openapi.json`.\npub(crate) static OPENAPI: Asset = \n");
    row(&mut code, &out.join("openapi.gz"), "/api/v1/openapi.json", &api);
    code = code.trim_end().trim_end_matches(',').to_owned() + ";\n";
    fs::write(out.join("assets.rs"), code).expect("the build folder can be written");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("crates/web/assets can be read") {
        let path = entry.expect("crates/web/assets can be read").path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() {
            println!("cargo:rerun-if-changed={}", path.display());
            collect(&path, files);
        } else if !hidden {
            files.push(path);
        }
    }
}

/// One file compressed, and its row of the table.
fn row(code: &mut String, to: &Path, name: &str, file: &Path) {
    let ending = file.extension().unwrap_or_default().to_string_lossy().into_owned();
    let kind = TYPES.iter().find(|(known, _)| *known == ending);
    let (_, kind) = kind.unwrap_or_else(|| panic!("{}: no content type is known", file.display()));
    let content = fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let packed = packed.write_all(&content).and_then(|()| packed.finish()).expect("memory can be written");
    fs::write(to, packed).expect("the build folder can be written");
    let mut hasher = hash::DefaultHasher::new();
    hash::Hash::hash(&content, &mut hasher);
    let tag = format!("\"{:016x}\"", hash::Hasher::finish(&hasher));
    let row = format!(
        "    Asset {{ name: {name:?}, kind: {kind:?}, tag: {tag:?}, gzip: include_bytes!({:?}) }},",
        to.display().to_string()
    );
    writeln!(code, "{row}").expect("a string can be written");
}
