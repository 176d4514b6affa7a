//! What a thing is, where its name does not tell, and what of it is on its way.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, sleep};

use crate::edge::{Connection, KEY, Setup, TestEdge, signed};
use crate::origin::{
    DevOrigin, DevOriginOptions, Object, Reply, SeenRequest, generated_byte_block,
};

const LIST: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n0.ts\n#EXT-X-ENDLIST\n";

async fn origin() -> DevOrigin {
    let origin = DevOrigin::start(DevOriginOptions::default()).await;
    origin.expect("the origin starts")
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}

/// A playlist of so many bytes, and of a ninetieth coded.
fn long_list(bytes: usize) -> String {
    let mut list = String::from("#EXTM3U\n#EXT-X-TARGETDURATION:6\n");
    while list.len() < bytes {
        list += &format!("#EXTINF:6,\nsegment-of-a-long-film-{}.ts\n", list.len());
    }
    list + "#EXT-X-ENDLIST\n"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_playlist_stored_with_gzip_is_kept_and_given_to_each_as_he_takes_it() {
    let origin = origin().await;
    let coded = gzip(LIST);
    let object = Object::new(coded.clone(), "application/vnd.apple.mpegurl");
    let object = object.with_header("content-encoding", "gzip,aws-chunked");
    origin.put_object("/media/a.m3u8", object);
    let edge = Setup::s3(origin.addr()).start().await;
    let takes = [("accept-encoding", "br, gzip")];
    for round in ["MISS", "HIT"] {
        let reply = edge.get_with("/a.m3u8", &takes).await;
        assert_eq!(reply.cache(), round);
        assert_eq!(reply.header("content-encoding"), Some("gzip"));
        assert_eq!(reply.header("vary"), Some("Accept-Encoding"));
        assert_eq!(reply.body, coded);
    }
    let plain = edge.get("/a.m3u8").await;
    assert_eq!(
        (plain.cache(), plain.header("content-encoding")),
        ("HIT", None)
    );
    assert_eq!(plain.body, LIST.as_bytes());
    let tag = plain.header("etag").expect("an entity-tag").to_owned();
    assert!(tag.starts_with("W/"), "{tag}");
    let same = edge.get_with("/a.m3u8", &[("if-none-match", &tag)]).await;
    assert_eq!(same.status, 304);
    // Bytes of two forms are never joined.
    let part = [("range", "bytes=0-6"), ("if-range", tag.as_str())];
    assert_eq!(edge.get_with("/a.m3u8", &part).await.status, 200);
    edge.clock.advance(Duration::from_secs(130));
    let later = edge.get("/a.m3u8").await;
    assert_eq!(
        (later.cache(), later.header("age")),
        ("REVALIDATED", Some("0"))
    );
    assert_eq!(later.body, LIST.as_bytes());
    assert_eq!(origin.count("a.m3u8"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_playlist_is_one_pull_for_all_and_read_at_both_ends() {
    let origin = origin().await;
    let segments: String = (0..60_000)
        .map(|n| format!("#EXTINF:6,\nsegment-{n}.ts\n"))
        .collect();
    let live = format!("#EXTM3U\n#EXT-X-TARGETDURATION:6\n{segments}");
    let list = "application/vnd.apple.mpegurl";
    origin.put("/media/live.m3u8", live.clone().into_bytes(), list);
    let ended = format!("{live}#EXT-X-ENDLIST\n");
    origin.put("/media/ended.m3u8", ended.into_bytes(), list);
    let edge = Setup::s3(origin.addr()).start().await;
    for (path, told) in [
        ("/live.m3u8", "public, max-age=2"),
        ("/ended.m3u8", "public, max-age=60"),
    ] {
        for round in ["MISS", "HIT"] {
            let reply = edge.get(path).await;
            assert_eq!((reply.status, reply.cache()), (200, round), "{path}");
            assert_eq!(reply.header("cache-control"), Some(told), "{path}");
        }
        assert_eq!(origin.count(path), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seek_far_ahead_of_a_pull_is_asked_for_by_itself() {
    const LENGTH: usize = 16 << 20;
    let origin = origin().await;
    origin.put_generated("/media/film.mp4", LENGTH as u64, 1);
    let gate = origin.hold("/film.mp4", Some(1 << 20));
    let edge = Setup::s3(origin.addr()).start().await;
    let mut whole = vec![0; LENGTH];
    generated_byte_block(1, 0, &mut whole);
    let start = edge.get_with("/film.mp4", &[("range", "bytes=0-1")]).await;
    assert_eq!((start.status, &start.body[..]), (206, &whole[..2]));
    let tail = edge
        .get_with("/film.mp4", &[("range", "bytes=-65536")])
        .await;
    assert_eq!((tail.status, tail.cache()), (206, "BYPASS"));
    assert!(tail.body == whole[LENGTH - 65_536..]);
    // What is nearly there is waited for.
    let near = edge
        .get_with("/film.mp4", &[("range", "bytes=1000000-1000009")])
        .await;
    assert_eq!((near.status, near.cache()), (206, "MISS"));
    gate.release();
}

/// A radio station: it says what time it is, in ten digits, twenty times a second.
async fn station() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let began = Instant::now();
    tokio::spawn(async move {
        while let Ok((mut listening, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let _ = listening.read(&mut head).await;
                let head = b"HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n";
                let mut sent = listening.write_all(head).await;
                while sent.is_ok() {
                    let now = format!("{:010}", began.elapsed().as_millis()).repeat(200);
                    sent = listening.write_all(now.as_bytes()).await;
                    sleep(Duration::from_millis(50)).await;
                }
            });
        }
    });
    address
}

/// The first time that is told in a body.
fn first_time(body: &[u8]) -> u128 {
    let digits = std::str::from_utf8(&body[..10]).expect("digits");
    digits.parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_without_an_end_goes_on_and_who_comes_later_hears_what_is_on() {
    let mut setup = Setup::http(station().await);
    setup.origin += "total_timeout = \"3s\"\n";
    let edge = setup.start().await;
    let listen = || async {
        let mut listener = Connection::open(edge.http()).await;
        // Without chunks: HTTP/1.0 knows none.
        let request = b"GET /radio.mp3 HTTP/1.0\r\nHost: cdn.test\r\n\r\n";
        listener.write(request).await;
        assert_eq!(listener.head().await.0, 200);
        listener
    };
    let (mut early, mut beside) = (listen().await, listen().await);
    let start = first_time(&early.exactly(10).await.0);
    assert_eq!(first_time(&beside.exactly(10).await.0), start, "one pull");
    // Four seconds of it: longer than a pull may take.
    assert_eq!(early.exactly(160_000).await.0.len(), 160_000);
    let mut late = listen().await;
    let now = first_time(&late.exactly(10).await.0);
    assert!(now > start + 3_000, "{start} {now}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_coded_playlist_is_when_it_is_read_counts_as_memory() {
    const LISTS: usize = 30;
    let origin = DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts");
    // A MiB each, of a ninetieth on the wire at the least.
    let list = long_list(1_000_000);
    let coded = gzip(&list);
    for number in 0..LISTS {
        let object = Object::new(coded.clone(), "application/vnd.apple.mpegurl");
        let object = object.with_header("content-encoding", "gzip");
        origin.put_object(&format!("/media/{number}.m3u8"), object);
    }
    let mut setup = Setup::s3(origin.addr());
    setup.memory = "8MiB";
    let edge = setup.start().await;
    let mut hits = 0;
    for round in 0..2 {
        for number in 0..LISTS {
            let reply = edge.get(&format!("/{number}.m3u8")).await;
            assert_eq!((reply.status, reply.body.len()), (200, list.len()));
            hits += usize::from(round == 1 && reply.cache() == "HIT");
        }
    }
    assert!((1..=8).contains(&hits), "{hits} MiB are kept of 8");
}

/// A viewer who asks, and takes no more than the status of the answer.
async fn stalled_at(edge: &TestEdge, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("small");
    let mut stream = socket.connect(edge.http()).await.expect("connects");
    let target = signed(&edge.clock, path);
    let head = format!("GET {target} HTTP/1.1\r\nHost: cdn.test\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("written");
    let mut first = [0; 15];
    stream.read_exact(&mut first).await.expect("a head");
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_nothing_of_a_decoded_playlist_is_ended_for_what_it_takes() {
    const STALLED: usize = 3;
    let origin = origin().await;
    let list = long_list(8_000_000);
    let coded = gzip(&list);
    for number in 0..STALLED {
        let object = Object::new(coded.clone(), "application/vnd.apple.mpegurl");
        let object = object.with_header("content-encoding", "gzip");
        origin.put_object(&format!("/media/{number}.m3u8"), object);
        let path = format!("/media/{number}.ts");
        origin.put(&path, vec![7; 8_000_000], "video/mp2t");
    }
    let mut setup = Setup::s3(origin.addr());
    setup.memory = "32MiB";
    setup.access_keys = "[{ name = \"ops\", env = \"KEY\", rights = \"purge\" }]".into();
    let edge = setup.start().await;
    let mut stalled = Vec::new();
    for number in 0..STALLED {
        let path = format!("/{number}.m3u8");
        assert_eq!(edge.get(&path).await.body.len(), list.len());
        stalled.push(stalled_at(&edge, &path).await);
        // From now on nobody has it but him.
        let call = format!("{{\"urls\":[\"http://cdn.test{path}\"]}}");
        let purged = edge.call("POST", "/v1/purge", KEY, &call).await;
        assert_eq!(purged.status, 200, "{}", purged.text());
    }
    let ended = "warren_viewers_ended_total{limit=\"memory\"}";
    let begun = Instant::now();
    let mut number = 0;
    while edge.metric(ended).await < 1.0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody is ended");
        let other = edge.get(&format!("/{}.ts", number % STALLED)).await;
        assert_eq!((other.status, other.body.len()), (200, 8_000_000));
        let used = edge.metric("warren_memory_used_bytes").await;
        assert!(used <= f64::from(32 << 20), "{used} bytes");
        number += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_playlist_that_is_none_for_a_while_ends_no_player() {
    const LIVE: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:30\n#EXTINF:30,\na.ts\n";
    let origin = origin().await;
    let (kind, path) = ("application/vnd.apple.mpegurl", "/media/live.m3u8");
    origin.put(path, LIVE, kind);
    let edge = Setup::s3(origin.addr()).start().await;
    assert_eq!(edge.get("/live.m3u8").await.body, LIVE.as_bytes());
    for (body, kind) in [
        ("", kind),
        ("<html>back soon</html>", "text/html"),
        ("#EXT", kind),
        ("no such page", "text/plain"),
    ] {
        match body {
            "no such page" => {
                let ingress = move |_: &SeenRequest| {
                    Reply::new(404, body).with_header("Content-Type", "text/plain")
                };
                origin.on(path, std::sync::Arc::new(ingress));
            }
            body => origin.put(path, body, kind),
        }
        edge.clock.advance(Duration::from_secs(18));
        for _ in 0..3 {
            let reply = edge.get("/live.m3u8").await;
            assert_eq!((reply.status, reply.cache()), (200, "STALE"), "{body:?}");
            assert_eq!(reply.body, LIVE.as_bytes());
            edge.clock.advance(Duration::from_secs(2));
        }
    }
    // What the store itself says is gone is gone.
    origin.on(
        path,
        std::sync::Arc::new(|_: &SeenRequest| {
            let body = "<Error><Code>NoSuchKey</Code></Error>";
            Reply::new(404, body).with_header("Content-Type", "application/xml")
        }),
    );
    // A failure is remembered for about a second.
    let begun = Instant::now();
    while edge.get("/live.m3u8").await.status != 404 {
        assert!(begun.elapsed() < Duration::from_secs(10), "still there");
        edge.clock.advance(Duration::from_millis(500));
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_that_ends_behind_what_is_stored_of_a_live_file_is_asked_for() {
    const LIVE: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:30\n#EXTINF:30,\n\
                        #EXT-X-BYTERANGE:1000@1000\nall.ts\n";
    let origin = origin().await;
    let file = |length: usize| {
        let mut bytes = vec![0; length];
        generated_byte_block(9, 0, &mut bytes);
        bytes
    };
    origin.put("/media/v/live.m3u8", LIVE, "application/vnd.apple.mpegurl");
    for folder in ["v", "film"] {
        origin.put(
            &format!("/media/{folder}/all.ts"),
            file(1_500),
            "video/mp2t",
        );
    }
    let edge = Setup::s3(origin.addr()).start().await;
    edge.get("/v/live.m3u8").await;
    for folder in ["v", "film"] {
        edge.get(&format!("/{folder}/all.ts")).await;
        origin.put(
            &format!("/media/{folder}/all.ts"),
            file(2_500),
            "video/mp2t",
        );
    }
    edge.clock.advance(Duration::from_secs(1));
    let range = [("range", "bytes=1000-1999")];
    let part = edge.get_with("/v/all.ts", &range).await;
    assert_eq!((part.status, part.body.len()), (206, 1_000));
    assert_eq!(part.header("content-range"), Some("bytes 1000-1999/2500"));
    // Nothing live is beside it: its length is what it was.
    let film = edge.get_with("/film/all.ts", &range).await;
    assert_eq!((film.cache(), film.body.len()), ("HIT", 500));
}
