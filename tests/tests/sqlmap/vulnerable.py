"""A shop whose every parameter goes into SQL as it is; for sqlmap to find.

Its argument is a port, 0 for any; it prints the one it listens on.
"""

import http.cookies
import http.server
import json
import sqlite3
import sys
import threading
import urllib.parse

LOCK = threading.Lock()
DB = sqlite3.connect(":memory:", check_same_thread=False)
DB.executescript(
    """
    CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, price INTEGER);
    INSERT INTO items VALUES (1, 'mug', 12), (2, 'bag', 30), (3, 'hat', 25);
    CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, password TEXT);
    INSERT INTO users VALUES (1, 'admin', 'correct horse'), (2, 'anna', 'battery staple');
    """
)


def rows(statement):
    with LOCK:
        return DB.execute(statement).fetchall()


class Shop(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one packet: each in one of its own waits for an acknowledgement.
    wbufsize = 65536

    def answer(self, statement):
        try:
            found = rows(statement)
            status, text = 200, "".join(f"<li>{row}</li>" for row in found)
        except sqlite3.Error as error:
            status, text = 500, f"sqlite3.OperationalError: {error}"
        body = f"<html><body><h1>Shop</h1><ul>{text}</ul></body></html>".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        cookie = http.cookies.SimpleCookie(self.headers.get("Cookie", ""))
        if url.path == "/number":
            self.answer(f"SELECT name, price FROM items WHERE id = {query.get('id', '')}")
        elif url.path == "/text":
            self.answer(f"SELECT name, price FROM items WHERE name = '{query.get('name', '')}'")
        elif url.path == "/cookie":
            item = cookie["item"].value if "item" in cookie else ""
            self.answer(f"SELECT name FROM items WHERE id = {urllib.parse.unquote(item)}")
        else:
            self.answer("SELECT 'front page'")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if self.path == "/json":
            try:
                name = json.loads(body)["name"]
            except (ValueError, KeyError, TypeError):
                name = ""
        else:
            name = dict(urllib.parse.parse_qsl(body, keep_blank_values=True)).get("name", "")
        self.answer(f"SELECT name, price FROM items WHERE (name = '{name}')")

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Shop)
print(server.server_address[1], flush=True)
server.serve_forever()
