use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{BAD_CONFIG, say};
use crate::clock::Clock;
use crate::config::{Config, Environment};
use crate::listen::Certificates;
use crate::node::doubts;

#[derive(Args)]
#[command(after_help = "\
Examples:
  warren check --config config/warren.toml
  warren check --config config/warren.toml --print

Exit code 0: the configuration can be served. 64: it cannot, and everything
that is wrong with it is listed with its key, line, what was found, what is
allowed and a hint.")]
pub struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print the configuration in force, defaults included, secrets masked.
    #[arg(long)]
    print: bool,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    match Config::load(&arguments.config, &Environment::of_process()) {
        Ok(config) => {
            if arguments.print {
                // Secrets have no Debug text of their own.
                say(format_args!("{config:#?}"));
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
            ExitCode::SUCCESS
        }
        Err(problems) => {
            eprintln!("{problems}");
            ExitCode::from(BAD_CONFIG)
        }
    }
}
