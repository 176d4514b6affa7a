//! Takedowns: what is not served any more, listed and lifted again.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::Admin;
use super::answer::{Body, Wrong, answer, read};
use super::audit::NAMED;
use super::door::Who;
use super::kin::{Kin, of_objects};
use super::place::{at_most, few, prefix, said_of, starless, target};
use crate::edge::{Node, Site};
use crate::path::EmptySegments;
use crate::state_file::Kept as _;
use crate::takedown::Takedown;
use crate::token::carrier::redact;

/// The field of what begins so.
const PREFIXES: &str = "prefixes";

/// What `POST` and `DELETE /v1/takedowns` take.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Call {
    urls: Vec<String>,
    prefixes: Vec<String>,
    /// For paths without a host.
    zone: Option<String>,
    /// And in every zone that serves the same objects.
    every_zone: bool,
    /// Who asked, or which notice.
    reason: String,
    /// Unix seconds; absent: until it is lifted.
    until: Option<u64>,
}

pub async fn add(
    State(admin): State<Arc<Admin>>,
    Extension(Who(who)): Extension<Who>,
    call: Body<Call>,
) -> Response {
    let done = async {
        let call = read(call)?;
        Wrong::check_reason(&call.reason)?;
        let now = admin.node.clock.unix_seconds();
        Wrong::check_time(call.until, now, "until")?;
        let mut kin = Kin::default();
        let takedowns = takedowns(&admin, &who, &call, &mut kin, named)?;
        let left = kin.left();
        let (count, names) = (takedowns.len(), names(&takedowns));
        admin
            .keep(move |node| node.takedowns.add(&takedowns, node.clock.unix_seconds()))
            .await?;
        let more = json!({ "reason": call.reason, "left": left });
        admin.audit.write(&who, "takedown", count, &names, &more);
        Ok(json!({ "taken_down": count, "left": left }))
    };
    answer(done.await)
}

pub async fn lift(
    State(admin): State<Arc<Admin>>,
    Extension(Who(who)): Extension<Who>,
    call: Body<Call>,
) -> Response {
    let done = async {
        let mut call = read(call)?;
        let places = takedowns(&admin, &who, &call, &mut Kin::default(), kept)?;
        let (items, names) = (places.len(), names(&places));
        let mut lifting: HashSet<_> = places.iter().map(what).collect();
        // And what the same is called in other zones.
        call.every_zone = true;
        let kin = takedowns(&admin, &who, &call, &mut Kin::default(), kept);
        lifting.extend(kin.iter().flatten().map(what));
        let of = move |node: &Node| {
            let lifted = node.takedowns.lift(&places, node.clock.unix_seconds())?;
            Ok((lifted, node.takedowns.list(), places))
        };
        let (lifted, list, places) = admin.keep(of).await?;
        let covered_by = |it: &&Takedown| places.iter().any(|place| covers(it, place));
        let by: Vec<Takedown> = list.iter().filter(covered_by).cloned().collect();
        let by = self::names(&by);
        let still = list.iter().filter(|it| lifting.contains(&what(it)));
        let left: BTreeSet<&str> = still.map(|it| it.zone.as_str()).collect();
        let told = json!({ "lifted": lifted, "left": left, "still_by": by });
        admin.audit.write(&who, "lift", items, &names, &told);
        Ok(told)
    };
    answer(done.await)
}

pub async fn list(State(admin): State<Arc<Admin>>) -> Response {
    answer(Ok(json!({ "takedowns": *admin.node.takedowns.list() })))
}

/// What is taken down, wherever.
fn what(takedown: &Takedown) -> (String, bool) {
    let (_, path, prefix) = takedown.place();
    (path, prefix)
}

/// Whether one takes down what another does.
fn covers(one: &Takedown, other: &Takedown) -> bool {
    let below = one.prefix && other.path.starts_with(&one.path);
    one.zone == other.zone && (below || one.path == other.path && one.prefix == other.prefix)
}

/// The names of zones, each with the path there, of a text in a field of a call.
type Places = Result<Vec<(String, String)>, Wrong>;

fn named(admin: &Admin, call: &Call, kin: &mut Kin, text: &str, field: &'static str) -> Places {
    let zone = call.zone.as_deref();
    let (site, path) = match field {
        PREFIXES => prefix(admin, text, zone, field)?,
        _ => said_of(admin, text, zone, field)?,
    };
    let names = of_objects(path.as_str(), field == PREFIXES);
    let places = kin.zones(admin, &site, path.as_str(), call.every_zone, names);
    let place = |(site, path): (Arc<Site>, String)| (site.zone.name.clone(), path);
    Ok(places.into_iter().map(place).collect())
}

/// Of a zone that is gone, too, where something is taken down in it.
fn kept(admin: &Admin, call: &Call, kin: &mut Kin, text: &str, field: &'static str) -> Places {
    let list = admin.node.takedowns.list();
    let is_kept = |zone: &&str| list.iter().any(|it| it.zone == *zone);
    named(admin, call, kin, text, field).or_else(|wrong| {
        let gone = call.zone.as_deref();
        let gone = gone.filter(|zone| wrong.name == "unknown_zone" && is_kept(zone));
        // What is listed was read by its zone.
        let path = target(&starless(text), EmptySegments::Kept).map(|target| target.path);
        let path = path.ok().map(|path| path.as_str().to_owned());
        let place = gone.map(str::to_owned).zip(path);
        place.map(|place| vec![place]).ok_or(wrong)
    })
}

fn takedowns(
    admin: &Admin,
    who: &str,
    call: &Call,
    kin: &mut Kin,
    read: fn(&Admin, &Call, &mut Kin, &str, &'static str) -> Places,
) -> Result<Vec<Takedown>, Wrong> {
    let items = call.urls.len() + call.prefixes.len();
    few(items, "name urls or prefixes")?;
    let mut all = Vec::new();
    for (text, prefix, field) in call.texts() {
        let places = read(admin, call, kin, text, field)?;
        let takedown = |(zone, path)| call.takedown(admin, who, zone, path, prefix);
        all.extend(places.into_iter().map(takedown));
        at_most(all.len())?;
    }
    let mut seen = HashSet::new();
    all.retain(|it: &Takedown| seen.insert(it.place()));
    Ok(all)
}

impl Call {
    /// What it names: a text, whether as a prefix, and in which field.
    fn texts(&self) -> impl Iterator<Item = (&String, bool, &'static str)> {
        let urls = self.urls.iter().map(|text| (text, false, "urls"));
        let prefixes = self.prefixes.iter().map(|text| (text, true, PREFIXES));
        urls.chain(prefixes)
    }

    fn takedown(
        &self,
        admin: &Admin,
        who: &str,
        zone: String,
        path: String,
        prefix: bool,
    ) -> Takedown {
        Takedown {
            zone,
            path,
            prefix,
            reason: redact(&self.reason).into_owned(),
            until: self.until,
            by: who.to_owned(),
            since: admin.node.clock.unix_seconds(),
        }
    }
}

/// As the audit log names them.
fn names(takedowns: &[Takedown]) -> Vec<String> {
    let name = |it: &Takedown| {
        let star = if it.prefix { "*" } else { "" };
        format!("{} {}{star}", it.zone, it.path)
    };
    takedowns.iter().take(NAMED).map(name).collect()
}
