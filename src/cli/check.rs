use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::{BAD_CONFIG, REFUSED, runtime, say, usage};
use crate::clock::Clock;
use crate::config::{Config, Environment};
use crate::listen::Certificates;
use crate::node::doubts;
use crate::origin::{Failure, Origin, Trial};
use crate::path::CanonicalPath;
use crate::zone::Zone;

/// That no bucket has.
const NO_OBJECT: &str = "/warren-check-of-an-object-that-there-is-not";

#[derive(Args)]
#[command(after_help = "\
Examples:
  warren check --config config/warren.toml
  warren check --config config/warren.toml --print
  warren check --config config/warren.toml --origin --zone vod --object /v/s1/a.ts

Exit code 0: the configuration can be served. 64: it cannot, and everything
that is wrong with it is listed with its key, line, what was found, what is
allowed and a hint. 1: it can, and an origin cannot serve it.")]
pub struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Ask every endpoint of every zone for an object, too: name, connection, TLS,
    /// clock, key, region, bucket.
    #[arg(long)]
    origin: bool,
    /// Ask the origin of this zone alone: its name or number.
    #[arg(long, value_name = "ZONE", requires = "origin")]
    zone: Option<String>,
    /// The object to ask for with --origin, such as /v/s1/a.ts; without it one
    /// that there is not, which says as much of everything else.
    #[arg(long, value_name = "PATH", requires = "origin")]
    object: Option<String>,
    /// Print the configuration in force as TOML, defaults included; secrets stay
    /// the env or file that they come from, values of origin headers are masked.
    #[arg(long)]
    print: bool,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let environment = Environment::of_process();
    match Config::load(&arguments.config, &environment) {
        Ok(config) => {
            if arguments.print {
                say(Config::in_force(&arguments.config, &environment).unwrap_or_default());
            }
            let certificates = Certificates::load(&config.certificates).ok().flatten();
            let https = !config.listen.https.is_empty();
            let certificates = certificates.filter(|_| https);
            let doubts = certificates.map(|all| doubts(&all, &config.zones, &Clock::default()));
            for warning in config.warnings.iter().chain(doubts.iter().flatten()) {
                eprintln!("warning: {warning}");
            }
            eprintln!(
                "{}: ok, {} zone(s)",
                arguments.config.display(),
                config.zones.len()
            );
            match arguments.origin {
                true => arguments.try_origins(&config),
                false => ExitCode::SUCCESS,
            }
        }
        Err(problems) => {
            eprintln!("{problems}");
            ExitCode::from(BAD_CONFIG)
        }
    }
}

impl Arguments {
    fn try_origins(&self, config: &Config) -> ExitCode {
        let is_meant = |zone: &&Zone| {
            let wanted = self.zone.as_deref();
            wanted.is_none_or(|it| it == zone.name || it == zone.id.to_string())
        };
        let zones: Vec<&Zone> = config.zones.iter().filter(is_meant).collect();
        if zones.is_empty() {
            let names: Vec<&str> = config.zones.iter().map(|zone| zone.name.as_str()).collect();
            return usage(&format!(
                "no zone has that name: there are {}",
                names.join(", ")
            ));
        }
        try_origins(&zones, self.object.as_deref())
    }
}

fn try_origins(zones: &[&Zone], object: Option<&str>) -> ExitCode {
    let path = match object {
        Some(object) => CanonicalPath::parse(object).ok(),
        None => CanonicalPath::parse(NO_OBJECT).ok(),
    };
    let Some(path) = path else {
        return usage("--object is a path that begins with /, as in a URL");
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let mut code = ExitCode::SUCCESS;
    for zone in zones {
        let origin = Origin::new(&zone.name, zone.origin.clone(), Clock::default());
        let range = object.map(|_| "bytes=0-0");
        let trials = runtime.block_on(Arc::new(origin).try_each(&path, range));
        for trial in trials {
            let (is_good, said) = told(&trial, object.is_some());
            if !is_good {
                code = ExitCode::from(REFUSED);
            }
            say(format_args!(
                "zone {}, {}: {said}",
                zone.name, trial.endpoint
            ));
        }
    }
    code
}

/// Whether an endpoint can serve a zone, and what to do where it cannot.
fn told(trial: &Trial, is_there: bool) -> (bool, String) {
    let ms = trial.took.as_secs_f64() * 1000.0;
    match trial.answer {
        Ok(200 | 206) => (true, format!("ok, the object is read ({ms:.1} ms)")),
        Ok(404 | 410) if is_there => {
            let said = "there is no such object: mind bucket and prefix, and other zones' objects";
            (false, said.to_owned())
        }
        Ok(404 | 410) => (
            true,
            format!("ok, it says that there is no such object ({ms:.1} ms)"),
        ),
        Ok(status) => (
            !is_there && status < 500,
            format!("answers {status} ({ms:.1} ms)"),
        ),
        Err(failure) => {
            let words = [&trial.code, &trial.message, &trial.region, &trial.cause];
            let words: Vec<&str> = words.into_iter().flatten().map(String::as_str).collect();
            let status = trial.status.map(|status| format!(" ({status})"));
            let cure = failure.cure().map(|cure| format!("; {cure}"));
            let words = match words.is_empty() {
                true => "no more is known of it".to_owned(),
                false => words.join(", "),
            };
            let words = match failure {
                Failure::FirstByteTimeout => "no answer in time (first_byte_timeout)".to_owned(),
                _ => words,
            };
            let said = format!(
                "{}{}: {words}{}",
                failure.name(),
                status.unwrap_or_default(),
                cure.unwrap_or_default()
            );
            (false, said)
        }
    }
}
