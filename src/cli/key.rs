//! Where `sign` and `explain` get a security key from.

use std::path::{Path, PathBuf};

use clap::Args;

use super::read;
use crate::config::{ABSENT, Config, Environment, odd_edges, open_to_others, too_short};
use crate::token::Key;
use crate::zone::{ByHost, Zone};

/// The variable that the platform's backend signs with.
const DEFAULT_VARIABLE: &str = "CDN_SECURITY_KEY";

#[derive(Args)]
pub struct KeySource {
    /// The security key itself (seen by everybody who lists processes).
    #[arg(long, value_name = "KEY", conflicts_with_all = ["key_file", "key_env", "config"])]
    pub key: Option<String>,
    /// A file that holds the key.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key_env", "config"])]
    pub key_file: Option<PathBuf>,
    /// The variable that holds the key [default: CDN_SECURITY_KEY].
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub key_env: Option<String>,
    /// A configuration file, whose zone has the keys; its other secrets need not be
    /// there.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl KeySource {
    /// One key, from wherever it was named.
    pub fn single(&self, environment: &Environment) -> Result<Key, String> {
        let secret = if let Some(key) = &self.key {
            key.clone()
        } else if let Some(file) = &self.key_file {
            secret_in(file)?
        } else {
            let name = self.key_env.as_deref().unwrap_or(DEFAULT_VARIABLE);
            let value = environment.get(name);
            value
                .ok_or_else(|| {
                    format!(
                        "no key: set {name}, or name one with --key-file, --key-env or --config"
                    )
                })?
                .to_owned()
        };
        // A test vector's key may be a short one, and is not this edge's.
        if let Some(bytes) = too_short(&secret) {
            eprintln!("warning: the key has {bytes} bytes; a configuration takes 16 and more");
        }
        if let Some(doubt) = odd_edges(&secret) {
            eprintln!("warning: the key {doubt}");
        }
        Key::new("command line", secret.as_bytes()).ok_or_else(|| "the key is empty".to_owned())
    }

    /// Of its secrets only the keys of the zone that is asked for need to be there
    /// ([`key_is_there`]): who signs does not hold those of the store.
    pub fn load_config(&self, environment: &Environment) -> Option<Result<Config, String>> {
        let path = self.config.as_ref()?;
        let environment = environment.clone().lenient();
        Some(Config::load(path, &environment).map_err(|problems| problems.to_string()))
    }
}

/// What a file holds, less the line break that editors add.
pub fn secret_in(file: &Path) -> Result<String, String> {
    if let Some(doubt) = open_to_others(file) {
        eprintln!("warning: {doubt}");
    }
    Ok(read(file)?.trim_end_matches(['\r', '\n']).to_owned())
}

/// Whether a zone's key came from where the configuration says.
pub fn key_is_there(zone: &Zone, key: &Key) -> Result<(), String> {
    match key.begins_with(ABSENT) {
        false => Ok(()),
        true => Err(format!(
            "the security key {:?} of the zone {:?} is not there: set the variable, or let the file be \
             read, that its token.keys names",
            key.name, zone.name
        )),
    }
}

/// A zone by its name; without one that of the URL's host, or the only zone.
pub fn zone_of<'c>(config: &'c Config, name: Option<&str>, url: &str) -> Result<&'c Zone, String> {
    let zones = &config.zones;
    let names: Vec<&str> = zones.iter().map(|zone| zone.name.as_str()).collect();
    let by_name = |name: &str| zones.iter().find(|zone| zone.name == name);
    match (name, zones.as_slice()) {
        (Some(name), _) => by_name(name)
            .ok_or_else(|| format!("no zone {name:?}; there are: {}", names.join(", "))),
        (None, [only]) => Ok(only),
        (None, _) => serving(config, url).ok_or_else(|| {
            format!(
                "no zone serves the URL's host; name one with --zone: {}",
                names.join(", ")
            )
        }),
    }
}

/// The zone that serves a URL's host, where the URL has one.
pub fn serving<'c>(config: &'c Config, url: &str) -> Option<&'c Zone> {
    let host = split_url(url).0?.split(['?', '#']).next()?;
    config.zones.get(place_of(config, host)?)
}

/// Which of the zones serves a host.
pub fn place_of(config: &Config, host: &str) -> Option<usize> {
    let places = config.zones.iter().enumerate();
    let by_host = ByHost::new(places.map(|(place, zone)| (zone, place)));
    by_host.find(host).map(|place| **place)
}

/// Host and target of a URL, or of a bare target.
pub fn split_url(url: &str) -> (Option<&str>, &str) {
    let Some((_, rest)) = url.split_once("://") else {
        return (None, url);
    };
    match rest.find('/') {
        Some(slash) => (Some(&rest[..slash]), &rest[slash..]),
        None => (Some(rest), "/"),
    }
}
