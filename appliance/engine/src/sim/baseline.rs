//! The same server on smoltcp's sockets, for comparison only: a socket set of its own for each
//! connection (so that none is searched), fed with `poll_ingress_single` and emptied with
//! `poll_egress`. Each event is copied into each connection's send buffer, which is what our engine
//! exists to avoid.

use smoltcp::iface::{Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, State};
use smoltcp::wire::IpListenEndpoint;

use crate::sim::content::Content;
use crate::sim::foreign::{Nic, instant, interface, set_clock, socket};
use crate::sim::server::{App, SERVER, client_at};
use crate::tcp::CloseReason;
use crate::units::Micros;
use crate::wire::parse::parse;

/// Bytes of each connection's send and receive buffer.
const BUFFER: usize = 65_535;

/// Ethernet header of what it sends.
const LINK: [u8; 14] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];

struct Connection {
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    poll_at: Micros,
    /// Bytes given to the socket.
    taken: u64,
}

/// The server.
pub(super) struct Baseline {
    interface: Interface,
    nic: Nic,
    connections: Vec<Option<Connection>>,
    touched: Vec<u32>,
}

impl Baseline {
    pub(super) fn new(clients: usize, seed: u64) -> Baseline {
        let mut nic = Nic {
            mtu: 1_500,
            ..Nic::default()
        };
        Baseline {
            interface: interface(&mut nic, SERVER.ip(), seed),
            nic,
            connections: (0..clients).map(|_| None).collect(),
            touched: Vec::new(),
        }
    }

    pub(super) fn touch(&mut self, client: u32) {
        self.touched.push(client);
    }

    /// Takes a frame.
    pub(super) fn receive(&mut self, now: Micros, frame: &[u8]) {
        let Ok(segment) = parse(frame) else { return };
        let Some(client) = client_at(segment.flow.remote.into()) else {
            return;
        };
        set_clock(now);
        let place = &mut self.connections[client as usize];
        if place.is_none() && segment.flags.syn {
            *place = Some(listening());
        }
        let Some(connection) = place else { return };
        self.nic.received.push_back(frame[LINK.len()..].to_vec());
        self.interface
            .poll_ingress_single(instant(now), &mut self.nic, &mut connection.sockets);
        self.touched.push(client);
    }

    /// Serves those that have news and those whose time has come.
    pub(super) fn turn(&mut self, now: Micros, apps: &mut [App], out: &mut Vec<Vec<u8>>) {
        set_clock(now);
        let mut due = std::mem::take(&mut self.touched);
        let connections = self.connections.iter().enumerate();
        let timed = connections.filter(|(_, connection)| {
            connection
                .as_ref()
                .is_some_and(|connection| connection.poll_at <= now)
        });
        due.extend(timed.filter_map(|(index, _)| u32::try_from(index).ok()));
        due.sort_unstable();
        due.dedup();
        for client in due {
            if let Some(connection) = &mut self.connections[client as usize] {
                let app = &mut apps[client as usize];
                connection.serve(now, client, app, &mut self.interface, &mut self.nic);
            }
        }
        let sent = self.nic.sent.drain(..);
        out.extend(sent.map(|packet| [&LINK[..], &packet].concat()));
    }

    /// When `turn` has to be called at the latest.
    pub(super) fn poll_at(&self) -> Micros {
        let times = self.connections.iter().flatten().map(|one| one.poll_at);
        times.min().unwrap_or(Micros::NEVER)
    }
}

fn listening() -> Connection {
    let mut sockets = SocketSet::new(Vec::with_capacity(1));
    let handle = sockets.add(socket(BUFFER, true, None));
    let endpoint = IpListenEndpoint::from(SERVER);
    // The port is not 0 and the socket new: listening cannot fail.
    let listens = sockets.get_mut::<Socket<'_>>(handle).listen(endpoint);
    debug_assert!(listens.is_ok(), "{listens:?}");
    Connection {
        sockets,
        handle,
        poll_at: Micros::NEVER,
        taken: 0,
    }
}

impl Connection {
    fn serve(
        &mut self,
        now: Micros,
        client: u32,
        app: &mut App,
        interface: &mut Interface,
        nic: &mut Nic,
    ) {
        let content = Content::down(client);
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        app.opened |= socket.may_send();
        while socket.can_recv() {
            let read = socket.recv(|data| {
                app.on_data(data);
                (data.len(), ())
            });
            if read.is_err() {
                break;
            }
        }
        app.finished |= app.opened && !socket.may_recv();
        while self.taken < app.written && socket.can_send() {
            let left = usize::try_from(app.written - self.taken).unwrap_or(0);
            let sent = socket.send(|room| {
                let count = room.len().min(left);
                content.fill(self.taken, &mut room[..count]);
                (count, count)
            });
            match sent {
                Ok(count) if count > 0 => self.taken += count as u64,
                _ => break,
            }
        }
        if app.finishing && self.taken == app.written {
            socket.close();
        }
        while interface.poll_egress(instant(now), nic, &mut self.sockets) != PollResult::None {}
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        if app.opened && matches!(socket.state(), State::Closed | State::TimeWait) {
            app.closed.get_or_insert(CloseReason::Finished);
        }
        let at = interface.poll_at(instant(now), &self.sockets);
        self.poll_at = at.map_or(Micros::NEVER, |at| {
            Micros(u64::try_from(at.total_micros()).unwrap_or(0)).max(now + Micros(1_000))
        });
    }
}
