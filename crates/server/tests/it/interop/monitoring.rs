//! Alert rules and dashboard are what Prometheus understands, and ask for metrics that exist.

use std::process::Command;

use serde_json::{Value, json};

use super::{deploy, sample};

fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(deploy())
        .output()
        .expect("promtool is missing: script/bootstrap --interop installs it");
    assert!(
        output.status.success(),
        "promtool {arguments:?}:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The expressions of the dashboard, as Grafana asks them.
fn dashboard() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&sample("grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    targets
        .map(|target| target["expr"].as_str().unwrap())
        .map(|it| it.replace("$__rate_interval", "5m").replace("$instance", ".*"))
        .collect()
}

#[test]
fn prometheus_takes_the_alert_rules_and_they_fire_when_they_should() {
    promtool(&["check", "rules", "prometheus-alerts.yml"]);
    promtool(&["test", "rules", "prometheus-alerts.test.yml"]);
}

#[test]
fn prometheus_takes_the_expressions_of_the_dashboard() {
    let rules: Vec<_> = dashboard()
        .into_iter()
        .enumerate()
        .map(|(number, expr)| json!({ "record": format!("panel_{number}"), "expr": expr }))
        .collect();
    let groups = json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rules.yml");
    std::fs::write(&file, groups.to_string()).unwrap();
    promtool(&["check", "rules", file.to_str().unwrap()]);
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_are_described() {
    let described = std::fs::read_to_string(deploy().join("../docs/watch.md")).unwrap();
    let asked = dashboard().concat() + &sample("prometheus-alerts.yml");
    let mut found = 0;
    for name in asked.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_') {
        if name.starts_with("tracera_") {
            let name = name.trim_end_matches("_bucket");
            assert!(described.contains(&format!("`{name}`")), "docs/watch.md has no {name}");
            found += 1;
        }
    }
    assert!(found > 20, "{found}");
}
