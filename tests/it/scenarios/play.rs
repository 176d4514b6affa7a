//! Plays a scenario: what happens, and whether that is seen of it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::ask::Turn;
use super::count::Counters;
use super::file::{Echo, FaultStep, Kind, Scenario, Step, Stored};
use super::text::fill;
use crate::edge::{Reply, Setup, TestEdge};
use crate::origin::{
    Credential, DevOrigin, DevOriginOptions, Fault, Object, Reply as Answer, SeenRequest,
};

/// How long a line of the log is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Everything that a step touches.
struct Stage {
    origin: DevOrigin,
    edge: TestEdge,
    kind: Kind,
    files: TempDir,
}

pub async fn play(name: &str, scenario: &Scenario) {
    let mut stage = Stage::set(scenario).await;
    for (index, step) in scenario.step.iter().enumerate() {
        let at = format!("{name}: step {}", index + 1);
        stage.change(step).await;
        stage.take(step, &at).await;
    }
}

impl Stage {
    async fn set(scenario: &Scenario) -> Self {
        let options = match scenario.kind {
            Kind::S3 => DevOriginOptions::default(),
            Kind::Http => DevOriginOptions::plain(),
        };
        let origin = DevOrigin::start(options).await.expect("the origin starts");
        for object in &scenario.object {
            store(&origin, object);
        }
        for echo in &scenario.echo {
            reflect(&origin, echo.clone());
        }
        let files = TempDir::new().expect("a folder");
        let edge = setup(scenario, &origin, &files).start().await;
        Self {
            origin,
            edge,
            kind: scenario.kind,
            files,
        }
    }

    /// What happens before the request.
    async fn change(&mut self, step: &Step) {
        if let Some(seconds) = step.advance {
            self.edge.clock.advance(Duration::from_secs_f64(seconds));
        }
        match step.away {
            Some(true) => self.origin.stop().await,
            Some(false) => self.origin.restart().await.expect("the same port"),
            None => {}
        }
        let origin = &self.origin;
        if let Some(object) = &step.put {
            store(origin, object);
        }
        if let Some(path) = &step.remove {
            origin.remove(path);
        }
        if let Some(seconds) = step.skew {
            origin.set_clock_offset(seconds);
        }
        if let Some(secret) = &step.secret {
            let credential = Credential::new("dev-access-key", secret);
            origin.configure(|options| options.credentials = vec![credential]);
        }
        if step.clear_faults {
            origin.clear_faults();
        }
        if let Some(FaultStep { path, times, fault }) = &step.fault {
            let mut fault = fault.clone();
            if let Fault::Verbatim { text, .. } = &mut fault {
                *text = fill(text, &self.edge.clock, "", 0);
            }
            match times {
                Some(times) => origin.fault_times(path, *times, fault),
                None => origin.fault(path, fault),
            }
        }
    }

    async fn take(&self, step: &Step, at: &str) {
        let counters = Counters::before(step, &self.edge).await;
        let once = [String::new()];
        let each = match step.each.is_empty() {
            true => &once[..],
            false => &step.each[..],
        };
        for each in each {
            for n in 0..step.times {
                let turn = Turn {
                    step,
                    at: format!("{at} {each:?} {n}"),
                    each: each.clone(),
                    n,
                    signs: self.kind == Kind::S3,
                };
                let reply = turn.ask(&self.edge).await;
                self.edge.idle().await;
                if let Some(reply) = reply {
                    check(step, &reply, &turn.at);
                    self.logged(step, &reply, &turn.at).await;
                }
            }
        }
        counters.check(&self.edge, at).await;
        self.look(step, at);
    }

    /// What the origin has seen.
    fn look(&self, step: &Step, at: &str) {
        for (path, count) in &step.pulls {
            assert_eq!(self.origin.count(path), *count, "{at}: pulls of {path}");
        }
        let seen = self.origin.requests();
        if let Some(count) = step.requests {
            assert_eq!(seen.len(), count, "{at}: requests to the origin: {seen:?}");
        }
        if let Some(bytes) = step.pulled {
            let sent: u64 = seen.iter().map(|request| request.sent).sum();
            assert_eq!(sent, bytes, "{at}: bytes from the origin");
        }
        let Some(last) = seen.last() else {
            return;
        };
        if let Some(target) = &step.asked {
            assert_eq!(last.target, *target, "{at}: asked of the origin");
        }
        for (name, value) in &step.told {
            let told = last.header(name).unwrap_or_default();
            let value = value.replace("{origin}", &self.origin.addr().to_string());
            assert_eq!(told, value, "{at}: {name} as the origin sees it");
        }
    }

