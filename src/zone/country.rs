//! The viewer's country, from the operator's MaxMind DB file.

use std::net::IpAddr;
use std::path::Path;

use serde::Deserialize;

use crate::token::Country;

/// A country database in memory.
pub struct Countries(maxminddb::Reader<Vec<u8>>);

#[derive(Deserialize)]
struct Record<'r> {
    #[serde(borrow)]
    country: Option<CountryRecord<'r>>,
}

#[derive(Deserialize)]
struct CountryRecord<'r> {
    iso_code: Option<&'r str>,
}

impl Countries {
    pub fn open(path: &Path) -> Result<Self, String> {
        let reader = maxminddb::Reader::open_readfile(path).map_err(|error| error.to_string())?;
        Ok(Self(reader))
    }

    /// `None` where the database does not know the address.
    pub fn of(&self, address: IpAddr) -> Option<Country> {
        let record: Record<'_> = self
            .0
            .lookup(address.to_canonical())
            .ok()?
            .decode()
            .ok()??;
        let code = record.country?.iso_code?.to_ascii_uppercase();
        code.as_bytes().try_into().ok()
    }
}

pub fn check_country_database(path: &Path) -> Result<(), String> {
    Countries::open(path).map(|_| ())
}
