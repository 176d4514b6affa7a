//! Zones beside the one that a call names: those that serve the same objects,
//! or take the same tokens. A call is for them where it says `every_zone`; else
//! its answer says that it leaves them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Admin;
use crate::edge::Site;
use crate::zone::Zone;

/// What a call is for, by zone and thing, and what it leaves.
#[derive(Default)]
pub struct Kin {
    named: BTreeSet<(String, String)>,
    others: BTreeSet<(String, String)>,
}

impl Kin {
    /// The zones that a call is for: the one that it names, and its kin where
    /// it is for every zone. `thing`: what it names there.
    pub fn zones(
        &mut self,
        admin: &Admin,
        site: &Arc<Site>,
        thing: &str,
        every_zone: bool,
        is_kin: impl Fn(&Zone, &Zone) -> bool,
    ) -> Vec<Arc<Site>> {
        let sites = admin.node.sites.load();
        let kin = sites.all().filter(|other| {
            let is_other = other.zone.name != site.zone.name;
            is_other && is_kin(&site.zone, &other.zone)
        });
        let (mut named, mut others) = (vec![Arc::clone(site)], Vec::new());
        match every_zone {
            true => named.extend(kin.cloned()),
            false => others.extend(kin.cloned()),
        }
        let things = |sites: &[Arc<Site>]| -> Vec<(String, String)> {
            let names = sites.iter().map(|site| site.zone.name.clone());
            names.map(|name| (name, thing.to_owned())).collect()
        };
        self.named.extend(things(&named));
        self.others.extend(things(&others));
        named
    }

    /// The names of the zones that the call leaves: the answer's field `left`.
    pub fn left(&self) -> BTreeSet<&str> {
        let left = self.others.difference(&self.named);
        left.map(|(zone, _)| zone.as_str()).collect()
    }
}

/// One that serves the same objects.
pub fn of_origin(zone: &Zone, other: &Zone) -> bool {
    zone.origin.shares_objects_with(&other.origin)
}

/// One where a token for a path of the zone opens what lies there, or the same
/// object is opened by tokens of its own.
pub fn of_tokens(zone: &Zone, other: &Zone) -> bool {
    other.token.is_some() && (of_origin(zone, other) || of_keys(zone, other))
}

/// One that has a security key of the zone's, by whatever name.
pub fn of_keys(zone: &Zone, other: &Zone) -> bool {
    let (Some(policy), Some(others)) = (&zone.token, &other.token) else {
        return false;
    };
    let has = |key| others.keys.iter().any(|it| it.is(key));
    policy.keys.iter().any(has)
}
