//! What `--once` does: asks for everything a visitor would, and compares.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use warren::path::CanonicalPath;
use warren::token::{Evidence, Key, Policy, Target};

use crate::client::{Connection, Reply};
use crate::{Demo, KEY, SAMPLE, tampered};

/// One line of the table.
struct Row {
    what: &'static str,
    want: String,
    saw: String,
}

/// Walks the tour; the exit code says whether there was a surprise.
pub async fn run(demo: &Demo) -> ExitCode {
    let mut rows = Vec::new();
    first_and_second(demo, &mut rows).await;
    refused(demo, &mut rows).await;
    for (what, again, playlist) in [
        (
            "TS stream, by path token",
            "TS stream again",
            "/ts/master.m3u8",
        ),
        (
            "fMP4 stream, by path token",
            "fMP4 stream again",
            "/fmp4/master.m3u8",
        ),
    ] {
        stream(demo, what, again, playlist, &mut rows).await;
    }
    one_pull_each(demo, &mut rows);
    pages(demo, &mut rows).await;
    print(&rows)
}

async fn get(url: &str) -> Reply {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let (authority, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let address = authority.parse().expect("the demo's URLs name addresses");
    let mut connection = Connection::open(address).await;
    connection.send("GET", target, &[("Host", authority)]).await;
    connection.reply("GET").await
}

async fn first_and_second(demo: &Demo, rows: &mut Vec<Row>) {
    let url = demo.signed("/ts/master.m3u8");
    for (what, want) in [
        ("signed URL, first time", "200 MISS"),
        ("signed URL, again", "200 HIT"),
    ] {
        let reply = get(&url).await;
        rows.push(Row {
            what,
            want: want.into(),
            saw: format!("{} {}", reply.status, reply.cache()),
        });
    }
}

async fn refused(demo: &Demo, rows: &mut Vec<Row>) {
    let url = tampered(&demo.signed("/ts/master.m3u8"));
    let status = get(&url).await.status;
    let target = url.strip_prefix(&demo.base()).unwrap_or_default();
    let reason = reason(target);
    rows.push(Row {
        what: "tampered URL",
        want: "403 bad_signature".into(),
        saw: format!("{status} {reason}"),
    });
}

/// What `warren explain` says.
fn reason(target: &str) -> &'static str {
    let policy = Policy::new(Key::new("demo", KEY.as_bytes()).into_iter().collect());
    let now = warren::clock::Clock::default().unix_seconds();
    let evidence = Evidence {
        now,
        client_ip: [127, 0, 0, 1].into(),
        country: None,
        revoked: None,
    };
    let target = Target::parse(target).expect("a target");
    policy
        .verify(&target, &evidence)
        .map_or_else(warren::token::Refusal::name, |_| "ok")
}

/// Fetches every object of a stream as a player would, twice.
async fn stream(
    demo: &Demo,
    what: &'static str,
    again: &'static str,
    playlist: &str,
    rows: &mut Vec<Row>,
) {
    let url = demo.playable(playlist);
    let prefix = url.strip_suffix(playlist).unwrap_or_default().to_owned();
    let mut right = 0;
    let objects = objects_of(playlist);
    for path in &objects {
        let reply = get(&format!("{prefix}{path}")).await;
        let file = std::fs::read(format!("{SAMPLE}{path}")).unwrap_or_default();
        right += usize::from(reply.status == 200 && reply.whole && reply.body == file);
    }
    let count = objects.len();
    rows.push(Row {
        what,
        want: format!("{count} of {count} right"),
        saw: format!("{right} of {count} right"),
    });
    let mut hits = 0;
    for path in &objects {
        hits += usize::from(get(&format!("{prefix}{path}")).await.cache() == "HIT");
    }
    rows.push(Row {
        what: again,
        want: format!("{count} HIT"),
        saw: format!("{hits} HIT"),
    });
}

/// The playlist and everything that it names, by following its lines.
fn objects_of(playlist: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::from([playlist.to_owned()]);
    let mut open = vec![playlist.to_owned()];
    while let Some(path) = open.pop() {
        let text = std::fs::read_to_string(format!("{SAMPLE}{path}")).unwrap_or_default();
        let base = CanonicalPath::parse(&path).expect("a path of the sample");
        let quoted = text
            .lines()
            .filter_map(|line| line.split_once("URI=\"")?.1.split('"').next());
        let plain = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        for name in quoted
            .chain(plain)
            .filter_map(|reference| base.join(reference))
        {
            let name = name.as_str().to_owned();
            if found.insert(name.clone())
                && Path::new(&name).extension().is_some_and(|e| e == "m3u8")
            {
                open.push(name);
            }
        }
    }
    found
}

fn one_pull_each(demo: &Demo, rows: &mut Vec<Row>) {
    let requests = demo.origin.requests();
    let objects: BTreeSet<&str> = requests
        .iter()
        .map(|request| request.target.as_str())
        .collect();
    rows.push(Row {
        what: "requests to the origin",
        want: format!("one for each of {} objects, signed", objects.len()),
        saw: match requests.len() == objects.len()
            && requests.iter().all(|request| request.authorised)
        {
            true => format!("one for each of {} objects, signed", objects.len()),
            false => format!("{} for {} objects", requests.len(), objects.len()),
        },
    });
}

async fn pages(demo: &Demo, rows: &mut Vec<Row>) {
    let metrics = get(&format!("http://{}/metrics", demo.edge.admin)).await;
    let text = String::from_utf8_lossy(&metrics.body).into_owned();
    let named = text.contains("veza_cache_hits_total{subsystem=\"segment\"}");
    rows.push(Row {
        what: "metrics",
        want: "200 with hits by kind".into(),
        saw: format!(
            "{}{}",
            metrics.status,
            if named { " with hits by kind" } else { "" }
        ),
    });
    let page = get(&demo.player("/fmp4/master.m3u8")).await;
    rows.push(Row {
        what: "player page",
        want: "200".into(),
        saw: page.status.to_string(),
    });
}

fn print(rows: &[Row]) -> ExitCode {
    println!("\n  {:<28} saw", "asked");
    let mut surprises = 0;
    for row in rows {
        let good = row.want == row.saw;
        surprises += usize::from(!good);
        let verdict = if good {
            "ok".to_owned()
        } else {
            format!("SURPRISE: expected {}", row.want)
        };
        println!("  {:<28} {:<36} {verdict}", row.what, row.saw);
    }
    println!("\n{} checks, {surprises} surprises", rows.len());
    if surprises == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
