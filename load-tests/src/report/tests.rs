use super::*;

fn samples(cpu: &[f64]) -> Vec<Sample> {
    let sample = |cpu: &f64| Sample {
        cpu_us_per_request: *cpu,
        requests_per_second: 1e6 / cpu,
        requests: 1000,
        busy: 1.0,
        resumed: None,
    };
    cpu.iter().map(sample).collect()
}

fn report(peers: &[(Peer, &[f64])]) -> Report {
    let settings = Settings {
        rounds: 3,
        duration: std::time::Duration::from_secs(5),
        scenarios: vec![Scenario::Get],
        peers: peers.iter().map(|(peer, _)| *peer).collect(),
    };
    let machine = Machine {
        processor: "Fast CPU".into(),
        processors: 2,
        kernel: "6.1".into(),
        load_average: 0.0,
    };
    let versions: Vec<(Peer, String)> = peers
        .iter()
        .map(|(peer, _)| (*peer, "1.0".into()))
        .collect();
    let scenario_samples = ScenarioSamples {
        scenario: Scenario::Get,
        samples: peers.iter().map(|(_, cpu)| samples(cpu)).collect(),
        plain: Vec::new(),
    };
    let mut report = Report::new(&settings, machine);
    let scenario = ScenarioReport::new(&versions, scenario_samples);
    report.scenarios.push(scenario);
    report
}

#[test]
fn the_table_has_a_row_for_each_peer_and_ratio() {
    let report = report(&[
        (Peer::Nginx, &[16.0, 17.0, 15.0]),
        (Peer::BarePingora, &[20.0, 25.0, 30.0]),
        (Peer::Portcullis, &[22.0, 27.5, 33.0]),
    ]);
    let text = report.to_string();
    for row in [
        "| nginx 1.0 | 16.0 (15.0-17.0) | 62500 (58824-66667) | 1.00 (1.00-1.00) |",
        "| portcullis / bare-pingora, target at most 1.1 | 1.100 (1.100-1.100) |",
        "| bare-pingora / nginx | 1.471 (1.250-2.000) |",
    ] {
        assert!(text.contains(row), "{row} in\n{text}");
    }
}

#[test]
fn a_scenario_above_the_limit_is_named() {
    let report = report(&[
        (Peer::BarePingora, &[20.0, 20.0, 20.0]),
        (Peer::Portcullis, &[22.0, 24.0, 30.0]),
    ]);
    assert_eq!(report.scenarios_above(1.15), [(Scenario::Get, 1.2)]);
    assert!(report.scenarios_above(1.2).is_empty());
}

#[test]
fn a_peer_that_did_not_run_has_no_ratio() {
    let report = report(&[(Peer::Portcullis, &[22.0, 24.0, 30.0])]);
    assert!(report.scenarios[0].ratios.is_empty());
    assert!(report.scenarios_above(0.0).is_empty());
}

#[test]
fn the_json_keeps_every_sample() {
    let report = report(&[(Peer::Portcullis, &[22.0, 24.0, 30.0])]);
    let json = serde_json::to_value(&report).unwrap();
    let samples = &json["scenarios"][0]["peers"][0]["samples"];
    assert_eq!(samples.as_array().map(Vec::len), Some(3));
    assert_eq!(json["scenarios"][0]["peers"][0]["peer"], "portcullis");
}

#[test]
fn what_tls_costs_is_told_beside_the_backend_in_clear() {
    let mut with_tls = samples(&[30.0, 33.0, 45.0]);
    with_tls[1].resumed = Some(0.5);
    let samples = ScenarioSamples {
        scenario: Scenario::BackendHandshake,
        samples: vec![with_tls],
        plain: vec![samples(&[20.0, 30.0, 30.0])],
    };
    let report = ScenarioReport::new(&[(Peer::Nginx, "1.0".into())], samples);
    let text = report.to_string();
    let row = "| nginx | 30.0 (20.0-30.0) | 1.500 (1.100-1.500) | 0.500 (0.500-0.500) |";
    assert!(text.contains(row), "{row} in\n{text}");
}
