"""An OpenID 2.0 provider in the shape of Steam.

`__steamid=` in the request names who is signed in, `__deny=1` says no. Without either it asks, as
Steam does.
"""

import argparse
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from openid.server.server import Server
from openid.store.memstore import MemoryStore


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(urlsplit(self.path).query)

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

    def answer(self, query):
        parameters = dict(parse_qsl(query, keep_blank_values=True))
        steam_id = parameters.pop("__steamid", None)
        deny = parameters.pop("__deny", None)
        request = self.server.openid.decodeRequest(parameters)
        if request.mode == "checkid_setup" and not steam_id and not deny:
            return self.ask(parameters)
        if request.mode == "checkid_setup":
            identifier = f"{self.server.base}/openid/id/{steam_id}"
            response = request.answer(not deny, identity=identifier, claimed_id=identifier)
        else:
            response = self.server.openid.handleRequest(request)
        encoded = self.server.openid.encodeResponse(response)
        self.send(encoded.code, encoded.headers, encoded.body)

    def ask(self, parameters):
        fields = "".join(
            f'<input type="hidden" name="{escape(k)}" value="{escape(v)}">'
            for k, v in parameters.items()
        )
        page = f"""<!doctype html><title>Sign in through Steam</title><form>{fields}
            <label>SteamID <input name="__steamid"></label><button>Sign in</button></form>"""
        self.send(200, {"Content-Type": "text/html; charset=utf-8"}, page)

    def send(self, status, headers, body):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        body = body if isinstance(body, bytes) else body.encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.base = f"http://127.0.0.1:{port}"
    server.openid = Server(MemoryStore(), f"{server.base}/openid/login")
    print("listening", flush=True)
    server.serve_forever()


main()
