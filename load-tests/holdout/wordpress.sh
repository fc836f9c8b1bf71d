#!/usr/bin/env bash
# A hold-out for the baseline rules: Chromium clicks through Debian's WordPress behind the
# gateway, which refuses what the baseline denies. Nobody wrote these requests for a WAF.
#
#   load-tests/holdout/wordpress.sh PATH-OF-PORTCULLIS
#
# Prints how many requests were seen and which were refused; there must be none. Needs Debian's
# wordpress, wordpress-theme-twentytwentythree, mariadb-server, php-cli, php-mysql, php-gd,
# php-xml, chromium, nodejs and npm (for puppeteer-core). Everything is on loopback, in a
# temporary folder, and ends with the script.
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
portcullis="$(realpath "${1:?the path of the portcullis binary}")"
work="$(mktemp -d)"
children=()
finish() {
    for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

wait_for() {
    for _ in $(seq 300); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    echo "waited in vain for: $*" >&2
    exit 1
}

# A database of its own, reached by a socket only.
mariadb-install-db --no-defaults --auth-root-authentication-method=normal \
    --skip-test-db --datadir="$work/data" >/dev/null
mariadbd --no-defaults --user="$(id -un)" --datadir="$work/data" --socket="$work/sql" \
    --skip-networking --pid-file="$work/sql.pid" 2>"$work/sql.log" &
children+=($!)
sql() { mariadb --no-defaults --socket="$work/sql" -u root "$@"; }
wait_for sql -e 'select 1'
sql -e "create database wordpress; create user wp@localhost identified by 'wp'; grant all on wordpress.* to wp@localhost"

# The site: a copy, since WordPress looks for its settings beside its files.
cp -rL /usr/share/wordpress "$work/site"
mkdir -p "$work/site/wp-content/uploads" "$work/site/wp-content/themes"
cp -rL /usr/share/wordpress/wp-content/themes/. /var/lib/wordpress/wp-content/themes/. \
    "$work/site/wp-content/themes" 2>/dev/null || true
rm "$work/site/wp-config.php"
cat >"$work/site/wp-config.php" <<PHP
<?php
define('DB_NAME', 'wordpress'); define('DB_USER', 'wp'); define('DB_PASSWORD', 'wp');
define('DB_HOST', 'localhost:$work/sql'); define('DB_CHARSET', 'utf8mb4'); define('DB_COLLATE', '');
define('AUTH_KEY', 'a'); define('SECURE_AUTH_KEY', 'b'); define('LOGGED_IN_KEY', 'c'); define('NONCE_KEY', 'd');
define('WP_HTTP_BLOCK_EXTERNAL', true); define('DISABLE_WP_CRON', true); define('FS_METHOD', 'direct');
\$table_prefix = 'wp_';
if (!defined('ABSPATH')) define('ABSPATH', __DIR__ . '/');
require_once ABSPATH . 'wp-settings.php';
PHP
cat >"$work/router.php" <<'PHP'
<?php
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
$file = $_SERVER['DOCUMENT_ROOT'] . $path;
if (is_dir($file) && is_file(rtrim($file, '/') . '/index.php') && $path !== '/') return false;
if (is_file($file)) return false;
$_SERVER['SCRIPT_NAME'] = '/index.php';
require $_SERVER['DOCUMENT_ROOT'] . '/index.php';
PHP
port="$(node -e 's=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})')"
PHP_CLI_SERVER_WORKERS=4 php -d display_errors=0 -S "127.0.0.1:$port" -t "$work/site" "$work/router.php" 2>"$work/php.log" &
children+=($!)

cat >"$work/gateway.yaml" <<YAML
listeners: [{name: http, protocol: http, address: '127.0.0.1:0'}]
management: {address: '127.0.0.1:0'}
admin: {address: '127.0.0.1:0'}
logs: {access: $work/access.log, audit: $work/audit.log}
wafProfiles: [{name: baseline, mode: block}]
backends: [{name: wordpress, endpoints: [{address: '127.0.0.1:$port'}]}]
defaults: {waf: {profile: baseline}}
routes: [{name: any, rules: [{backends: [{name: wordpress}]}]}]
YAML
"$portcullis" run --config "$work/gateway.yaml" --bound-file "$work/bound.json" 2>"$work/gateway.log" &
children+=($!)
wait_for test -s "$work/bound.json"
address="$(grep -o '"http"[^"]*"[^"]*"' "$work/bound.json" | head -1 | grep -o '127[^"]*')"

npm install --silent --no-audit --no-fund --prefix "$work/node" puppeteer-core@24 >/dev/null
NODE_PATH="$work/node/node_modules" node "$here/wordpress.js" "http://$address" "$work"

node -e '
const lines = require("fs").readFileSync(process.argv[1], "utf8").trim().split("\n").map((line) => JSON.parse(line));
const refused = lines.filter((line) => line.refusedBy === "waf");
const other = lines.filter((line) => line.refusedBy && line.refusedBy !== "waf");
const methods = {};
for (const line of lines) methods[line.method] = (methods[line.method] || 0) + 1;
console.log(`${lines.length} requests ${JSON.stringify(methods)}, ${refused.length} refused by the WAF, ${other.length} by other parts of the gateway`);
for (const line of refused.concat(other)) console.log(JSON.stringify(line));
if (lines.length < 500) { console.log("too few requests to say anything"); process.exit(1); }
if (refused.length > 0) process.exit(1);
' "$work/access.log" || {
    tail -n 5 "$work/audit.log"
    exit 1
}
