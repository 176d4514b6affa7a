//! One request to one endpoint for an operator who tries it, told in the words
//! of whoever refused it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use super::failure::Trouble;
use super::{Exchange, Failure, Method, Origin, Request, Viewer};
use crate::path::CanonicalPath;

/// What it has come to.
#[derive(Debug)]
pub struct Trial {
    pub endpoint: String,
    pub took: Duration,
    /// As the zone reads it.
    pub answer: Result<u16, Failure>,
    /// As it came.
    pub status: Option<u16>,
    /// The store's own.
    pub code: Option<String>,
    pub message: Option<String>,
    pub region: Option<String>,
    /// The system's words, where there was no answer.
    pub cause: Option<String>,
}

impl Origin {
    /// Asks each endpoint for an object, or a part of one.
    pub async fn try_each(
        self: &Arc<Self>,
        path: &CanonicalPath,
        range: Option<&str>,
    ) -> Vec<Trial> {
        let request = self.nobodys(path, range);
        let mut trials = Vec::new();
        for index in 0..self.endpoints.len() {
            let began = self.clock.monotonic();
            let mut attempt = self.try_once(&request, index, false).await;
            if attempt.learned {
                // Its clock was the reason, and is known now.
                attempt = self.try_once(&request, index, false).await;
            }
            trials.push(Trial {
                endpoint: self.endpoints.authority(index),
                took: self.clock.monotonic().saturating_duration_since(began),
                answer: attempt.answer.map(|exchange| exchange.head.status),
                status: attempt.status,
                code: attempt.words.code,
                message: attempt.words.message,
                region: attempt.words.region,
                cause: attempt.cause,
            });
        }
        trials
    }

    fn nobodys(&self, path: &CanonicalPath, range: Option<&str>) -> Request {
        Request {
            method: Method::Get,
            path: path.clone(),
            query: String::new(),
            validators: None,
            range: range.map(str::to_owned),
            if_range: None,
            forwarded: Vec::new(),
            viewer: Viewer {
                ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
                https: false,
                host: None,
                request_id: "0".repeat(32),
                trace: None,
                zone_id: 0,
                loop_count: 0,
            },
            hold: None,
            covered: false,
            shows_errors: false,
            interims: None,
        }
    }

    /// Asks the first endpoint for a target as it stands, as a viewer would.
    pub async fn fetch(
        self: &Arc<Self>,
        target: &str,
        range: Option<&str>,
    ) -> Result<Exchange, Trouble> {
        let deadlines = &self.settings.deadlines;
        let at = self
            .endpoints
            .target(0, false, deadlines.connect, &self.clock);
        let at = at.await?;
        let host = self.settings.host(at.endpoint);
        let range = range.map(|range| format!("range: {range}\r\n"));
        let wire = format!(
            "GET {target} HTTP/1.1\r\nhost: {host}\r\nuser-agent: warren-probe\r\naccept: */*\r\n{}\r\n",
            range.unwrap_or_default()
        );
        let patience = deadlines.first_byte;
        self.ask(&at, wire.as_bytes(), Method::Get, patience, true, None)
            .await
    }
}
