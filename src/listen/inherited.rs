//! Listening sockets that were open before this process: an upgrade hands them
//! on, and a service manager may (`LISTEN_FDS`).

use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;

/// Sockets that wait for somebody to serve them.
#[derive(Default)]
pub struct Inherited(Vec<TcpListener>);

impl Inherited {
    /// What this process was given; to be asked before there are threads.
    pub fn of_process() -> Self {
        let mut given = ListenFd::from_env();
        let sockets = (0..given.len()).filter_map(|at| given.take_tcp_listener(at).ok().flatten());
        Self(sockets.collect())
    }

    /// The socket that listens on an address.
    pub fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let here = |socket: &TcpListener| socket.local_addr().is_ok_and(|it| it == address);
        let at = self.0.iter().position(here)?;
        Some(self.0.swap_remove(at))
    }
}
