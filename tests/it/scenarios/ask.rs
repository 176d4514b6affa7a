//! The viewer's part of a step: what is written, and the answers that come.

use std::time::Duration;

use super::file::Step;
use super::text::{bytes, fill};
use crate::edge::{Connection, Reply, TestEdge, signed};

/// A request whose answer no other request gets: what comes before it on a
/// connection are all answers to what stood in front of it.
const FENCE: &[u8] = b"GET / HTTP/1.1\r\nHost: cdn.test\r\nCDN-LoopCount: 4\r\n\r\n";
const FENCE_STATUS: u16 = 508;

/// How long an answer is asked for again.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which turn of a step, and who takes it.
pub struct Turn<'s> {
    pub step: &'s Step,
    /// What a failure begins with.
    pub at: String,
    pub each: String,
    pub n: usize,
    /// Whether a path is signed unless the step says otherwise.
    pub signs: bool,
}

impl Turn<'_> {
    /// Sends the request, if there is one, and reads its answer, or the last
    /// of them.
    pub async fn ask(&self, edge: &TestEdge) -> Option<Reply> {
        match (&self.step.get, &self.step.raw) {
            (Some(path), None) if self.step.eventually => Some(self.until(path, edge).await),
            (Some(path), None) => Some(self.get(path, edge).await),
            (None, Some(raw)) => self.raw(raw, edge).await,
            (None, None) => None,
            (Some(_), Some(_)) => panic!("{}: `get` or `raw`", self.at),
        }
    }

    fn fill(&self, text: &str, edge: &TestEdge) -> String {
        fill(text, &edge.clock, &self.each, self.n)
    }

    async fn get(&self, path: &str, edge: &TestEdge) -> Reply {
        let path = self.fill(path, edge);
        let target = match self.step.signed && self.signs {
            true => signed(&edge.clock, &path),
            false => path,
        };
        let headers: Vec<(&str, String)> = self
            .step
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), self.fill(value, edge)))
            .collect();
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let mut connection = Connection::open(edge.http()).await;
        connection.send(&self.step.method, &target, &headers).await;
        if !self.step.stands_still {
            return connection.reply(&self.step.method).await;
        }
        let (status, headers) = connection.head().await;
        edge.idle().await;
        Reply {
            status,
            headers,
            body: Vec::new(),
            whole: true,
        }
    }

    /// Asks until the answer is the one that is waited for.
    async fn until(&self, path: &str, edge: &TestEdge) -> Reply {
        let asking = async {
            let mut tick = tokio::time::interval(Duration::from_millis(50));
            loop {
                tick.tick().await;
                let reply = self.get(path, edge).await;
                let cache = self.step.cache.as_deref();
                let status = self.step.status.is_none_or(|want| want == reply.status);
                if status && cache.is_none_or(|want| want == reply.cache()) {
                    return reply;
                }
            }
        };
        let reply = tokio::time::timeout(PATIENCE, asking).await;
        reply.unwrap_or_else(|_| panic!("{}: it never came", self.at))
    }

    async fn raw(&self, raw: &str, edge: &TestEdge) -> Option<Reply> {
        let mut connection = Connection::open(edge.http()).await;
        let text = self.fill(raw, edge);
        // The edge may refuse before it has read all.
        connection.write_if_open(&bytes(&text)).await;
        let answers = match (&self.step.answers, self.step.status) {
            (Some(answers), None) => answers.clone(),
            (None, Some(status)) => vec![status],
            _ => panic!("{}: `status` or `answers`", self.at),
        };
        let mut last = None;
        for (index, status) in answers.iter().enumerate() {
            let reply = connection.reply_or_end(&self.step.method).await;
            let got = reply.as_ref().map(|reply| reply.status);
            assert_eq!(got, Some(*status), "{}: answer {index}: {reply:?}", self.at);
            last = reply;
        }
        let open = self.is_all(&mut connection, last.as_ref()).await;
        if let Some(stays_open) = self.step.stays_open {
            assert_eq!(open, stays_open, "{}: stays open: {last:?}", self.at);
        }
        last
    }

    /// Nothing more comes; tells whether the connection takes another request.
    async fn is_all(&self, connection: &mut Connection, last: Option<&Reply>) -> bool {
        let ends = |reply: &Reply| reply.header("connection") == Some("close");
        let ends = last.is_none_or(ends);
        if !ends {
            connection.write_if_open(FENCE).await;
        }
        let more = connection.reply_or_end("GET").await;
        let status = more.as_ref().map(|reply| reply.status);
        let fence = Some(FENCE_STATUS).filter(|_| !ends);
        assert!(
            status.is_none() || status == fence,
            "{}: one answer too many: {more:?}",
            self.at
        );
        status.is_some()
    }
}
