//! The server's side of a run: our TCP on the in-memory NIC, driven as a data core drives it, and the
//! applications on top of it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::metrics::counters::Counters;
use crate::port::FRAME_BYTES_MAX;
use crate::port::memory::MemoryPort;
use crate::sim::content::Content;
use crate::tcp::{CloseReason, Config, Receipt, Sent, Source, Tcp, Verdict};
use crate::units::{ConnId, Micros};
use crate::wire::parse::parse;

/// Where the server listens.
pub(super) const SERVER: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 255, 255, 1)), 8000);

/// Address of the first client; the others follow.
const FIRST: u32 = 0x0a00_0002;

/// The port clients call from.
const CLIENT_PORT: u16 = 50_000;

/// When a turn that found the port full is tried again.
const FULL_RETRY: Micros = Micros(20);

/// Frames received in one turn.
const PORT_FRAMES: usize = 256;

/// Where client `index` is.
pub(super) fn address(index: u32) -> SocketAddr {
    (Ipv4Addr::from(FIRST + index), CLIENT_PORT).into()
}

/// The client at `address`.
pub(super) fn client_at(address: SocketAddr) -> Option<u32> {
    match address.ip() {
        IpAddr::V4(ip) => u32::from(ip).checked_sub(FIRST),
        IpAddr::V6(_) => None,
    }
}

/// How the application fills its connection.
#[derive(Debug, Clone, Copy)]
pub struct Filling {
    /// Bytes of a run: what is read from one source. Smaller makes more extents.
    pub run: u64,
    /// Places all it has as soon as anything can be sent, not only what can.
    pub greedy: bool,
    /// Looks at what comes only after a while: the window closes by it.
    pub lazy: bool,
}

/// One connection's application.
#[derive(Debug)]
pub(super) struct App {
    pub(super) id: Option<ConnId>,
    pub(super) filling: Filling,
    content: Content,
    pub(super) opened: bool,
    /// Bytes written, and those of them placed into the stream.
    pub(super) written: u64,
    placed: u64,
    /// Bytes that came, and those of them not looked at.
    pub(super) received: u64,
    pub(super) backlog: u32,
    /// It will.
    pub(super) looking: bool,
    /// FIN follows what is written.
    pub(super) finishing: bool,
    /// The client's FIN has come.
    pub(super) finished: bool,
    pub(super) closed: Option<CloseReason>,
    pub(super) complaint: Option<String>,
}

impl App {
    pub(super) fn new(client: u32, filling: Filling) -> App {
        App {
            id: None,
            filling,
            content: Content::up(client),
            opened: false,
            written: 0,
            placed: 0,
            received: 0,
            backlog: 0,
            looking: false,
            finishing: false,
            finished: false,
            closed: None,
            complaint: None,
        }
    }

    pub(super) fn on_data(&mut self, bytes: &[u8]) {
        if let Some(at) = self.content.difference(self.received, bytes) {
            self.complain(|| format!("byte {at} of the stream up is wrong"));
        }
        self.received += bytes.len() as u64;
    }

    pub(super) fn complain(&mut self, what: impl FnOnce() -> String) {
        self.complaint.get_or_insert_with(what);
    }
}

/// Our engine.
#[derive(Debug)]
pub(super) struct Ours {
    pub(super) tcp: Tcp,
    port: MemoryPort,
    clients: HashMap<ConnId, u32>,
    touched: Vec<u32>,
    retry: bool,
}

impl Ours {
    pub(super) fn new(config: Config, tx_frames: usize, counters: Counters) -> Ours {
        let mut port = MemoryPort::new(PORT_FRAMES);
        port.limit_tx(tx_frames);
        Ours {
            tcp: Tcp::new(config, counters),
            port,
            clients: HashMap::new(),
            touched: Vec::new(),
            retry: false,
        }
    }

    pub(super) fn touch(&mut self, client: u32) {
        self.touched.push(client);
    }

    /// Takes a frame.
    pub(super) fn receive(&mut self, now: Micros, frame: &[u8], apps: &mut [App]) {
        let Ok(segment) = parse(frame) else { return };
        match self.tcp.receive(now, frame, &segment) {
            Verdict::Flow(receipt) => self.on_receipt(frame, &receipt, apps),
            Verdict::Unknown => self.tcp.refuse(&segment),
            Verdict::Done => {}
        }
    }

