use std::process::ExitCode;

use clap::Args;
use http::Method;
use serde_json::Value;

use super::edges::Edges;

#[derive(Args)]
#[command(after_help = "\
Examples:
  warren drain
  warren drain --end --admin http://10.0.0.5:9090

A drained edge says so at /readyz, and each answer over HTTP/1.1 is the last of
its connection; who comes all the same is served. The access key comes from
WARREN_ACCESS_KEY and needs the rights admin.
Exit code 0: done. 1: the edge refused, or could not be reached.")]
pub struct Arguments {
    /// Take it back.
    #[arg(long)]
    end: bool,
    #[command(flatten)]
    edges: Edges,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let (method, done) = match arguments.end {
        true => (Method::DELETE, "is ready again"),
        false => (Method::POST, "drains"),
    };
    arguments.edges.each(&async |edge| {
        let answer = edge.call(method.clone(), "/v1/drain", &Value::Null).await?;
        let text = format!("{done}, {} connections", answer["connections"]);
        Ok((answer, text))
    })
}
