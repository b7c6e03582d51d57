//! The dashboard's files, which are part of the program.

use std::io::Read;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// A file, compressed when the program was built.
#[derive(Debug)]
pub(crate) struct Asset {
    /// Path it is asked for by.
    pub(crate) name: &'static str,
    kind: &'static str,
    tag: &'static str,
    gzip: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// The file of a path; `/` is the page itself.
pub(crate) fn find(path: &str) -> Option<&'static Asset> {
    let path = if path == "/" { "/index.html" } else { path };
    let at = ASSETS.binary_search_by(|asset| asset.name.cmp(path)).ok()?;
    ASSETS.get(at)
}

/// A file as the client can take it. It may keep it, and asks each time whether it is still the same.
pub(crate) fn answer(asset: &'static Asset, request: &HeaderMap) -> Response {
    let has = |name, wanted: &dyn Fn(&str) -> bool| {
        let values = request.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|value| wanted(value.trim()))
    };
    let known = has(header::IF_NONE_MATCH, &|tag| tag == "*" || tag.trim_start_matches("W/") == asset.tag);
    let packed = has(header::ACCEPT_ENCODING, &takes_gzip);
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else if packed {
        Body::from(asset.gzip).into_response()
    } else {
        Body::from(unpacked(asset)).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    headers.insert(header::ETAG, HeaderValue::from_static(asset.tag));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if packed && !known {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// One element of `Accept-Encoding` (RFC 9110, 12.5.3). `gzip;q=0` says that it is not wanted.
fn takes_gzip(element: &str) -> bool {
    let (coding, weight) = element.split_once(';').unwrap_or((element, ""));
    let weight = weight.trim().trim_start_matches("q=");
    let refused = !weight.is_empty() && weight.chars().all(|c| c == '0' || c == '.');
    ["gzip", "*"].contains(&coding.trim()) && !refused
}

/// For the few that do not take gzip. What is packed was made by us, so its size is known to be small.
fn unpacked(asset: &Asset) -> Vec<u8> {
    let mut content = Vec::new();
    // A decoder of what build.rs encoded does not fail; half of it would be seen by the test below.
    let _ = flate2::read::GzDecoder::new(asset.gzip).read_to_end(&mut content);
    content
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::path::Path;

    #[test]
    fn every_file_is_found_and_comes_out_as_it_went_in() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
        for asset in ASSETS {
            let original = std::fs::read(root.join(&asset.name[1..])).unwrap();
            assert_eq!(unpacked(asset), original, "{}", asset.name);
            assert_eq!(find(asset.name).unwrap().name, asset.name);
        }
        assert_eq!(find("/").unwrap().name, "/index.html");
        for none in ["", "//", "/..", "/../Cargo.toml", "/index.html/", "/%2e%2e/x", "/INDEX.HTML"] {
            assert!(find(none).is_none(), "{none}");
        }
    }

    /// The limit for the whole dashboard.
    #[test]
    fn all_files_together_are_small() {
        let sum: usize = ASSETS.iter().map(|asset| asset.gzip.len()).sum();
        assert!(sum <= 150 * 1024, "{sum} bytes");
    }

    #[test]
    fn what_is_known_is_not_sent_again_and_gzip_only_to_whom_takes_it() {
        let asset = find("/").unwrap();
        let ask = |pairs: &[(header::HeaderName, &str)]| {
            let pairs = pairs.iter().map(|(n, v)| (n.clone(), HeaderValue::from_str(v).unwrap()));
            let response = answer(asset, &pairs.collect());
            let packed = response.headers().contains_key(header::CONTENT_ENCODING);
            (response.status().as_u16(), packed)
        };
        assert_eq!(ask(&[]), (200, false));
        assert_eq!(ask(&[(header::ACCEPT_ENCODING, "br;q=1, gzip;q=0.5")]), (200, true));
        assert_eq!(ask(&[(header::ACCEPT_ENCODING, "br, gzip;q=0")]), (200, false));
        assert_eq!(ask(&[(header::IF_NONE_MATCH, asset.tag)]), (304, false));
        assert_eq!(ask(&[(header::IF_NONE_MATCH, "\"other\", W/\"x\"")]), (200, false));
    }
}
