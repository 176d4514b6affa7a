//! The node's own log, on standard error: no line of it holds a token, whoever
//! wrote it.

use std::io::{self, Write};

use crate::token::carrier::redact;

/// Writes lines without their tokens. Each write is a whole line, as
/// `tracing_subscriber` makes them.
pub struct WithoutTokens<W>(pub W);

impl<W: Write> Write for WithoutTokens<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(line) {
            Ok(text) => self.0.write_all(redact(text).as_bytes())?,
            Err(_) => self.0.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_loses_its_tokens_and_stays_json() {
        let mut out = Vec::new();
        let line = serde_json::json!({ "path": "/v/bcdn_token=T\"x/a.ts", "to": "/b?token=T" });
        writeln!(WithoutTokens(&mut out), "{line}").expect("memory takes it");
        let line: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(line["path"], "/v/bcdn_token=redacted\"x/a.ts");
        assert_eq!(line["to"], "/b?token=redacted");
    }
}
