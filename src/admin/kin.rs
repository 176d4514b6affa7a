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
    /// The zones that a call is for, and what it names there: the one that it
    /// names, and its kin where it is for every zone. `thing`: what it names;
    /// `names_in`: what that is called in another zone.
    pub fn zones(
        &mut self,
        admin: &Admin,
        site: &Arc<Site>,
        thing: &str,
        every_zone: bool,
        names_in: impl Fn(&Zone, &Zone) -> BTreeSet<String>,
    ) -> Vec<(Arc<Site>, String)> {
        let sites = admin.node.sites.load();
        let others = sites
            .all()
            .filter(|other| other.zone.name != site.zone.name);
        let kin = others.flat_map(|other| {
            let names = names_in(&site.zone, &other.zone).into_iter();
            names.map(|name| (Arc::clone(other), name))
        });
        let mut named = vec![(Arc::clone(site), thing.to_owned())];
        let place = |(site, thing): &(Arc<Site>, String)| (site.zone.name.clone(), thing.clone());
        match every_zone {
            true => named.extend(kin),
            false => self.others.extend(kin.map(|it| place(&it))),
        }
        self.named.extend(named.iter().map(place));
        named
    }

    /// The names of the zones that the call leaves: the answer's field `left`.
    pub fn left(&self) -> BTreeSet<&str> {
        let left = self.others.difference(&self.named);
        left.map(|(zone, _)| zone.as_str()).collect()
    }
}

/// What an object, or all whose names begin so, is called in a zone of the same
/// store.
pub fn of_objects(path: &str, begins: bool) -> impl Fn(&Zone, &Zone) -> BTreeSet<String> + use<'_> {
    move |zone, other| zone.origin.names_in(&other.origin, path, begins)
}

/// The same thing in a zone for which this holds.
pub fn alike(
    thing: &str,
    is_kin: impl Fn(&Zone, &Zone) -> bool,
) -> impl Fn(&Zone, &Zone) -> BTreeSet<String> {
    move |zone, other| {
        let same = is_kin(zone, other).then(|| thing.to_owned());
        same.into_iter().collect()
    }
}

/// One that serves some of the same objects.
pub fn of_origin(zone: &Zone, other: &Zone) -> bool {
    zone.origin.shares_objects_with(&other.origin)
}

/// Where tokens are used for paths that begin so: a token of the zone opens what
/// is called alike where its keys are, and the same objects are opened by tokens
/// of their own.
pub fn of_tokens(path: &str) -> impl Fn(&Zone, &Zone) -> BTreeSet<String> + use<'_> {
    move |zone, other| {
        if other.token.is_none() {
            return BTreeSet::new();
        }
        let mut names = of_objects(path, true)(zone, other);
        names.extend(alike(path, of_keys)(zone, other));
        names
    }
}

/// One that has a security key of the zone's, by whatever name.
pub fn of_keys(zone: &Zone, other: &Zone) -> bool {
    let (Some(policy), Some(others)) = (&zone.token, &other.token) else {
        return false;
    };
    let has = |key| others.keys.iter().any(|it| it.is(key));
    policy.keys.iter().any(has)
}
