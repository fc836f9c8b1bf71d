//! The configuration of the demo: `config/examples/quickstart.yaml` on free ports.

use std::net::SocketAddr;

/// Host of the demo's HTTPS site.
pub const DEMO_HOST: &str = "shop.localhost";

/// The one destination that workloads may reach.
pub const DEMO_DESTINATION: &str = "api.example.com";

/// Writes the configuration for a backend at this address.
pub fn render(backend: SocketAddr) -> String {
    format!(
        r#"# The demo's configuration. Edit it and save: the change takes effect within
# two seconds, and no connection is closed. A mistake is refused, and told.

listeners:
  - name: http
    protocol: http
    address: 127.0.0.1:0
  - name: https
    protocol: https
    address: 127.0.0.1:0

certificates:
  - name: shop
    certificate: certs/shop.crt
    key: certs/shop.key

rateLimits:
  - name: burst
    rate: 1/s
    burst: 5

wafProfiles:
  - name: baseline
    mode: block # try: detect

backends:
  - name: shop
    endpoints:
      - address: {backend}

routes:
  - name: shop
    rules:
      - backends:
          - name: shop
        policies:
          waf:
            profile: baseline
      - matches:
          - path:
              prefix: /burst
        policies:
          rateLimits: [burst]
        backends:
          - name: shop

egress:
  listeners:
    - name: egress
      address: 127.0.0.1:0
  policies:
    - name: workloads
      subjects:
        - addresses: [127.0.0.0/8]
      allow:
        - {DEMO_DESTINATION}

management:
  address: 127.0.0.1:0
admin:
  address: 127.0.0.1:0
logs:
  access: access.log
  audit: audit.log
"#
    )
}
