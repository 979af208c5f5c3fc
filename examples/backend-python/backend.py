"""A business backend behind wx-gateway: JSON in, JSON out. Needs only Python 3."""
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def answer(path, push):
    if path == "/msg/text":
        return {"type": "text", "msg": "You said: " + push["Content"]}
    if path == "/msg/image":
        return {"type": "image", "msg": push["MediaId"]}
    if path == "/event/CLICK":
        return {"type": "text", "msg": "You clicked " + push["EventKey"]}
    return {"type": "success"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        push = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps(answer(self.path, push), ensure_ascii=False).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    host, port = os.environ.get("LISTEN", "127.0.0.1:7070").rsplit(":", 1)
    ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
