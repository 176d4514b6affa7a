//! How a viewer reaches the edge.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

use super::place_of;

/// Connects to where a URL leads, or always to one place.
#[derive(Debug, Clone)]
pub struct Dial {
    connect: Option<Arc<str>>,
}

/// Connections as players make them, over TLS where the URL says so.
pub fn connector(connect: Option<&str>, trusted: &ClientConfig) -> HttpsConnector<Dial> {
    let dial = Dial {
        connect: connect.map(Arc::from),
    };
    let builder = HttpsConnectorBuilder::new().with_tls_config(trusted.clone());
    builder.https_or_http().enable_http1().wrap_connector(dial)
}

impl Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let place = match &self.connect {
            Some(place) => Some(place.to_string()),
            None => place_of(&uri),
        };
        Box::pin(async move {
            let place = place.ok_or(io::ErrorKind::InvalidInput)?;
            let stream = TcpStream::connect(place).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }
}
