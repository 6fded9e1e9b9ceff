//! The API over a loopback socket, and a journal that follows a script:
//!
//! ```text
//! ureq -> 127.0.0.1 -> router -> JournalClient -> submit ring ----> the script's thread
//!                                pump <---------- broadcast ring <-
//! ```

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use engine::metrics::catalog::Metric;
use engine::metrics::counters::Counters;
use engine::ring::broadcast::{Published, RECORD_BYTES_MAX, Record};
use engine::ring::bytes::{Reader, Writer, ring};
use engine::ring::submit::{Publish, SUBMISSION_BYTES_MAX, Submission};
use nix::poll::{PollFd, PollFlags, poll};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::config::Config;
use crate::control::api::{Api, router};
use crate::control::client::JournalClient;
use crate::cores::Life;
use crate::doorbell::Doorbell;
use crate::export::Sources;

/// Holds what a query string has to escape.
pub(super) const API_KEY: &str = "a+b/c=";

const CONFIG: &str = r#"
[game]
interface = "eth1"
listen = ["10.0.0.1:8000"]
[client]
anonymous = true
[admin]
api_key = "a+b/c="
[[namespace]]
name = "chat"
[[namespace]]
name = "seen"
presence = true
[[namespace]]
name = "brief"
history_size = 0
force_recovery = false
"#;

/// Hears a submission and says what the journal answers, if anything.
pub(super) type Script = Box<dyn FnMut(Submission<'_>, &mut dyn FnMut(Record<'_>)) + Send>;

/// The API with a played journal behind it.
pub(super) struct Backend {
    address: SocketAddr,
    pub(super) api: Arc<Api>,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<()>>,
}

impl Backend {
    pub(super) fn start(script: Script) -> Backend {
        Backend::start_after(script, mpsc::channel().1, |_| ())
    }

    /// `prepare` sees the submit ring first; the journal begins when `begin` is closed.
    pub(super) fn start_after(
        script: Script,
        begin: mpsc::Receiver<()>,
        prepare: fn(&mut Writer),
    ) -> Backend {
        let (mut submit, submissions) = ring(SUBMISSION_BYTES_MAX + 4, SUBMISSION_BYTES_MAX);
        let (broadcast, answers) = ring(RECORD_BYTES_MAX + 4, RECORD_BYTES_MAX);
        let (journal, bell) = (Doorbell::new().unwrap(), Doorbell::new().unwrap());
        prepare(&mut submit);
        let (journals, controls) = (journal.clone(), bell.clone());
        thread::spawn(move || {
            let _ = begin.recv();
            play(script, submissions, broadcast, &journals, &controls);
        });
        let counters = Counters::default();
        let (data, journal_cells) = (Counters::default(), Counters::default());
        data.set(Metric::SessionPlayers, 7);
        data.set(Metric::SessionUsers, 3);
        data.set(Metric::SessionHunts, 2);
        data.set(Metric::SessionSubscriptions, 9);
        journal_cells.set(Metric::JournalHealthy, 1);
        let cores = vec![
            ("control".to_owned(), counters.clone()),
            ("journal".to_owned(), journal_cells),
            ("data-0".to_owned(), data.clone()),
            ("data-1".to_owned(), data),
        ];
        let client = JournalClient::new(submit, journal, counters.clone());
        let api = Arc::new(Api {
            journal: client.clone(),
            config: Config::parse(CONFIG).unwrap(),
            sources: Arc::new(Sources::new(cores, Vec::new(), Box::new(Vec::new))),
            counters,
            life: Life::default(),
            started: Instant::now(),
            node: "node".to_owned(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let routes = router(api.clone());
        let server = thread::spawn(move || {
            runtime().block_on(async {
                tokio::spawn(client.pump(answers, bell));
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    done = axum::serve(listener, routes).into_future() => done.unwrap(),
                    _ = stopped => (),
                }
            });
        });
        Backend {
            address,
            api,
            stop: Some(stop),
            server: Some(server),
        }
    }

    /// Status and body of the answer to a POST.
    pub(super) fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        let agent = ureq::Agent::new_with_config(config.build());
        let mut request = agent.post(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut answer = request.send(body).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        (answer.status().as_u16(), text)
    }

    /// Calls a method with the key; the protocol's answers are all HTTP 200.
    pub(super) fn call(&self, method: &str, body: &Value) -> Value {
        let path = format!("/api/{method}");
        let (status, text) = self.post(&path, &[("X-API-Key", API_KEY)], &body.to_string());
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    pub(super) fn dial(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        let patience = Duration::from_secs(30);
        stream.set_read_timeout(Some(patience)).unwrap();
        stream
    }

    /// A request whose body is announced with `length` bytes and ends after `body`.
    pub(super) fn post_part(&self, length: usize, body: &str) -> TcpStream {
        let mut stream = self.dial();
        let head = format!(
            "POST /api/info HTTP/1.1\r\nHost: a\r\nX-API-Key: {API_KEY}\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    }

    pub(super) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        answer_of(stream)
    }

    pub(super) fn count(&self, metric: Metric) -> u64 {
        self.api.counters.get(metric)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
        let ended = self.server.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking(), "the server panicked");
    }
}

pub(super) fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

pub(super) fn answer_of(mut stream: TcpStream) -> (u16, String) {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

/// The journal's thread: ends when nobody can ask any more.
fn play(
    mut script: Script,
    mut submissions: Reader,
    mut broadcast: Writer,
    own: &Doorbell,
    control: &Doorbell,
) {
    let mut scratch = vec![0; RECORD_BYTES_MAX];
    let mut say = |record: Record<'_>| {
        let bytes = postcard::to_slice(&record, &mut scratch).unwrap();
        broadcast.push(bytes).unwrap();
        control.ring();
    };
    while !submissions.is_abandoned() {
        own.lie_down();
        while let Some(bytes) = submissions.pop() {
            // What fills a ring need not be a submission.
            if let Ok(submission) = postcard::from_bytes(bytes) {
                script(submission, &mut say);
            }
        }
        let mut fds = [PollFd::new(own.as_fd(), PollFlags::POLLIN)];
        // Short, because nobody rings when the asker goes.
        poll(&mut fds, 10u8).unwrap();
        own.get_up();
    }
}

pub(super) fn published(token: u64, offset: u64) -> Record<'static> {
    let epoch = "e";
    Record::Published(Published {
        token,
        offset,
        epoch,
    })
}

/// Takes everything; offsets count up from 1.
pub(super) fn willing() -> Script {
    let mut offset = 0;
    Box::new(move |submission, say| {
        let Submission::Publish(Publish { token, .. }) = submission else {
            panic!("{submission:?}");
        };
        offset += 1;
        say(published(token, offset));
    })
}

/// Must not be asked.
pub(super) fn deaf() -> Script {
    Box::new(|submission, _| panic!("{submission:?}"))
}