    fn on_receipt(&mut self, frame: &[u8], receipt: &Receipt, apps: &mut [App]) {
        let id = receipt.id;
        if receipt.opened
            && let Some(client) = self.tcp.remote(id).and_then(client_at)
        {
            self.clients.insert(id, client);
            let app = &mut apps[client as usize];
            if app.opened {
                app.complain(|| "opened twice".to_owned());
            }
            app.opened = true;
            app.id = Some(id);
            self.touched.push(client);
        }
        let Some(&client) = self.clients.get(&id) else {
            return;
        };
        let app = &mut apps[client as usize];
        app.on_data(frame.get(receipt.data.clone()).unwrap_or_default());
        let mut count = receipt.data.len();
        if receipt.reassembled {
            let mut bytes = [0; FRAME_BYTES_MAX];
            loop {
                let taken = self.tcp.take_reassembled(id, &mut bytes);
                if taken == 0 {
                    break;
                }
                count += taken;
                app.on_data(&bytes[..taken]);
            }
        }
        if receipt.finished {
            if app.finished {
                app.complain(|| "finished twice".to_owned());
            }
            app.finished = true;
        }
        if count > 0 && app.filling.lazy {
            app.backlog += u32::try_from(count).unwrap_or(0);
            self.tcp.set_backlog(id, app.backlog);
        }
        if let Some(reason) = receipt.closed {
            self.on_closed(id, reason, apps);
        } else {
            self.touched.push(client);
        }
    }

    /// The application has looked at everything.
    pub(super) fn look(&mut self, app: &mut App) {
        app.backlog = 0;
        app.looking = false;
        if let Some(id) = app.id {
            self.tcp.set_backlog(id, 0);
        }
    }

    fn on_closed(&mut self, id: ConnId, reason: CloseReason, apps: &mut [App]) {
        let Some(client) = self.clients.remove(&id) else {
            return;
        };
        let app = &mut apps[client as usize];
        if app.closed.is_some() {
            app.complain(|| "closed twice".to_owned());
        }
        app.closed = Some(reason);
    }

    /// Ends a connection with a RST.
    pub(super) fn abort(&mut self, app: &mut App) {
        if let Some(id) = app.id.take() {
            self.tcp.abort(id);
            self.clients.remove(&id);
        }
    }

    /// Timers, then everything that can be sent.
    pub(super) fn turn(&mut self, now: Micros, apps: &mut [App], out: &mut Vec<Vec<u8>>) {
        while let Some((id, reason)) = self.tcp.on_timers(now) {
            self.on_closed(id, reason, apps);
        }
        self.retry = false;
        self.tcp.send_replies(&mut self.port);
        for client in std::mem::take(&mut self.touched) {
            let app = &mut apps[client as usize];
            if let Some(id) = app.id
                && app.closed.is_none()
            {
                self.serve(now, id, app);
            }
        }
        // A port that is full stays full until the frames below have left.
        while !self.retry
            && let Some(id) = self.tcp.next_ready()
        {
            match self.clients.get(&id) {
                Some(&client) => self.serve(now, id, &mut apps[client as usize]),
                None => self.send(now, id, None),
            }
        }
        let mut frame = Vec::new();
        while self.port.take_sent(&mut frame) {
            out.push(std::mem::take(&mut frame));
        }
    }

    fn serve(&mut self, now: Micros, id: ConnId, app: &mut App) {
        while app.placed < app.written {
            let sendable = u64::from(self.tcp.sendable(id));
            if sendable == 0 {
                break;
            }
            let left = app.written - app.placed;
            let run_left = app.filling.run - app.placed % app.filling.run;
            let most = if app.filling.greedy { left } else { sendable };
            let count = left.min(run_left).min(most);
            let source = Source {
                tag: u32::try_from(app.placed / app.filling.run % 251).unwrap_or(0),
                position: app.placed,
            };
            let placed = u32::try_from(count).is_ok_and(|count| self.tcp.place(id, source, count));
            if !placed {
                break;
            }
            app.placed += count;
        }
        if app.finishing && app.placed == app.written {
            self.tcp.finish(id);
        }
        self.send(now, id, Some(app));
    }

    fn send(&mut self, now: Micros, id: ConnId, app: Option<&mut App>) {
        let client = app.as_ref().map(|_| self.clients.get(&id).copied());
        let content = Content::down(client.flatten().unwrap_or(u32::MAX));
        let mut read = |source: Source, out: &mut [u8]| {
            content.fill(source.position, out);
            true
        };
        match self.tcp.send(now, id, &mut self.port, &mut read) {
            Sent::Done => {}
            Sent::NoRoom => self.retry = true,
            Sent::Lost => {
                if let Some(app) = app {
                    app.complain(|| "bytes are lost that can be read".to_owned());
                }
            }
        }
    }

    /// When `turn` has to be called at the latest.
    pub(super) fn poll_at(&self, now: Micros) -> Micros {
        let at = self.tcp.poll_at();
        if self.retry || self.tcp.has_ready() {
            at.min(now + FULL_RETRY)
        } else {
            at
        }
    }
}
