//! The raw requests, and the status that each must get on every transport.

/// A raw request.
pub struct Raw {
    /// What it is, for people.
    pub name: &'static str,
    /// The status of its answer.
    pub status: u16,
    text: &'static str,
    /// What `{x}` stands for in it: so many times `x`, or so many long topics for `{topics}`.
    count: usize,
    /// Whether HTTP/2 can say it too.
    both: bool,
}

/// A request as HTTP/2 takes it.
pub struct Parts {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Raw {
    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        self.filled().into_bytes()
    }

    /// Whether its answer has no body.
    pub fn is_head(&self) -> bool {
        self.text.starts_with("HEAD ")
    }

    /// As HTTP/2 takes it, if that can say it.
    pub fn http2(&self) -> Option<Parts> {
        let text = self.both.then(|| self.filled())?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
        // Of these HTTP/2 has its own, or none.
        let own = ["host", "connection", "content-length", "upgrade", "keep-alive"];
        let fields = lines.filter_map(|line| line.split_once(':'));
        let headers = fields
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .filter(|(name, _)| !own.contains(&name.as_str()))
            .collect();
        Some(Parts { method, target, headers, body: body.to_owned() })
    }

    fn filled(&self) -> String {
        let topic = |n: usize| format!("topic=t{n:03}{}&", "x".repeat(196));
        let topics = || (0..self.count).map(topic).collect::<String>();
        let text = if self.text.contains("{topics}") {
            self.text.replace("{topics}", &topics())
        } else {
            self.text.to_owned()
        };
        text.replace("{x}", &"x".repeat(self.count))
    }
}

const fn both(name: &'static str, status: u16, text: &'static str) -> Raw {
    Raw { name, status, text, count: 1, both: true }
}

/// One that only HTTP/1 can say.
const fn http1(name: &'static str, status: u16, text: &'static str) -> Raw {
    Raw { name, status, text, count: 1, both: false }
}

impl Raw {
    const fn times(self, count: usize) -> Self {
        Self { count, ..self }
    }
}

