//! Prometheus accepts the alert rules and the dashboard, and the metrics they use exist.

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

/// The expressions of the dashboard, as Grafana sends them.
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

#[tokio::test]
async fn prometheus_finds_nothing_to_say_about_the_metrics() {
    let directory = tempfile::tempdir().unwrap();
    let metrics = format!("127.0.0.1:{}", tracera_testkit::free_port());
    let vars = [
        ("SESSION_SECRET", crate::harness::SECRET),
        ("METRICS_ADDR", &*metrics),
        ("PRICE_FEED_URL", "file:///nothing"),
        ("RESEND_API_KEY", "key"),
        ("RESEND_FROM_EMAIL", "a@example.com"),
    ];
    let server = crate::process::Running::start("serve", directory.path(), &vars).await;
    server.browser().get("/api/v1/health").await.expect(200);
    server.browser().get("/login").await.expect(200);
    let shown = reqwest::get(format!("http://{metrics}/metrics")).await.unwrap().text().await;
    let shown = shown.unwrap();
    for metric in [
        "tracera_build_info{version=",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "tracera_database_connections{state=\"idle\"}",
        "tracera_database_seconds_bucket",
        "tracera_sign_ins_total{method=\"email\",outcome=\"done\"} 0",
    ] {
        assert!(shown.lines().any(|line| line.starts_with(metric)), "{metric}: {shown}");
    }
    let file = directory.path().join("metrics");
    std::fs::write(&file, &shown).unwrap();
    let output = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::fs::File::open(&file).unwrap())
        .output()
        .unwrap();
    let said = [output.stderr, output.stdout].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.is_empty(), "{said}\n{shown}");
    assert_eq!(server.stop().await, Some(0));
}
