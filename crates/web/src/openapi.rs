//! `docs/openapi.json` is made from the table of routes and from the types; `UPDATE_DOCS=1` writes it anew.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::api::way_back::{PutDone, PutRequest, RollbackRequest};
use crate::api::{
    AlertTestStarted, EventsPage, LoginRequest, PlanRequest, SessionDocument, SetupRequest, ValidateRequest,
    Validation,
};
use crate::routes::{Access, ROUTES, Route};

/// Where OpenAPI keeps schemas.
const COMPONENTS: &str = "#/components/schemas/";

macro_rules! schemas {
    ($generator:ident: $($type:ty),* $(,)?) => {
        BTreeMap::from([$((stringify!($type).rsplit("::").next().unwrap().trim().to_owned(), $generator.subschema_for::<$type>())),*])
    };
}

/// The whole document.
fn document() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    // Those that routes name, and by them everything else.
    let named = schemas!(generator: mwan_api::Status, mwan_api::InterfacesDocument, mwan_api::PoliciesDocument,
        mwan_api::RulesDocument, mwan_api::ConnectedDocument, mwan_api::Candidates, mwan_api::Flows, mwan_api::Explanation, mwan_api::Plan, mwan_api::History,
        mwan_api::Report, mwan_api::ConfigText, mwan_api::ConfigPut, mwan_api::Revisions, mwan_api::RevisionText, mwan_api::Alerts, AlertTestStarted, EventsPage, LoginRequest, PlanRequest, PutRequest,
        PutDone, RollbackRequest,
        SessionDocument, SetupRequest, ValidateRequest, Validation);
    let mut schemas: Map<String, Value> = generator.take_definitions(true).into_iter().collect();
    schemas.insert("Error".to_owned(), json!({
        "type": "object", "required": ["error"],
        "properties": { "error": { "type": "object", "required": ["code", "message", "hint"], "properties": {
            "code": { "type": "string", "description": "Stable word for programs." },
            "message": { "type": "string", "description": "One line for people." },
            "hint": { "type": ["string", "null"], "description": "What to do about it." } } } }
    }));
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        for name in
            [route.request, route.response].iter().filter(|name| !name.is_empty() && !name.contains('/'))
        {
            assert!(named.contains_key(*name), "{}: there is no schema {name}", route.path);
        }
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path.as_object_mut().unwrap().insert(route.method.to_lowercase(), operation(route));
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "mwan control API", "version": "1",
            "description": "Errors are `{\"error\": {code, message, hint}}`. A session's requests that change something carry its X-CSRF-Token; tokens (`Authorization: Bearer`) and the Unix socket api.sock need none. docs/api.md has more.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" } },
        "paths": paths,
        "components": { "schemas": schemas, "securitySchemes": {
            "token": { "type": "http", "scheme": "bearer" },
            "session": { "type": "apiKey", "in": "cookie", "name": "__Host-mwan" } } },
    })
}

fn operation(route: &Route) -> Value {
    let name = format!("{:?}", route.endpoint);
    let (role, security) = match route.access {
        Access::Open => ("Everybody.".to_owned(), json!([{}])),
        Access::Role(role) => {
            (format!("Role {} or higher.", role.name()), json!([{ "token": [] }, { "session": [] }]))
        }
    };
    let mut parameters: Vec<Value> = Vec::new();
    for (name, kind) in [("name", "string"), ("number", "integer")] {
        if route.path.contains(&format!("{{{name}}}")) {
            parameters
                .push(json!({ "name": name, "in": "path", "required": true, "schema": { "type": kind } }));
        }
    }
    for (name, kind, description) in route.query {
        parameters.push(
            json!({ "name": name, "in": "query", "description": description, "schema": { "type": kind } }),
        );
    }
    let refer =
        |name: &str| json!({ "application/json": { "schema": { "$ref": format!("{COMPONENTS}{name}") } } });
    let mut operation = json!({
        "operationId": name, "summary": route.summary, "description": role, "security": security,
        "responses": { "default": { "description": "Refused, and why.", "content": refer("Error") } },
    });
    let good = match route.response {
        "" => ("204", json!({ "description": "Done." })),
        kind if kind.contains('/') => {
            ("200", json!({ "description": "As asked for.", "content": { kind: {} } }))
        }
        name => ("200", json!({ "description": "As asked for.", "content": refer(name) })),
    };
    operation["responses"][good.0] = good.1;
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if !route.request.is_empty() {
        let content =
            if route.request.contains('/') { json!({ route.request: {} }) } else { refer(route.request) };
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    operation
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

/// Compares a file with what it should be, or writes it.
pub(crate) fn check(path: &Path, text: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, text).unwrap();
        return;
    }
    let present = std::fs::read_to_string(path).unwrap_or_default();
    assert!(present == text, "{} is stale: run `make docs`", path.display());
}

#[test]
fn the_document_is_fresh() {
    let text = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    check(&docs().join("openapi.json"), &text);
}

/// Every reference leads somewhere, every route is there, with its errors.
#[test]
fn the_document_is_whole() {
    let document = document();
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    for route in ROUTES {
        let operation = &document["paths"][route.path][route.method.to_lowercase()];
        assert_eq!(operation["summary"], route.summary, "{} {}", route.method, route.path);
        assert!(operation["responses"]["default"].is_object());
    }
    let named = document["paths"].as_object().unwrap().len();
    let paths: std::collections::BTreeSet<&str> = ROUTES.iter().map(|route| route.path).collect();
    assert_eq!(named, paths.len());
}

/// The page of the API names every route, and with the role it takes.
#[test]
fn the_page_names_every_route() {
    let page = std::fs::read_to_string(docs().join("api.md")).unwrap();
    for route in ROUTES {
        let role = match route.access {
            Access::Open => "—",
            Access::Role(role) => role.name(),
        };
        let row =
            page.lines().find(|line| line.starts_with(&format!("| `{} {}` |", route.method, route.path)));
        let row = row.unwrap_or_else(|| panic!("docs/api.md lacks {} {}", route.method, route.path));
        assert!(row.contains(&format!("| {role} |")), "{row}");
    }
}
