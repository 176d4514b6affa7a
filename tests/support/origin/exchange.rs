//! The road of a request: received, recorded, held or broken, answered, sent.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use super::answer::Answer;
use super::control;
use super::distort::{distort, ignores_range};
use super::fault::Fault;
use super::gate::Turnstile;
use super::record::SeenRequest;
use super::respond::respond;
use super::s3_error::{S3Error, Subject};
use super::send::{Course, Ending, Sending, Stop};
use super::state::OriginState;
use super::wire::{Connection, Incoming, PeerLeft, Received};

/// Serves one connection until either side ends it.
pub(super) async fn serve(state: OriginState, stream: TcpStream) {
    let open = OpenConnection::new(&state);
    let mut connection = Connection::new(stream);
    loop {
        let incoming = match connection.receive().await {
            Received::Request(incoming) => incoming,
            Received::Closed => return,
            Received::Malformed => return refuse_malformed(&state, connection).await,
        };
        match exchange(&state, &mut connection, incoming, open.id).await {
            Ok(Ending::KeepAlive) => {}
            Ok(Ending::Close) => return connection.close().await,
            Ok(Ending::Reset) => return connection.reset(),
            Err(PeerLeft) => return state.note(|record| record.aborted += 1),
        }
    }
}

async fn exchange(
    state: &OriginState,
    connection: &mut Connection,
    incoming: Incoming,
    connection_id: u64,
) -> Result<Ending, PeerLeft> {
    let closes = !incoming.keep_alive;
    if let Some(answer) = control::answer(state, &incoming.request) {
        return Sending::new(connection, &answer)
            .run(Course {
                closes,
                ..Course::default()
            })
            .await;
    }
    let request = recorded(state, incoming.request, connection_id);
    let faults = state.take_faults(&request);
    let gates = state.gates(&request);
    if let Some(ending) = before_head(connection, &faults, &gates).await? {
        return Ok(ending);
    }
    let answer = answer(state, &request, &faults);
    let mut sending = Sending::new(connection, &answer);
    let ending = sending
        .run(Course {
            closes,
            ..course(&faults, &gates)
        })
        .await;
    let sent = sending.sent;
    state.note(|record| record.amend(request.id, |seen| seen.sent = sent));
    ending
}

fn recorded(state: &OriginState, request: SeenRequest, connection: u64) -> SeenRequest {
    state.note(|record| {
        record.last_request += 1;
        let request = SeenRequest {
            id: record.last_request,
            connection,
            ..request
        };
        record.requests.push(request.clone());
        request
    })
}

/// Gates and waits first, then what ends the connection without an answer.
async fn before_head(
    connection: &mut Connection,
    faults: &[Fault],
    gates: &[Arc<Turnstile>],
) -> Result<Option<Ending>, PeerLeft> {
    for gate in gates.iter().filter(|gate| gate.after_bytes().is_none()) {
        connection.unless_peer_leaves(gate.pass()).await?;
    }
    for fault in faults {
        match fault {
            Fault::DelayHead { ms } => {
                connection
                    .unless_peer_leaves(tokio::time::sleep(Duration::from_millis(*ms)))
                    .await?;
            }
            Fault::Silence => {
                connection
                    .unless_peer_leaves(std::future::pending())
                    .await?
            }
            Fault::ResetBeforeHead => return Ok(Some(Ending::Reset)),
            Fault::CloseBeforeHead => return Ok(Some(Ending::Close)),
            Fault::Garbage => {
                connection
                    .send(b"\x15\x03\x01 this is no HTTP\r\n\r\n")
                    .await?;
                return Ok(Some(Ending::Close));
            }
            Fault::Verbatim { text, stays_open } => {
                connection.send(text.as_bytes()).await?;
                if *stays_open {
                    connection
                        .unless_peer_leaves(std::future::pending())
                        .await?
                }
                return Ok(Some(Ending::Close));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// The right answer, then everything that is to be wrong with it. Its status is recorded before the
/// head is sent.
fn answer(state: &OriginState, request: &SeenRequest, faults: &[Fault]) -> Answer {
    let mut asked = request.clone();
    if ignores_range(faults) {
        asked.headers.retain(|(name, _)| name != "range");
    }
    let (mut answer, authorised) = respond(state, &asked);
    let s3 = state.options().s3;
    for fault in faults {
        distort(&mut answer, fault, request, s3);
    }
    let status = answer.status;
    state.note(|record| {
        record.amend(request.id, |seen| {
            seen.status = status;
            seen.authorised = authorised;
        });
    });
    answer
}

fn course(faults: &[Fault], gates: &[Arc<Turnstile>]) -> Course {
    let mut course = Course::default();
    let gates = gates
        .iter()
        .filter_map(|gate| Some((gate.after_bytes()?, Stop::Gate(Arc::clone(gate)))));
    course.stops.extend(gates);
    for fault in faults {
        match fault {
            Fault::DelayBody { bytes, ms } => {
                course
                    .stops
                    .push((*bytes, Stop::Wait(Duration::from_millis(*ms))));
            }
            Fault::ResetAfter { bytes } => course.stops.push((*bytes, Stop::End(Ending::Reset))),
            Fault::CloseAfter { bytes } => course.stops.push((*bytes, Stop::End(Ending::Close))),
            Fault::Drip { bytes_per_second } => course.bytes_per_second = Some(*bytes_per_second),
            Fault::Informational { status } => course.informational.push(*status),
            _ => {}
        }
    }
    course
}

async fn refuse_malformed(state: &OriginState, mut connection: Connection) {
    let error = S3Error::new(
        400,
        "InvalidRequest",
        "The request is malformed or beyond a limit.",
    );
    let s3 = state.options().s3;
    let answer = error
        .answer(s3, &Subject::default())
        .dressed(s3, state.now(), 0);
    // The connection ends either way.
    let _ = Sending::new(&mut connection, &answer)
        .run(Course {
            closes: true,
            ..Course::default()
        })
        .await;
    connection.close().await;
}

/// Counts a connection as open for as long as it lives, also when its task is aborted.
struct OpenConnection {
    state: OriginState,
    id: u64,
}

impl OpenConnection {
    fn new(state: &OriginState) -> Self {
        let id = state.note(|record| {
            record.connections += 1;
            record.open_connections += 1;
            record.connections
        });
        Self {
            state: state.clone(),
            id,
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.state.note(|record| record.open_connections -= 1);
    }
}