    /// What the log says of an answer.
    async fn logged(&self, step: &Step, reply: &Reply, at: &str) {
        if step.logged.is_empty() {
            return;
        }
        let id = reply.header("cdn-requestid").expect("an answer has an id");
        let path = self.files.path().join("access.log");
        let line = async {
            let mut tick = tokio::time::interval(Duration::from_millis(5));
            loop {
                tick.tick().await;
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                if let Some(line) = text.lines().find(|line| line.contains(id)) {
                    return serde_json::from_str::<Value>(line).expect("a line is JSON");
                }
            }
        };
        let line = tokio::time::timeout(PATIENCE, line).await;
        let line = line.unwrap_or_else(|_| panic!("{at}: no line in the log"));
        for (name, value) in &step.logged {
            assert_eq!(
                line[name],
                Value::from(value.as_str()),
                "{at}: {name} of {line}"
            );
        }
    }
}

fn check(step: &Step, reply: &Reply, at: &str) {
    let body = reply.text();
    let short: String = body.chars().take(200).collect();
    let at = format!("{at}: {} {:?} {short:?}", reply.status, reply.headers);
    if let Some(status) = step.status {
        assert_eq!(reply.status, status, "{at}");
    }
    if let Some(cache) = &step.cache {
        assert_eq!(reply.cache(), cache, "{at}");
    }
    if let Some(want) = &step.body {
        assert_eq!(body, *want, "{at}");
    }
    if let Some(length) = step.length {
        assert_eq!(reply.body.len(), length, "{at}");
    }
    if let Some(most) = step.at_most {
        assert!(reply.body.len() <= most, "{} bytes: {at}", reply.body.len());
    }
    let whole = reply.whole && (step.whole || reply.status < 500);
    assert_eq!(whole, step.whole, "a whole body: {at}");
    for (name, value) in &step.sees {
        let seen = reply.header(name).unwrap_or_default();
        assert_eq!(seen, value, "{name}: {at}");
    }
}

fn store(origin: &DevOrigin, stored: &Stored) {
    let body = match stored.size {
        0 => stored.body.clone(),
        size => "x".repeat(size),
    };
    let mut object = Object::new(body, crate::origin::content_type_of(&stored.path));
    if let Some(control) = &stored.cache_control {
        object = object.with_cache_control(control);
    }
    if let Some(etag) = &stored.etag {
        object = object.with_etag(etag);
    }
    for (name, value) in &stored.headers {
        object = object.with_header(name, value);
    }
    origin.put_object(&stored.path, object);
}

fn reflect(origin: &DevOrigin, echo: Echo) {
    let path = echo.path.clone();
    let answer = move |request: &SeenRequest| {
        let said = request.header(&echo.header).unwrap_or("none").to_owned();
        let with =
            |answer: Answer, (name, value): (&String, &String)| answer.with_header(name, value);
        echo.headers
            .iter()
            .fold(Answer::new(echo.status, said), with)
    };
    origin.on(&path, Arc::new(answer));
}

fn setup(scenario: &Scenario, origin: &DevOrigin, files: &TempDir) -> Setup {
    let address = origin.addr();
    let mut setup = match scenario.kind {
        Kind::S3 => Setup::s3(address),
        Kind::Http => Setup::http(address),
    };
    let text = |text: &str| text.replace("{origin}", &address.to_string());
    if let Some(endpoint) = &scenario.endpoint {
        let own = format!("http://{address}");
        setup.origin = setup.origin.replace(&own, endpoint);
    }
    if let Some(token) = &scenario.token {
        setup.token = text(token);
    }
    if scenario.origin.contains("between_bytes_timeout") {
        setup.origin = setup
            .origin
            .replace("between_bytes_timeout = \"60s\"\n", "");
    }
    setup.listen.push_str(&text(&scenario.listen));
    setup.zone.push_str(&text(&scenario.zone));
    setup.origin.push_str(&text(&scenario.origin));
    setup.cache.push_str(&text(&scenario.cache));
    setup.more.push_str(&text(&scenario.more));
    if scenario.step.iter().any(|step| !step.logged.is_empty()) {
        let file = files.path().join("access.log").display().to_string();
        setup.log = format!("access = \"json\"\naccess_file = {file:?}\nanonymise_ip = false\n");
    }
    setup
}