/// All requests.
pub const TABLE: &[Raw] = &[
    // Streams.
    both("a stream", 200, "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\n\r\n"),
    both("several topics", 200, "GET /v1/events?topic=a&topic=b/c&topic=%40u HTTP/1.1\r\nHost: x\r\n\r\n"),
    both(
        "a cursor that cannot be read",
        200,
        "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nLast-Event-ID: no\r\n\r\n",
    ),
    both("an empty cursor", 200, "GET /v1/events?topic=a&cursor= HTTP/1.1\r\nHost: x\r\n\r\n"),
    both("tail", 200, "GET /v1/events?topic=a&tail=1 HTTP/1.1\r\nHost: x\r\n\r\n"),
    both("types", 200, "GET /v1/events?topic=a&types=x.y HTTP/1.1\r\nHost: x\r\n\r\n"),
    both("every", 200, "GET /v1/events?topic=a&every=10s HTTP/1.1\r\nHost: x\r\n\r\n"),
    both("an Accept header", 200, "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"),
    both("no topic", 400, "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n"),
    both("an empty query", 400, "GET /v1/events? HTTP/1.1\r\nHost: x\r\n\r\n"),
    both("an empty topic", 400, "GET /v1/events?topic= HTTP/1.1\r\nHost: x\r\n\r\n"),
    both("a topic with a blank", 400, "GET /v1/events?topic=a%20b HTTP/1.1\r\nHost: x\r\n\r\n"),
    both("a topic with a plus", 400, "GET /v1/events?topic=a+b HTTP/1.1\r\nHost: x\r\n\r\n"),
    both("wrong tail", 400, "GET /v1/events?topic=a&tail=yes HTTP/1.1\r\nHost: x\r\n\r\n"),
    both("wrong every", 400, "GET /v1/events?topic=a&every=1ms HTTP/1.1\r\nHost: x\r\n\r\n"),
    both("wrong types", 400, "GET /v1/events?topic=a&types=a%20b HTTP/1.1\r\nHost: x\r\n\r\n"),
    both("braces in the query", 400, "GET /v1/events?topic={a} HTTP/1.1\r\nHost: x\r\n\r\n"),
    both("80 long topics", 200, "GET /v1/events?{topics}topic=a HTTP/1.1\r\nHost: x\r\n\r\n").times(80),
    both("91 topics", 400, "GET /v1/events?{topics}topic=a HTTP/1.1\r\nHost: x\r\n\r\n").times(90),
    both("20 KB of cookies", 200, "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nCookie: {x}\r\n\r\n").times(20_000),
    both("a head of 39,000 bytes", 200, "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nX: {x}\r\n\r\n").times(38_900),
    both("a head of 40,000 bytes", 431, "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nX: {x}\r\n\r\n").times(40_000),
    both("a head of 140 KB", 431, "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nX: {x}\r\n\r\n").times(140_000),
    both("a poll's head of 140 KB", 431, "GET /v1/poll?topic=a HTTP/1.1\r\nHost: x\r\nX: {x}\r\n\r\n").times(140_000),
    both("a URL of 50 KB", 431, "GET /v1/events?topic={x} HTTP/1.1\r\nHost: x\r\n\r\n").times(50_000),
    both("POST to the stream", 405, "POST /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"),
    both("HEAD of the stream", 405, "HEAD /v1/events?topic=a HTTP/1.1\r\nHost: x\r\n\r\n"),
    both("DELETE of the stream", 405, "DELETE /v1/events?topic=a HTTP/1.1\r\nHost: x\r\n\r\n"),
    both("an unknown method", 405, "BREW /v1/events?topic=a HTTP/1.1\r\nHost: x\r\n\r\n"),
    both("an origin", 200, "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nOrigin: https://a.example\r\n\r\n"),
    both("X-Forwarded-For", 200, "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"),
    both("a length of 0", 200, "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"),
    http1("another spelling of the path", 404, "GET /v1//events?topic=a HTTP/1.1\r\nHost: x\r\n\r\n"),
    both("a slash behind the path", 404, "GET /v1/events/?topic=a HTTP/1.1\r\nHost: x\r\n\r\n"),
    both("a longer path", 404, "GET /v1/eventsx?topic=a HTTP/1.1\r\nHost: x\r\n\r\n"),
    both("a path in capitals", 404, "GET /V1/EVENTS?topic=a HTTP/1.1\r\nHost: x\r\n\r\n"),
    http1("a fragment", 400, "GET /v1/events?topic=a#b HTTP/1.1\r\nHost: x\r\n\r\n"),
    // What connections are told.
    http1(
        "Upgrade: websocket",
        200,
        "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ),
    http1(
        "Upgrade without Connection",
        200,
        "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
    ),
    http1(
        "Upgrade to h2c",
        200,
        "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: upgrade, http2-settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    ),
    http1(
        "a poll with Upgrade",
        200,
        "GET /v1/poll?topic=a HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ),
    http1("Connection: close", 200, "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    http1(
        "Connection: keep-alive",
        200,
        "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
    ),
    http1("Connection: x, Close", 200, "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nConnection: x, Close\r\n\r\n"),
    http1("a poll that closes", 200, "GET /v1/poll?topic=a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    http1("HTTP/1.0", 200, "GET /v1/events?topic=a HTTP/1.0\r\n\r\n"),
    http1("HTTP/1.0 with a host", 200, "GET /v1/events?topic=a HTTP/1.0\r\nHost: x\r\n\r\n"),
    http1("HTTP/1.0 with keep-alive", 200, "GET /v1/events?topic=a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
    http1("a poll of HTTP/1.0", 200, "GET /v1/poll?topic=a HTTP/1.0\r\n\r\n"),
    http1("HTTP/1.2", 400, "GET /v1/events?topic=a HTTP/1.2\r\nHost: x\r\n\r\n"),
    http1("HTTP/0.9", 400, "GET /v1/events?topic=a\r\n\r\n"),
    http1("an unknown protocol", 400, "GET /v1/events?topic=a SPDY/3\r\nHost: x\r\n\r\n"),
    // Heads that are wrong, or could be read in two ways.
    http1("no Host", 400, "GET /v1/events?topic=a HTTP/1.1\r\n\r\n"),
    http1("two Hosts", 400, "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"),
    http1("the same Host twice", 400, "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n"),
    http1("an empty Host", 200, "GET /v1/events?topic=a HTTP/1.1\r\nHost:\r\n\r\n"),
    http1("a Host with a path", 400, "GET /v1/events?topic=a HTTP/1.1\r\nHost: x/y\r\n\r\n"),
    http1("two Hosts in one", 400, "GET /v1/events?topic=a HTTP/1.1\r\nHost: x, y\r\n\r\n"),
    http1("a poll without Host", 400, "GET /v1/poll?topic=a HTTP/1.1\r\n\r\n"),
    http1("an absolute URL", 200, "GET http://x/v1/events?topic=a HTTP/1.1\r\nHost: x\r\n\r\n"),
    http1("a URL without a slash", 400, "GET v1/events?topic=a HTTP/1.1\r\nHost: x\r\n\r\n"),
    http1("CONNECT", 400, "CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n"),
    http1(
        "a length of 0 twice",
        400,
        "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
    ),
    http1(
        "two lengths",
        400,
        "POST /v1/publish HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    ),
    http1("a list of lengths", 400, "POST /v1/publish HTTP/1.1\r\nHost: x\r\nContent-Length: 2, 2\r\n\r\n{}"),
    http1("a length with a sign", 400, "POST /v1/publish HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\n{}"),
    http1("a negative length", 400, "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"),
    http1("a length that is no number", 400, "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n"),
    http1(
        "a length beyond 64 bits",
        400,
        "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
    ),
    http1(
        "length and coding",
        400,
        "POST /v1/publish HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    http1(
        "an unknown coding",
        400,
        "POST /v1/publish HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    http1(
        "chunked twice",
        400,
        "POST /v1/publish HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    http1(
        "chunked HTTP/1.0",
        400,
        "POST /v1/publish HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    http1("a header without colon", 400, "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nnothing\r\n\r\n"),
    http1("a blank before the colon", 400, "GET /v1/events?topic=a HTTP/1.1\r\nHost : x\r\n\r\n"),
    http1("a folded header", 400, "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n"),
    http1("a NUL in a header", 400, "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n"),
    http1("raw UTF-8 in the query", 400, "GET /v1/events?topic=ü HTTP/1.1\r\nHost: x\r\n\r\n"),
    http1("a quote in the query", 400, "GET /v1/events?topic=\"a\" HTTP/1.1\r\nHost: x\r\n\r\n"),
    http1("a blank in the query", 400, "GET /v1/events?topic=a b HTTP/1.1\r\nHost: x\r\n\r\n"),
    http1("a poll with raw UTF-8", 400, "GET /v1/poll?topic=ü HTTP/1.1\r\nHost: x\r\n\r\n"),
    http1("no method", 400, " /v1/events?topic=a HTTP/1.1\r\nHost: x\r\n\r\n"),
    http1("a lower method", 405, "get /v1/events?topic=a HTTP/1.1\r\nHost: x\r\n\r\n"),
    http1("no HTTP at all", 400, "HELO mail\r\n\r\n"),
    http1("lines that end in LF", 200, "GET /v1/events?topic=a HTTP/1.1\nHost: x\n\n"),
    http1("an empty line in front", 200, "\r\nGET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\n\r\n"),
    http1(
        "101 header fields",
        431,
        concat!(
            "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\n",
            "A: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\n",
            "A: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\n",
            "A: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\n",
            "A: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\n",
            "A: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\n",
            "A: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\n",
            "A: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\n\r\n"
        ),
    ),
    // What stands behind a request.
    http1("junk behind a stream", 200, "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\n\r\n\0\x01junk"),
    http1(
        "a request behind a stream",
        200,
        "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    http1("junk behind a poll", 200, "GET /v1/poll?topic=a HTTP/1.1\r\nHost: x\r\n\r\n\0\x01junk"),
    http1("a stream with a body", 200, "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab"),
    http1(
        "a stream with chunks",
        200,
        "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    // Polls.
    both("a poll", 200, "GET /v1/poll?topic=a HTTP/1.1\r\nHost: x\r\n\r\n"),
    both("HEAD of a poll", 200, "HEAD /v1/poll?topic=a HTTP/1.1\r\nHost: x\r\n\r\n"),
    both("HEAD of a wrong poll", 400, "HEAD /v1/poll HTTP/1.1\r\nHost: x\r\n\r\n"),
    both("a wrong wait", 400, "GET /v1/poll?topic=a&wait=1h HTTP/1.1\r\nHost: x\r\n\r\n"),
    both("POST to polls", 405, "POST /v1/poll?topic=a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"),
    both("nothing there", 404, "GET /nothing?secret=x HTTP/1.1\r\nHost: x\r\n\r\n"),
    both("OPTIONS of everything", 404, "OPTIONS /nothing HTTP/1.1\r\nHost: x\r\n\r\n"),
    // Bodies.
    both("a publish", 200, "POST /v1/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n{\"to\":\"z\"}"),
    http1(
        "a publish in chunks",
        200,
        "POST /v1/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"to\r\n6\r\n\":\"z\"}\r\n0\r\n\r\n",
    ),
    both(
        "100-continue",
        200,
        "POST /v1/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n{\"to\":\"z\"}",
    ),
    both(
        "another expectation",
        417,
        "POST /v1/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: miracles\r\nContent-Length: 10\r\n\r\n{\"to\":\"z\"}",
    ),
    http1(
        "100-continue, too large",
        413,
        "POST /v1/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n",
    ),
    http1("too large", 413, "POST /v1/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999\r\n\r\n{"),
    both(
        "a compressed body",
        415,
        "POST /v1/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Encoding: gzip\r\nContent-Length: 10\r\n\r\n{\"to\":\"z\"}",
    ),
    both("no JSON", 400, "POST /v1/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\nhi"),
    http1(
        "chunks that are none",
        400,
        "POST /v1/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ),
    http1(
        "a chunk that is longer",
        400,
        "POST /v1/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
    ),
    both("GET of publish", 405, "GET /v1/publish HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
    both("the demo page", 200, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
];
