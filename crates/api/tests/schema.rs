//! The JSON schemas in docs/schema are those of the types. `UPDATE_DOCS=1` writes them anew.

use std::path::Path;

fn check(name: &str, schema: &schemars::Schema) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema").join(format!("{name}.json"));
    let text = serde_json::to_string_pretty(schema).expect("a schema is JSON") + "\n";
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().expect("has a parent")).expect("docs/schema can be made");
        std::fs::write(&path, text).expect("the schema can be written");
        return;
    }
    let present = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(present == text, "{} is stale: run `make docs`", path.display());
}

#[test]
fn schemas_are_fresh() {
    check(mwan_api::SCHEMA_STATUS, &schemars::schema_for!(mwan_api::Status));
    check(mwan_api::SCHEMA_INTERFACES, &schemars::schema_for!(mwan_api::InterfacesDocument));
    check(mwan_api::SCHEMA_POLICIES, &schemars::schema_for!(mwan_api::PoliciesDocument));
    check(mwan_api::SCHEMA_CONNECTED, &schemars::schema_for!(mwan_api::ConnectedDocument));
    check(mwan_api::SCHEMA_RULES, &schemars::schema_for!(mwan_api::RulesDocument));
    check(mwan_api::SCHEMA_CHECK, &schemars::schema_for!(mwan_api::CheckDocument));
    check(mwan_api::SCHEMA_PLAN, &schemars::schema_for!(mwan_api::Plan));
    check(mwan_api::SCHEMA_HOOK, &schemars::schema_for!(mwan_api::HookDocument));
    check(mwan_api::SCHEMA_EVENTS, &schemars::schema_for!(mwan_api::Events));
    check(mwan_api::SCHEMA_CANDIDATES, &schemars::schema_for!(mwan_api::Candidates));
    check(mwan_api::SCHEMA_FLOWS, &schemars::schema_for!(mwan_api::Flows));
    check(mwan_api::SCHEMA_EXPLANATION, &schemars::schema_for!(mwan_api::Explanation));
    check(mwan_api::SCHEMA_ALERTS, &schemars::schema_for!(mwan_api::Alerts));
    check("mwan.watched.v1", &schemars::schema_for!(mwan_api::Watched));
    check(mwan_api::SCHEMA_HISTORY, &schemars::schema_for!(mwan_api::History));
    check(mwan_api::SCHEMA_REPORT, &schemars::schema_for!(mwan_api::Report));
    check(mwan_api::SCHEMA_REPLAY, &schemars::schema_for!(mwan_api::Replay));
    check(mwan_api::SCHEMA_REVISIONS, &schemars::schema_for!(mwan_api::Revisions));
    check(mwan_api::SCHEMA_DRILLS, &schemars::schema_for!(mwan_api::Drills));
    check(mwan_api::SCHEMA_WHY, &schemars::schema_for!(mwan_api::Why));
    check("mwan.request.v1", &schemars::schema_for!(mwan_api::Request));
    check("mwan.response.v1", &schemars::schema_for!(mwan_api::Response));
}
