//! The configuration: TOML that an operator writes, read into the types that
//! the edge runs on. All problems are found at once, before anything is bound.

mod door;
mod listen;
mod origin;
mod print;
mod problem;
mod secret;
mod section;
mod server;
mod units;
mod values;
mod zone;

pub use problem::{Problem, Problems};
pub use secret::{ABSENT, Environment, odd_edges, open_to_others, too_short};
pub use server::{Cache, Tracing};
pub use units::parse_duration;

use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::admin;
use crate::edge::Listen;
use crate::listen::Certificate;
use crate::telemetry::access_log::AccessLog;
use crate::zone::Zone;
use section::Section;

/// Everything that `warren serve` runs on.
#[derive(Debug)]
pub struct Config {
    pub listen: Listen,
    pub certificates: Vec<Certificate>,
    pub admin: admin::Settings,
    pub cache: Cache,
    pub access_log: AccessLog,
    /// `None`: nothing is traced.
    pub traces: Option<Tracing>,
    /// The operator's country database.
    pub country_database: Option<PathBuf>,
    pub zones: Vec<Zone>,
    /// What the operator should know and may leave.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads and checks a file. Relative paths in it are relative to its folder.
    pub fn load(path: &Path, environment: &Environment) -> Result<Self, Problems> {
        let name = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|error| Problems::unreadable(&name, &error))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::parse(&name, &text, folder, environment)
    }

    /// A sound configuration as TOML, with its defaults.
    pub fn in_force(path: &Path, environment: &Environment) -> Option<String> {
        let text = std::fs::read_to_string(path).ok()?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let (table, _) = DeTable::parse_recoverable(&text);
        let source = section::Source::new(&text, folder, environment);
        read(&Section::root(&source, table.get_ref()))?;
        Some(print::in_force(table.get_ref(), source.take_shown()))
    }

    /// Checks a configuration text; `name` is what problems call it.
    pub fn parse(
        name: &str,
        text: &str,
        folder: &Path,
        environment: &Environment,
    ) -> Result<Self, Problems> {
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            return Err(Problems::syntax(name, text, &errors));
        }
        let source = section::Source::new(text, folder, environment);
        let root = Section::root(&source, table.get_ref());
        let mut config = read(&root);
        root.finish();
        if let Some(config) = &mut config {
            config.warnings = source.take_warnings();
        }
        let problems = source.into_problems(name);
        match (config, problems.is_empty()) {
            (Some(config), true) => Ok(config),
            _ => Err(problems),
        }
    }
}

fn read(root: &Section<'_>) -> Option<Config> {
    let certificates = server::certificates(root);
    let listen = listen::listen(root, certificates.as_deref());
    let admin = server::admin(root);
    let cache = server::cache(root);
    let access_log = server::access_log(root);
    let traces = server::traces(root);
    let country_database = server::country_database(root);
    let zones = zone::zones(root);
    if let (Some(listen), Some(admin)) = (&listen, &admin) {
        listen::check_listeners(root, listen, admin);
    }
    if let (Some(listen), Some(zones)) = (&listen, &zones) {
        zone::warn_of_doors(root, listen, zones);
    }
    Some(Config {
        listen: listen?,
        certificates: certificates?,
        admin: admin?,
        cache: cache?,
        access_log: access_log?,
        traces: traces?,
        country_database: country_database?,
        zones: zones?,
        warnings: Vec::new(),
    })
}
